"""Predicted against recorded steps of measured servers: decode by batch, mixed steps by new tokens in windows of four.

    python experiments/step_time_fit/recorded_steps.py ../shared/measured/v026      # step_errors.csv, and a table

Nothing is fitted here; kinds and windows are those of ``servecap validate`` (``sim.trust.step_rows``). Errors are predicted /
measured - 1 of the medians, in per cent; "all" is the sum of every step but the first three.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from sim.perf import step_time_model
from sim.trust.cases import read_case
from sim.trust.step_rows import durations_s, predicted_s, read_steps, step_rows


def main(folder: Path) -> None:
    rows = []
    for path in sorted(folder.glob("*/steps.jsonl.gz")):
        case = read_case(path.parent)
        for row in step_rows(case):
            rows.append({"case": case.name, "steps": row.stage, "measured_ms": row.measured, "error_pct": 100 * row.error})
        steps, time = read_steps(path.parent), step_time_model(case.model, case.gpu, case.engine)
        truth, guess = durations_s(steps)[3:], predicted_s(time, steps)[3:]
        rows.append({
            "case": case.name, "steps": "all", "measured_ms": 1e3 * truth.sum(), "error_pct": 100 * (guess.sum() / truth.sum() - 1),
        })  # fmt: skip
    table = pd.DataFrame(rows).round({"measured_ms": 3, "error_pct": 1})
    table.to_csv(Path(__file__).parent / "step_errors.csv", index=False)
    order = table.steps.drop_duplicates().tolist()
    wide = table.pivot_table(index="steps", columns="case", values="error_pct").reindex(order)
    print(wide.rename(columns=lambda name: name.rsplit("-", 1)[-1]).to_string(na_rep=""))
    decode = table[table.steps.str.contains("decodes")].error_pct.abs()
    print(f"decode: median |error| of the groups {decode.median():.1f} %, worst {decode.max():.1f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
