"""Nights filled with batch work: half a day with and without.

    python experiments/night_backfill/run.py (half a minute)
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from fleet_run import row, run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.report.chart import Chart, Series  # noqa: E402

DAY = (
    0.3, 0.2, 0.15, 0.1, 0.1, 0.15, 0.3, 0.6, 1.0, 1.5, 1.9, 2.0, 1.9, 1.9, 2.0, 2.0, 1.8, 1.5, 1.3, 1.1, 0.9, 0.7, 0.5, 0.4,
)  # fmt: skip
"""Hourly multipliers of an office day: an assumption."""
WORKLOAD = {
    "name": "office_day",
    "generator": {
        "duration_s": 43200.0,
        "max_total_tokens": 8192,
        "arrivals": {"kind": "poisson", "rate_per_s": 2.0},
        "profile": {"bin_s": 3600.0, "multipliers": DAY},
        "input_tokens": {"kind": "lognormal", "mu": 6.5, "sigma": 1.0, "max_tokens": 6000},
        "output_tokens": {"kind": "lognormal", "mu": 4.9, "sigma": 0.8, "max_tokens": 1500},
    },
}
TASKS, IN, OUT = 8_000, 2000, 300


def main() -> None:
    rows, lines = [], []
    for name, changes in {
        "nights idle": None,
        "backfill, abort to yield": {"yield_by": "abort"},
    }.items():
        scenario = scenario_of(["fleet.replicas=2"], WORKLOAD)
        if changes is not None:
            work = {"tasks": TASKS, "input_tokens": IN, "output_tokens": OUT, "deadline_s": 8 * 3600.0, **changes}
            scenario = with_background(scenario, work)
        result, summary = run(scenario)
        batch = int(result.replicas["background_tokens"].sum())
        delivered = summary["tokens"]["output"]
        rows.append(
            {
                **row(name, summary), "tasks_done": batch // OUT, "batch_tokens": batch,
                "usd_per_1m_with_batch": summary["cost"]["total_usd"] / (delivered + batch) * 1e6,
                "gpu_busy_pct": 100 * summary["utilisation"]["gpu_busy"],
            }
        )  # fmt: skip
        series = result.timeseries
        lines.append(Series(name, (series["time_s"] / 3600).tolist(), series["running"].tolist(), "line", len(lines)))
    chart = Chart(
        "Requests and tasks running", "hour of the day", "running", lines, "Batch work fills the night and leaves the day.",
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


def with_background(scenario, work):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    from sim.spec.fleet import BackgroundSpec

    return replace(scenario, fleet=replace(scenario.fleet, background=BackgroundSpec(**work)))


if __name__ == "__main__":
    main()
