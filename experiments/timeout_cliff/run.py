"""Timeout cliff: ``python experiments/timeout_cliff/run.py`` (about a minute); writes results.csv, pictures, README's table."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from results import leave  # noqa: E402

from sim.analysis import summarize  # noqa: E402
from sim.cli.compose import composed_scenario  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.run import simulate  # noqa: E402
from sim.workload import load_workload  # noqa: E402

RATES_PER_S = (7, 8, 9, 10, 11, 12, 13, 14, 16)
DURATION_S = 300


def main() -> None:
    rows = []
    for abort in ("true", "false"):
        for rate in RATES_PER_S:
            scenario = composed_scenario(
                [
                    "experiment=retry_storm", "output.timeseries=false", "gateway.retries=null",
                    "workload.generator.profile=null", f"workload.generator.duration_s={DURATION_S}",
                    f"workload.generator.arrivals.rate_per_s={rate}", f"gateway.abort_on_disconnect={abort}",
                    "gateway.client_timeout_s=40",
                ]
            )  # fmt: skip
            summary = summarize(simulate(scenario, load_workload(scenario.workload, scenario.seed)))
            offered = summary["requests"]["offered"]
            rows.append(
                {
                    "abort_on_disconnect": abort,
                    "offered_per_s": rate,
                    "failed_pct": 100 * (1 - summary["requests"]["completed"] / offered),
                    "useful_tokens_per_s": summary["throughput"]["output_tokens_per_s"],
                    "wasted_pct_of_sampled": 100 * (1 - 1 / (summary["amplification"]["tokens"] or float("nan"))),
                    "usd_per_1m_output_tokens": summary["cost"]["usd_per_1m_output_tokens"],
                }
            )

    def lines(column: str) -> list[Series]:
        return [
            Series(
                "engine told of the disconnect" if abort == "true" else "engine not told",
                [row["offered_per_s"] for row in rows if row["abort_on_disconnect"] == abort],
                [row[column] for row in rows if row["abort_on_disconnect"] == abort],
                colour=colour,
            )
            for colour, abort in enumerate(("true", "false"))
        ]

    charts = {
        "failed": Chart(
            "Requests that fail at a client timeout of 40 s", "offered, requests/s", "failed, %", lines("failed_pct"),
            "Flat at zero up to capacity, then a cliff; steeper where engines finish dead requests.",
        ),
        "useful": Chart(
            "Output tokens that reach a client", "offered, requests/s", "tokens/s", lines("useful_tokens_per_s"),
            "Rises with the load to capacity, then falls.",
        ),
    }  # fmt: skip
    leave(HERE, rows, charts)


if __name__ == "__main__":
    main()
