"""Safety passes: ``python experiments/safety_passes/run.py`` (a minute); writes results.csv, picture.svg, README's table."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from results import leave  # noqa: E402

from sim.analysis import summarize  # noqa: E402
from sim.cli.compose import composed_scenario  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.run import simulate  # noqa: E402
from sim.spec.gateway.users import ClosedLoop  # noqa: E402
from sim.workload import load_workload  # noqa: E402

FULL_USERS = 128
"""Closed loop: as many users as the two replicas have seats, so the fleet is always full."""
OVERHEADS = (0.0, 0.05, 0.1, 0.2)


def main() -> None:
    rows = []
    for buffered in (False, True):
        for overhead in OVERHEADS:
            passes = [f"{{stage: before, pool: main, read_fraction: {overhead}, output_tokens: 2}}"]
            if buffered:
                passes.append(f"{{stage: after, pool: main, read_fraction: {overhead}, output_tokens: 2}}")
            scenario = composed_scenario(
                [
                    "experiment=retry_storm", "output.timeseries=false", "gateway.retries=null",
                    "gateway.client_timeout_s=null", "workload.generator.profile=null",
                    "workload.generator.duration_s=300", f"gateway.passes=[{', '.join(passes) if overhead else ''}]",
                ]
            )  # fmt: skip
            summary = summarize(simulate(scenario, load_workload(scenario.workload, scenario.seed)))
            full = replace(scenario.gateway, users=ClosedLoop(users=FULL_USERS))
            saturated = summarize(
                simulate(replace(scenario, gateway=full), load_workload(scenario.workload, scenario.seed))
            )
            rows.append(
                {
                    "passes": "prompt and answer" if buffered else "prompt",
                    "overhead_pct": 100 * overhead,
                    "ttft_p95_s": summary["latency"]["ttft_s"]["p95"],
                    "e2e_p95_s": summary["latency"]["e2e_s"]["p95"],
                    "gpu_busy_pct": 100 * summary["utilisation"]["gpu_busy"],
                    "capacity_tokens_per_s": saturated["throughput_total"]["output_tokens_per_s"],
                    "usd_per_1m_output_tokens": saturated["cost"]["usd_per_1m_output_tokens"],
                }
            )
            print(rows[-1], flush=True)
    chart = Chart(
        "Dollars per 1M output tokens of a full fleet", "tokens added by passes, % of the text", "$",
        [
            Series(
                name, [100 * overhead for overhead in OVERHEADS],
                [row["usd_per_1m_output_tokens"] for row in rows if row["passes"] == name], colour=number,
            )
            for number, name in enumerate(("prompt", "prompt and answer"))
        ],
        "Cost rises with the passes' tokens.",
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()
