"""KV in host memory: ``python experiments/offload/run.py`` (two minutes); writes results.csv, two pictures, README's table."""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from results import leave  # noqa: E402

from sim.analysis import summarize  # noqa: E402
from sim.cli.compose import composed_scenario  # noqa: E402
from sim.record import Result  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.run import simulate  # noqa: E402

PROMPTS = (1_000, 4_000, 16_000, 50_000, 100_000)
REPLICAS = (2, 3, 4, 6, 8)
TIERS_GIB = (0, 16, 64)


def one_prompt_again(folder: Path, tokens: int, gib: int, *overrides: str) -> Result:
    """A prompt, two others that push it out of the GPU's cache, and the same with 17 tokens more; nothing else runs."""
    trace = folder / f"{tokens}.csv"
    with trace.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("arrival_s", "input_tokens", "output_tokens", "session_id", "turn"))
        writer.writerows((100 * turn, tokens, 1, name, 1) for turn, name in enumerate("abc"))
        writer.writerow((300, tokens + 18, 1, "a", 2))
    return simulate(
        composed_scenario(
            [
                "model=llama3_8b", "gpu=h100", "fleet.replicas=1", f"workload.path={trace}", "output.timeseries=false",
                f"engine.max_model_len={tokens + 200}", f"engine.num_gpu_blocks_override={tokens // 16 + 20}",
                f"engine.kv_offloading_size_gib={gib}", *overrides,
            ]
        )
    )  # fmt: skip


def documents(folder: Path) -> Path:
    """Traffic whose contexts are large and come back late: 120 readers of a document of 12,000 tokens each, who begin within
    ten minutes and ask six questions 90 s apart."""
    trace, rng = folder / "documents.csv", np.random.default_rng(7)
    rows = []
    for reader, begin in enumerate(np.sort(rng.uniform(0, 600, 120))):
        at, tokens = float(begin), 12_000
        for turn in range(1, 7):
            rows.append((at, tokens, 80, f"r{reader}", turn))
            at, tokens = at + float(rng.uniform(60, 120)), tokens + 80 + 40
    with trace.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("arrival_s", "input_tokens", "output_tokens", "session_id", "turn"))
        writer.writerows(sorted(rows))
    return trace


def main() -> None:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for tokens in PROMPTS:
            cold, hit = (one_prompt_again(folder, tokens, gib).requests["ttft_s"].iloc[-1] for gib in (0, 64))
            rows.append({"what": "a prompt again", "size": tokens, "tier_gib": 64, "ttft_s": hit, "gain": cold / hit})
            rows[-1] |= {"found_pct": float("nan"), "gpu_busy_pct": float("nan"), "usd_per_hour": float("nan")}
            print(rows[-1], flush=True)
        readers = [f"workload.path={documents(folder)}", "workload.rate_scale=1", "workload.limit=null"]
        traffic: dict[str, list[str]] = {"chats and agents": [], "documents": readers}
        for what, overrides in traffic.items():
            for gib in TIERS_GIB:
                for replicas in REPLICAS:
                    rows.append({"what": what, **fleet_of(replicas, gib, overrides)})
                    same = [row["ttft_s"] for row in rows if row["what"] == what and row["size"] == replicas]
                    rows[-1]["gain"] = same[0] / rows[-1]["ttft_s"]
                    print(rows[-1], flush=True)
    gains = Chart(
        "TTFT without host memory over TTFT on a hit in it", "tokens of the prompt", "times",
        [Series("Llama-3.1-8B, H100", list(PROMPTS), [row["gain"] for row in rows[: len(PROMPTS)]], colour=0)],
        "What is loaded instead of computed saves more, the longer the prompt.",
    )  # fmt: skip
    fleets = Chart(
        "TTFT p95 of readers of documents", "replicas", "s",
        [
            Series(
                f"{gib} GiB a replica" if gib else "no host memory", list(REPLICAS),
                [row["ttft_s"] for row in rows if row["what"] == "documents" and row["tier_gib"] == gib], colour=number,
            )
            for number, gib in enumerate(TIERS_GIB)
        ],
        "Where contexts come back, host memory is worth replicas.",
    )  # fmt: skip
    leave(HERE, rows, {"gains": gains, "fleets": fleets})


def fleet_of(replicas: int, gib: int, overrides: Sequence[str]) -> dict[str, float]:
    """Figures of so many replicas with so much host memory each."""
    result = simulate(
        composed_scenario(
            [
                "experiment=offload", f"fleet.replicas={replicas}", f"engine.kv_offloading_size_gib={gib}",
                "output.timeseries=false", *overrides,
            ]
        )
    )  # fmt: skip
    summary, requests = summarize(result), result.requests
    return {
        "size": replicas,
        "tier_gib": gib,
        "ttft_s": summary["latency"]["ttft_s"]["p95"],
        "gain": 1.0,
        "found_pct": 100 * float(requests["cached_tokens"].sum() / requests["input_tokens"].sum()),
        "gpu_busy_pct": 100 * summary["utilisation"]["gpu_busy"],
        "usd_per_hour": summary["cost"]["usd_per_hour"],
    }


if __name__ == "__main__":
    main()
