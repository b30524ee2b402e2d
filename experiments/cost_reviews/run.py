"""The stories of a capacity review, spreadsheet against simulation: ``python experiments/cost_reviews/run.py``.

The spreadsheet takes a rate and a price; the simulation takes the prompts, the load and the SLO, and finds the rate.
Writes ``results.csv``, and ``stories.csv`` for what no spreadsheet has: each story as it runs beside the same fleet
without it.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from sim.analysis import summarize
from sim.cli.compose import composed_scenario
from sim.cost import cost_per_1m_usd
from sim.run import simulate
from sim.search import solve

HERE = Path(__file__).parent
REVIEWS = (
    ("review_copilot_l40s", 1500.0, 1.5, ()),
    ("review_spiky_chat_a100", 700.0, 3.5, ()),
    ("review_spiky_chat_a100", 700.0, 3.5, ("workload.transforms=[]",)),
    ("review_70b_8xh100", 1200.0, 96.0, ()),
)
"""Preset, output tokens a second and US$ an hour as the spreadsheet has them, overrides (the spiky chat without spikes)."""
HEAD = (
    "preset", "overrides", "spreadsheet_tokens_per_s", "spreadsheet_usd_per_1m", "spreadsheet_with_30_percent",
    "simulated_output_tokens_per_s", "simulated_input_tokens_per_s", "simulated_usd_per_1m_output_tokens",
    "ttft_p95_s", "tpot_p95_s", "batch_full", "limited_by",
)  # fmt: skip

QUIET = ["workload.rate_scale=1.0", "output.timeseries=false"]
STORIES = (
    ("review_hybrid", ["experiment=review_hybrid"]),
    ("the same two replicas, no API", ["fleet.replicas=2"]),
    ("review_retry_storm", ["experiment=review_retry_storm"]),
    ("the same two replicas, no timeout", ["fleet.replicas=2"]),
    ("review_spot_fleet", ["experiment=review_spot_fleet"]),
    ("the same three replicas, on demand", ["fleet.replicas=3"]),
)
STORY_HEAD = (
    "story", "verdict", "completed", "escalated", "lost", "attempts_per_request", "tokens_sampled_per_delivered",
    "usd_per_1m_output_tokens", "usd_per_1m_goodput_tokens",
)  # fmt: skip


def main() -> int:
    write("results.csv", HEAD, [review(*row) for row in REVIEWS])
    write("stories.csv", STORY_HEAD, [story(*row) for row in STORIES])
    return 0


def story(name: str, overrides: list[str]) -> tuple[object, ...]:
    summary = summarize(simulate(composed_scenario([*overrides, *QUIET])))
    counts, cost = summary["requests"], summary["cost"]["window"]
    lost = counts["offered"] - counts["completed"] - counts["escalated"]
    return (
        name, summary["slo"]["verdict"], counts["completed"], counts["escalated"], lost,
        summary["amplification"]["attempts"], summary["amplification"]["tokens"], cost["usd_per_1m_output_tokens"],
        cost["usd_per_1m_goodput_tokens"],
    )  # fmt: skip


def review(preset: str, rate: float, usd: float, overrides: tuple[str, ...]) -> tuple[object, ...]:
    scenario = composed_scenario([f"experiment={preset}", *overrides, "fleet.replicas=1", "output.timeseries=false"])
    answer = solve(scenario, "load")
    slo, throughput = answer.summary["slo"], answer.summary["throughput"]
    tightest = max(slo["targets"], key=lambda name: slo["attained"][name] / slo["targets"][name])
    latency = answer.summary["latency"]
    return (
        preset, " ".join(overrides), rate, cost_per_1m_usd(usd, rate), cost_per_1m_usd(usd, rate, 0.3), throughput["output_tokens_per_s"],
        throughput["input_tokens_per_s"], answer.summary["cost"]["window"]["usd_per_1m_output_tokens"], latency["ttft_s"]["p95"],
        latency["tpot_s"]["p95"], answer.summary["utilisation"]["batch"], tightest,
    )  # fmt: skip


def write(name: str, head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        for row in rows:
            writer.writerow([f"{cell:.4g}" if isinstance(cell, float) else cell for cell in row])
            print(dict(zip(head, row, strict=True)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
