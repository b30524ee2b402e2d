"""What a month costs besides GPUs, at three daily volumes: ``python experiments/hidden_costs/run.py`` (a minute)."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from results import leave  # noqa: E402

from sim.analysis import month  # noqa: E402
from sim.cli.compose import composed_scenario  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.search import solve  # noqa: E402

NATIVE_TOKENS_PER_DAY = 100e6
"""Output tokens a day of the packaged trace at its native rate (1,155 a second)."""
VOLUMES = (10e6, 50e6, 200e6)
ASSUMED = {
    "low": ["cost.overhead_fraction=0.1", "cost.safety_fraction=0.05", "cost.engineers_fte=1", "cost.engineer_usd_per_year=150000",
            "cost.eval_gpu_hours_per_month=20", "cost.log_bytes_per_token=4", "cost.log_retention_months=1"],
    "middle": [],
    "high": ["cost.overhead_fraction=0.3", "cost.safety_fraction=0.2", "cost.engineers_fte=2", "cost.engineer_usd_per_year=300000",
             "cost.eval_gpu_hours_per_month=200", "cost.log_bytes_per_token=20", "cost.log_retention_months=12"],
}  # fmt: skip
PARTS = ("compute", "overhead", "safety passes", "evaluation and batch", "engineering", "storage of traces and logs", "egress")


def main() -> None:
    rows = []
    for volume in VOLUMES:
        for name, overrides in ASSUMED.items():
            scale = volume / NATIVE_TOKENS_PER_DAY
            scenario = composed_scenario(["cost=full", *overrides, f"workload.rate_scale={scale}", "output.timeseries=false"])
            answer = solve(scenario, "replicas")
            monthly = month(answer.result)
            busy = monthly.find("compute", "busy")
            parts = {part: node.usd if (node := monthly.find(part)) else 0.0 for part in PARTS}
            rows.append({
                "output_tokens_per_day": volume, "assumed": name, "replicas": answer.point.replicas, "usd_per_month": monthly.usd,
                "idle_usd": parts["compute"] - (busy.usd if busy else 0.0),
                **{f"{part.replace(' ', '_')}_usd": usd for part, usd in parts.items()},
                "besides_compute_pct": 100 * (1 - parts["compute"] / monthly.usd),
                "usd_per_1m_output_tokens": answer.summary["cost"]["window"]["usd_per_1m_output_tokens"],
            })  # fmt: skip
            print(rows[-1], flush=True)
    series = [
        Series(f"{name} assumptions", VOLUMES, [r["besides_compute_pct"] for r in rows if r["assumed"] == name], colour=colour)
        for colour, name in enumerate(ASSUMED)
    ]
    chart = Chart(
        "Share of the monthly bill that is not GPUs", "output tokens a day", "% of the bill", series,
        "Engineers dominate small volumes; the share falls with volume towards overhead and safety.", x_log=True,
        x_ticks=VOLUMES,
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()
