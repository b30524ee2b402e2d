"""How often a percentile's interval covers the truth: ``nice -n 19 python experiments/coverage/run.py`` (4 CPU minutes in
compiled form, 20 in Python).

Every cell (process, minutes) is simulated under 400 seeds; the truth is the percentile of all requests of the cell pooled.
``--traces 50`` is a quick look, ``--keep DIR`` keeps the traces for the next run, ``--setting NAME`` asks of another fleet and
other arrivals and writes ``NAME.csv`` only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from cells import MINUTES, SETTINGS, traces  # noqa: E402
from results import leave, write_rows  # noqa: E402

from sim.analysis.intervals import quantile_interval  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402

METRICS = (("TTFT p95", 1), ("TPOT p95", 2))
NORMAL_WIDTH = 3.92
"""Width of a 95 % interval in standard deviations, were these known."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=400)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--setting", choices=list(SETTINGS), default="main")
    options = parser.parse_args()
    setting = SETTINGS[options.setting]
    with tempfile.TemporaryDirectory() as temporary:
        rows = [
            row
            for minutes in MINUTES
            for process in setting.processes
            for row in judged(
                process, minutes, traces(setting, process, minutes, options.traces, options.keep or Path(temporary))
            )
        ]
    claims = sum(row["claims"] for row in rows)
    pooled = sum(row["claims"] * row["covered_pct"] for row in rows if row["claims"]) / claims
    rows.append({**dict.fromkeys(rows[0], "–"), "process": "pooled", "claims": claims, "covered_pct": pooled})
    if options.setting != "main":
        write_rows(HERE / f"{options.setting}.csv", rows)
        return 0
    shown = [row for row in rows[:-1] if row["minutes"] == MINUTES[-1]]
    series = [
        Series(
            name, list(range(len(setting.processes))), [row["covered_pct"] for row in shown if row["metric"] == name], "dots", colour
        )
        for colour, (name, _) in enumerate(METRICS)
    ]
    chart = Chart(
        "Intervals that cover the truth, of those claimed, 60-minute traces",
        ", ".join(f"{place} {name}" for place, name in enumerate(setting.processes)),
        "%",
        series,
        "Coverage of the 95 % intervals of TTFT and TPOT p95 by arrival process.",
        limits=[(95.0, "nominal")],
    )
    leave(HERE, rows, {"picture": chart})
    return 0


def judged(process: str, minutes: int, cell: list[np.ndarray]) -> list[dict[str, object]]:
    """One row a metric: coverage among the traces with a claim, and how wide the intervals are."""
    rows = []
    for name, column in METRICS:
        known = [trace[np.isfinite(trace[:, column])] for trace in cell]
        truth = float(np.quantile(np.concatenate([trace[:, column] for trace in known]), 0.95))
        found = [quantile_interval(trace[:, 0], trace[:, column], 0.95) for trace in known]
        spread = float(np.std([one.value for one in found]))
        claimed = [one for one in found if one.known]
        covered = [one.low <= truth <= one.high for one in claimed]
        undefined = float("nan")
        rows.append({
            "process": process, "minutes": minutes, "metric": name, "truth_s": truth, "spread_s": spread,
            "claims": len(claimed), "no_claim_pct": 100 * (1 - len(claimed) / len(found)),
            "covered_pct": 100 * float(np.mean(covered)) if covered else undefined,
            "truth_above_pct": 100 * float(np.mean([truth > one.high for one in claimed])) if covered else undefined,
            "width_to_ideal": float(np.median([one.high - one.low for one in claimed])) / (NORMAL_WIDTH * spread)
            if claimed else undefined,
        })  # fmt: skip
        print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
