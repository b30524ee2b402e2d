"""The stories of a capacity review, spreadsheet against simulation: ``python experiments/cost_reviews/run.py``.

The spreadsheet takes a rate and a price; the simulation takes the prompts, the load and the SLO, and finds the rate.
Writes ``results.csv``.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from sim.cli.compose import composed_scenario
from sim.cost import cost_per_1m_usd
from sim.search import solve

HERE = Path(__file__).parent
REVIEWS = (
    ("review_copilot_l40s", 1500.0, 1.5),
    ("review_spiky_chat_a100", 700.0, 3.5),
    ("review_70b_8xh100", 1200.0, 96.0),
)
"""Preset, output tokens a second and US$ an hour as the spreadsheet has them."""
HEAD = (
    "preset", "spreadsheet_tokens_per_s", "spreadsheet_usd_per_1m", "spreadsheet_with_30_percent",
    "simulated_output_tokens_per_s", "simulated_input_tokens_per_s", "simulated_usd_per_1m_output_tokens",
    "ttft_p95_s", "tpot_p95_s", "batch_full", "limited_by",
)  # fmt: skip


def main() -> int:
    rows = []
    for preset, rate, usd in REVIEWS:
        answer = solve(composed_scenario([f"experiment={preset}", "fleet.replicas=1", "output.timeseries=false"]), "load")
        slo, throughput = answer.summary["slo"], answer.summary["throughput"]
        tightest = max(slo["targets"], key=lambda name: slo["attained"][name] / slo["targets"][name])
        latency = answer.summary["latency"]
        row = (
            preset, rate, cost_per_1m_usd(usd, rate), cost_per_1m_usd(usd, rate, 0.3), throughput["output_tokens_per_s"],
            throughput["input_tokens_per_s"], answer.summary["cost"]["usd_per_1m_output_tokens"], latency["ttft_s"]["p95"],
            latency["tpot_s"]["p95"], answer.summary["utilisation"]["batch"], tightest,
        )  # fmt: skip
        rows.append([f"{cell:.4g}" if isinstance(cell, float) else cell for cell in row])
        print(dict(zip(HEAD, rows[-1], strict=True)), flush=True)
    with (HERE / "results.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
