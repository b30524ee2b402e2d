"""Nights filled with batch work: a day with and without, three paired seeds.

    python experiments/night_backfill/run.py (minutes)
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from dataclasses import replace  # noqa: E402
from typing import Any  # noqa: E402

from fleet_run import row, run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.analysis.intervals import mean_interval  # noqa: E402
from sim.record import Result  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.spec import Scenario  # noqa: E402
from sim.spec.fleet import BackgroundSpec  # noqa: E402

DAY = (
    0.3, 0.2, 0.15, 0.1, 0.1, 0.15, 0.3, 0.6, 1.0, 1.5, 1.9, 2.0, 1.9, 1.9, 2.0, 2.0, 1.8, 1.5, 1.3, 1.1, 0.9, 0.7, 0.5, 0.4,
)  # fmt: skip
"""Hourly multipliers of an office day: an assumption."""
WORKLOAD = {
    "name": "office_day",
    "generator": {
        "duration_s": 86400.0,
        "max_total_tokens": 8192,
        "arrivals": {"kind": "poisson", "rate_per_s": 2.0},
        "profile": {"bin_s": 3600.0, "multipliers": DAY},
        "input_tokens": {"kind": "lognormal", "mu": 6.5, "sigma": 1.0, "max_tokens": 6000},
        "output_tokens": {"kind": "lognormal", "mu": 4.9, "sigma": 0.8, "max_tokens": 1500},
    },
}
TASKS, IN, OUT = 8_000, 2000, 300
DEADLINE_S = 8 * 3600.0
SEEDS = (0, 1, 2)
CASES = {"nights idle": False, "backfill, abort to yield": True}
BOUNDED = ("usd_per_1m_with_batch", "ttft_p95_s")


def main() -> None:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CASES}
    lines = []
    for name, filled in CASES.items():
        for seed in SEEDS:
            figures, result = measured(name, filled, seed)
            found[name].append(figures)
            print(figures, flush=True)
            if seed == SEEDS[0]:
                series = result.timeseries
                at_h = (series["time_s"] / 3600).tolist()
                lines.append(Series(name, at_h, series["running"].tolist(), "line", len(lines)))
    idle = found["nights idle"]
    rows = []
    for name, runs in found.items():
        shown: dict[str, Any] = {"case": name}
        for column in runs[0]:
            interval = mean_interval([one[column] for one in runs])
            shown[column] = interval.value
            if column in BOUNDED:
                change = mean_interval([one[column] - before[column] for one, before in zip(runs, idle, strict=True)])
                shown |= {f"{column}_low": interval.low, f"{column}_high": interval.high}
                shown |= {f"{column}_change": change.value, f"change_of_{column}_low": change.low, f"change_of_{column}_high": change.high}
        rows.append(shown)
    chart = Chart(
        "Requests and tasks running", "hour of the day", "running", lines, "Batch work fills the night and leaves the day.",
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


def measured(name: str, filled: bool, seed: int) -> tuple[dict[str, Any], Result]:
    """One day under one seed: the same arrivals with and without tasks."""
    scenario = replace(scenario_of(["fleet.replicas=2"], WORKLOAD), seed=seed)
    if filled:
        scenario = with_background(scenario, {
            "tasks": TASKS, "input_tokens": IN, "output_tokens": OUT, "deadline_s": DEADLINE_S, "yield_by": "abort",
        })  # fmt: skip
    result, summary = run(scenario)
    figures = row(name, summary)
    del figures["case"]
    batch = int(result.replicas["background_tokens"].sum())
    done = [event["time_s"] / 3600 for event in result.events if event["event"] == "background_done"]
    return figures | {
        "tasks_done": batch // OUT, "batch_tokens": batch, "all_done_at_h": done[0] if done else math.nan,
        "usd_per_1m_with_batch": summary["cost"]["total_usd"] / (summary["tokens"]["output"] + batch) * 1e6,
        "gpu_busy_pct": 100 * summary["utilisation"]["gpu_busy"],
    }, result  # fmt: skip


def with_background(scenario: Scenario, work: dict[str, Any]) -> Scenario:
    return replace(scenario, fleet=replace(scenario.fleet, background=BackgroundSpec(**work)))


if __name__ == "__main__":
    main()
