"""Calibrate on a half of a measured run, twenty times: does the interval hold what all of it gives, and how wide is it?

    python experiments/validation/calibration_splits.py ../shared/measured [RUN ...]

Halves are windows of neighbouring requests at ten places of each run (by default the two open loops of vLLM 0.26): what
came before and after a window is not in its data. Prints, and of the default runs writes ``calibration_splits.csv``: the
estimate of all of the run, the interval of each half, and whether it holds it; of multipliers that a half does not
determine, the values that it allows; likewise of what one engine sustains at the run's own lengths, output tokens a second.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from sim.trust.calibrate import fit_multipliers
from sim.trust.cases import read_case
from sim.trust.observations import Observations

RUNS = ("v026/h100-llama31-8b-open30", "v026/h100-llama31-8b-open85")
PLACES = 10
CAPACITY = "sustains"


def rows_of(folder: Path, name: str) -> list[dict[str, object]]:
    case = read_case(folder / name)
    data, n = case.per_request, len(case.trace)
    whole = fit_multipliers([Observations(name, case.trace, data["ttft_s"], data["e2e_s"])], case.model, case.gpu, case.engine)
    out: list[dict[str, object]] = []
    for first in np.linspace(0, n - n // 2, PLACES).astype(int):
        rows = np.arange(first, first + n // 2)
        trace = case.trace.take(rows, case.trace.arrival_s[rows] - case.trace.arrival_s[first])
        half = fit_multipliers(
            [Observations(name, trace, data["ttft_s"][rows], data["e2e_s"][rows])], case.model, case.gpu, case.engine
        )
        for multiplier, (low, high) in {**half.interval_95, **half.not_determined}.items():
            estimate = whole.multipliers[multiplier]
            out.append({
                "run": name, "first": first, "multiplier": multiplier, "all": estimate, "half": half.multipliers[multiplier],
                "determined": multiplier in half.interval_95, "low": low, "high": high, "holds": low <= estimate <= high,
                "half_width": (high - low) / 2 / half.multipliers[multiplier],
            })  # fmt: skip
        sustains, guess = whole.capacity[0].fitted, half.capacity[0]
        out.append({
            "run": name, "first": first, "multiplier": CAPACITY, "all": sustains, "half": guess.fitted, "determined": True,
            "low": guess.low, "high": guess.high, "holds": guess.low <= sustains <= guess.high,
            "half_width": (guess.high - guess.low) / 2 / guess.fitted,
        })  # fmt: skip
        print(name, first, half.multipliers, flush=True)
    return out


def main(folder: Path, runs: list[str]) -> None:
    table = pd.DataFrame([row for name in runs or RUNS for row in rows_of(folder, name)])
    if not runs:
        table.to_csv(Path(__file__).parent / "calibration_splits.csv", index=False, float_format="%.4g")
    print(table.to_string())
    multipliers = table[table.multiplier != CAPACITY]
    told, rest = multipliers[multipliers.determined], multipliers[~multipliers.determined]
    print(f"determined: {len(told)}, holds {told.holds.mean():.0%}, half-width {told.half_width.median():.1%} in the median")
    print(f"not determined: {len(rest)}, holds {rest.holds.mean():.0%}")
    for (name, determined), part in table.groupby(["multiplier", "determined"]):
        what = "" if determined else ", not determined"
        print(f"{name}{what}: {len(part)}, holds {part.holds.mean():.0%}, half-width {part.half_width.median():.1%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
