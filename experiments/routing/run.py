"""Prefix affinity: ``python experiments/routing/run.py`` (two minutes); writes results.csv, picture.svg, README's table."""

from __future__ import annotations

import math
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

REPLICAS = 16
GROUPS = 128
REQUESTS = 4000
USERS = 16 * 24
PROMPT_TOKENS = 4200
PREFIX_TOKENS = {"nothing shared": 0, "1,000 tokens": 1000, "4,000 tokens": 4000}
CACHE_TOKENS = (100_000, 200_000, 400_000, 800_000)
ROUTERS = ("round_robin", "sglang_cache_aware", "weighted_score")


def tokens_per_s(router: str, prefix: int, cache_tokens: int) -> tuple[float, float]:
    """Output tokens a second of the busy fleet, and the prefix hit rate."""
    groups = f"{{kind: groups, weights: {[1.0] * GROUPS}, tokens: {[prefix] * GROUPS}}}"
    scenario = composed_scenario(
        [
            "experiment=retry_storm", "output.timeseries=false", f"fleet.replicas={REPLICAS}", "gpu=h100",
            "workload.generator.profile=null", "workload.generator.duration_s=4000", "gateway.retries=null",
            "gateway.client_timeout_s=null", f"gateway.router={{kind: {router}}}",
            "gateway.users.kind=closed", f"+gateway.users.users={USERS}", f"workload.limit={REQUESTS}",
            f"engine.num_gpu_blocks_override={cache_tokens // 16}", "engine.max_model_len=8192",
            "workload.generator.arrivals.rate_per_s=20",
            "workload.generator.input_tokens.sigma=0", f"workload.generator.input_tokens.mu={math.log(PROMPT_TOKENS)}",
            "workload.generator.output_tokens.mu=4.0",
            f"+workload.generator.prefix={groups}",
        ]
    )  # fmt: skip
    summary = summarize(simulate(scenario, load_workload(scenario.workload, scenario.seed)))
    return summary["throughput_total"]["output_tokens_per_s"], summary["prefix_hit_rate"] or 0.0


def main() -> None:
    rows = []
    for sharing, prefix in PREFIX_TOKENS.items():
        for cache_tokens in CACHE_TOKENS:
            found = {router: tokens_per_s(router, prefix, cache_tokens) for router in ROUTERS}
            turn, sglang, scores = (found[router] for router in ROUTERS)
            rows.append(
                {
                    "shared": sharing,
                    "cache_tokens_a_replica": cache_tokens,
                    "all_prefixes_over_cache": GROUPS * prefix / cache_tokens,
                    "round_robin_tokens_per_s": turn[0],
                    "sglang_ratio": sglang[0] / turn[0],
                    "weighted_ratio": scores[0] / turn[0],
                    "round_robin_hits_pct": 100 * turn[1],
                    "sglang_hits_pct": 100 * sglang[1],
                    "weighted_hits_pct": 100 * scores[1],
                }
            )
            print(rows[-1], flush=True)
    chart = Chart(
        "Throughput of prefix affinity over round robin, 16 replicas, 128 prefixes",
        "KV cache of a replica, tokens",
        "ratio",
        [
            Series(
                sharing,
                [row["cache_tokens_a_replica"] for row in rows if row["shared"] == sharing],
                [row["sglang_ratio"] for row in rows if row["shared"] == sharing],
                colour=number,
            )
            for number, sharing in enumerate(PREFIX_TOKENS)
        ],
        "Affinity gains most while all prefixes together do not fit one replica's cache.",
        x_log=True,
        x_ticks=CACHE_TOKENS,
    )
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()
