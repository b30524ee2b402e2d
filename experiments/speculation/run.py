"""Speculation by load: ``python experiments/speculation/run.py``; writes results.csv, picture.svg and README's table."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from fleet_run import run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.report.chart import Chart, Series  # noqa: E402

EAGLE, NGRAM, KIMI = "eagle3_llama3_8b_sharegpt", "ngram_llama3_8b_sharegpt", "eagle3_kimi_k2_5"
CASES: dict[str, tuple[list[str], str, tuple[int, ...]]] = {
    "Kimi-K2.5 on 4 GB200, EAGLE-3, coding": (
        ["model=kimi_k2_5", "gpu=gb200", "engine.max_model_len=16384"], KIMI, (1, 4, 16, 64),
    ),
    "Llama-70B on 4 H100, EAGLE-3": ([], EAGLE, (1, 4, 16, 64, 128, 256, 512)),
    "Llama-8B on L40S, EAGLE-3": (
        ["model=llama3_8b", "gpu=l40s", "engine.tensor_parallel_size=1"], EAGLE, (1, 4, 16, 64, 128, 256),
    ),
    "Llama-8B on L40S, n-gram": (
        ["model=llama3_8b", "gpu=l40s", "engine.tensor_parallel_size=1"], NGRAM, (1, 4, 16, 64, 128, 256),
    ),
}  # fmt: skip
MEASURED = {1: 2.03, 4: 1.71, 16: 1.66}
"""Tokens a second and user of EAGLE-3.1 with Kimi-K2.6-NVFP4 on 4 GB200 over those without (vLLM blog 2026-05-26)."""


def tokens_per_s(case: list[str], speculative: str, users: int) -> tuple[float, float]:
    """Output tokens a second of the replica, and of one user between its first and last token."""
    scenario = scenario_of([
        "experiment=speculation", *case, f"speculative={speculative}", f"gateway.users.users={users}",
        f"workload.limit={max(24, 3 * users)}", "output.timeseries=false",
    ])  # fmt: skip
    result, summary = run(scenario)
    return summary["throughput_total"]["output_tokens_per_s"], float((1 / result.requests["tpot_s"]).mean())


def even_at(rows: list[dict[str, Any]]) -> str:
    """Streams at which the replica's gain falls to 1, by interpolation on the logarithm of the streams."""
    for before, after in itertools.pairwise(rows):
        if before["replica_gain"] >= 1 > after["replica_gain"]:
            share = (before["replica_gain"] - 1) / (before["replica_gain"] - after["replica_gain"])
            low, high = math.log(before["streams"]), math.log(after["streams"])
            return f"{math.exp(low + share * (high - low)):.0f}"
    return f"above {rows[-1]['streams']}"


def main() -> None:
    rows: list[dict[str, Any]] = []
    for name, (case, speculative, streams) in CASES.items():
        for users in streams:
            plain, drafted = tokens_per_s(case, "none", users), tokens_per_s(case, speculative, users)
            rows.append(
                {
                    "case": name,
                    "streams": users,
                    "plain_tokens_per_s": plain[0],
                    "plain_user_tokens_per_s": plain[1],
                    "user_gain": drafted[1] / plain[1],
                    "replica_gain": drafted[0] / plain[0],
                    "measured_user_gain": MEASURED.get(users, math.nan) if name.startswith("Kimi") else math.nan,
                }
            )
            print(rows[-1], flush=True)
        print(f"{name}: loss from {even_at([row for row in rows if row['case'] == name])} streams", flush=True)
    chart = Chart(
        "Tokens a second of a replica with speculation over without",
        "streams",
        "ratio",
        [
            Series(
                name,
                [row["streams"] for row in rows if row["case"] == name],
                [row["replica_gain"] for row in rows if row["case"] == name],
                colour=number,
            )
            for number, name in enumerate(CASES)
        ],
        "Below 1 speculation costs throughput.",
        x_log=True,
        x_ticks=(1, 4, 16, 64, 256),
    )
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()
