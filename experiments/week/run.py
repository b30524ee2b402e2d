"""A week of traffic: static peak, autoscaled, perfect: ``python experiments/week/run.py`` (about four minutes)."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from fleet_run import row, run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.analysis.insurance import perfect_replicas  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402

# Azure 2024 conversation: hourly means of the published rate plot over their mean, Sunday to Saturday, digitised
# 2026-11-23; lengths: the published input CDF (digitised) and output quantiles. CC-BY-4.0, AzurePublicDataset.
HOURS = (
    0.55, 0.59, 0.57, 0.5, 0.47, 0.48, 0.5, 0.57, 0.57, 0.55, 0.55, 0.63, 0.64, 0.81, 0.75, 0.79, 0.73, 0.76, 0.77, 0.71,
    0.68, 0.68, 0.64, 0.77, 0.97, 1.1, 1.1, 0.91, 0.92, 1.0, 1.14, 1.2, 1.27, 1.19, 1.16, 1.24, 1.33, 1.48, 1.65, 1.54,
    1.36, 1.28, 1.26, 1.24, 1.17, 0.94, 0.92, 0.97, 1.08, 1.12, 1.15, 0.94, 0.95, 1.01, 1.17, 1.3, 1.28, 1.24, 1.16, 1.27,
    1.45, 1.54, 1.67, 1.54, 1.42, 1.34, 1.42, 1.3, 1.18, 1.04, 0.9, 0.84, 1.0, 1.08, 1.03, 0.87, 0.9, 0.97, 1.11, 1.19,
    1.22, 1.24, 1.13, 1.19, 1.35, 1.47, 1.51, 1.44, 1.29, 1.24, 1.27, 1.2, 1.05, 0.81, 0.76, 0.85, 0.99, 1.15, 1.09, 0.92,
    0.9, 1.0, 1.22, 1.28, 1.39, 1.31, 1.05, 1.11, 1.27, 1.48, 1.52, 1.34, 1.25, 1.24, 1.23, 1.12, 1.01, 0.88, 0.77, 0.87,
    1.04, 1.1, 1.07, 0.89, 0.91, 1.01, 1.12, 1.22, 1.19, 1.19, 1.05, 1.07, 1.18, 1.28, 1.3, 1.23, 1.13, 1.1, 0.98, 0.91,
    0.86, 0.73, 0.6, 0.58, 0.58, 0.62, 0.65, 0.52, 0.53, 0.56, 0.56, 0.62, 0.65, 0.56, 0.64, 0.69, 0.77, 0.77, 0.84, 0.86,
    0.83, 0.75, 0.69, 0.66, 0.69, 0.64, 0.58, 0.54,
)  # fmt: skip
RATE_PER_S = 1.7
WORKLOAD = {
    "name": "week",
    "generator": {
        "duration_s": 604800.0,
        "max_total_tokens": 8192,
        "arrivals": {"kind": "poisson", "rate_per_s": RATE_PER_S},
        "profile": {"bin_s": 3600.0, "multipliers": HOURS},
        "input_tokens": {
            "kind": "empirical",
            "probabilities": [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1],
            "tokens": [1, 75, 196, 286, 520, 909, 2339, 3811, 4870, 6589, 8000],
        },
        "output_tokens": {
            "kind": "empirical",
            "probabilities": [0, 0.5, 0.9, 0.95, 0.99, 1],
            "tokens": [1, 41, 342, 455, 694, 1500],
        },
    },
}


def main() -> None:
    base = ["gpu=l4", "output.requests=false", "fleet.max_replicas=24"]
    scenarios = {
        "autoscaled": [*base, "fleet.replicas=6", "autoscaler=requests_in_flight", "autoscaler.target=2.5"],
        "static 11": [*base, "fleet.replicas=11"],
        "static 12": [*base, "fleet.replicas=12"],
    }  # fmt: skip
    rows, lines, perfect = [], [], {}
    for number, (name, overrides) in enumerate(scenarios.items()):
        result, summary = run(scenario_of(overrides, WORKLOAD))
        series = result.timeseries
        if not lines:
            wanted = perfect_replicas(result, 3600.0)
            perfect = summary["insurance"]
            lines.append(Series("perfect", list(range(len(wanted))), wanted.tolist(), "step", 7))
        every = max(len(series) // 336, 1)
        hours = (series["time_s"][::every] / 3600).tolist()
        lines.append(Series(name, hours, series["replicas_ready"][::every].tolist(), "step", number))
        fleet = summary["fleet"]
        rows.append(
            {
                **row(name, summary), "requests": len(result.requests), "replicas_mean": fleet["replicas_mean"],
                "replicas_max": fleet["replicas_max"], "simulation_cpu_s": result.cpu_s,
            }
        )  # fmt: skip
        ideal = {**dict.fromkeys(rows[0], "–"), "case": "perfect", "usd": perfect["perfect_usd"]}
        chart = Chart(
            "Replicas over the week", "hours", "replicas ready", lines,
            "The autoscaled fleet follows the day's curve; the perfect one, without headroom for p95, needs less than half.",
        )  # fmt: skip
        leave(HERE, [*rows, ideal], {"picture": chart})


if __name__ == "__main__":
    main()
