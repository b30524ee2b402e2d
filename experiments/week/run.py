"""A week of traffic: static peak, autoscaled, perfect: ``python experiments/week/run.py`` (three seeds, about twelve minutes)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from fleet_run import row, run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.analysis.insurance import perfect_replicas  # noqa: E402
from sim.analysis.intervals import mean_interval  # noqa: E402
from sim.record import Result  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402

SEEDS = (0, 1, 2)
STATIC = {"autoscaler": {"kind": "none"}}
CASES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "autoscaled": ([], {}),
    "static 11": (["fleet.replicas=11"], STATIC),
    "static 12": (["fleet.replicas=12"], STATIC),
}
BOUNDED = ("usd", "tpot_p95_s")


def main() -> None:
    rows: list[dict[str, Any]] = []
    lines: list[Series] = []
    perfect_usd: list[float] = []
    for number, (name, (overrides, changes)) in enumerate(CASES.items()):
        found = []
        for seed in SEEDS:
            result, summary = run(scenario_of(["experiment=week", f"seed={seed}", *overrides], **changes))
            fleet = summary["fleet"]
            found.append({
                **row(name, summary), "requests": len(result.requests), "replicas_mean": fleet["replicas_mean"],
                "replicas_max": fleet["replicas_max"], "simulation_cpu_s": result.cpu_s,
            })  # fmt: skip
            print(found[-1], flush=True)
            if "insurance" in summary:
                perfect_usd.append(summary["insurance"]["perfect_usd"])
            if seed == SEEDS[0]:
                lines += ready_lines(name, number, result, with_perfect=not lines)
        rows.append(spread(name, found))
    rows.append({**dict.fromkeys(rows[0], "–"), "case": "perfect", "usd": mean_interval(perfect_usd).value})
    chart = Chart(
        "Replicas over the week", "hours", "replicas ready", lines,
        "The autoscaled fleet follows the day's curve; the perfect one, without headroom for p95, needs less than half.",
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


def ready_lines(name: str, number: int, result: Result, with_perfect: bool) -> list[Series]:
    """Replicas ready, every half hour; before it, once, the perfect fleet's."""
    series = result.timeseries
    every = max(len(series) // 336, 1)
    hours = (series["time_s"][::every] / 3600).tolist()
    line = Series(name, hours, series["replicas_ready"][::every].tolist(), "step", number)
    if not with_perfect:
        return [line]
    wanted = perfect_replicas(result, 3600.0)
    return [Series("perfect", list(range(len(wanted))), wanted.tolist(), "step", 7), line]


def spread(name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds; the bounded ones with their 95 % interval."""
    out: dict[str, Any] = {"case": name}
    for key in (key for key in found[0] if key != "case"):
        interval = mean_interval([one[key] for one in found])
        out[key] = interval.value
        if key in BOUNDED:
            out[f"{key}_low"], out[f"{key}_high"] = interval.low, interval.high
    return out


if __name__ == "__main__":
    main()
