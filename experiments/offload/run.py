"""KV behind the GPU's cache: ``python experiments/offload/run.py`` (five minutes); writes results.csv, pictures, README's
table."""

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

PROMPTS = (1_000, 4_000, 16_000, 50_000, 90_000)
REPLICAS = (2, 3, 4, 6, 8)
HOST_16 = "engine.kv_offloading_size_gib=16"
STORE = [
    HOST_16, "fleet.kv_store.size_gib=256", "cost.kv_store_usd_per_gib_hour=0.005", "fleet.kv_transfer.nic_gb_per_s=17.13"
]  # fmt: skip
"""Machines of its own, at 0.005 $ a GiB-hour (an assumption: memory-optimised clouds), over RoCE."""
ANYWHERE = "gateway.router={kind: round_robin}"
SETUPS: dict[str, list[str]] = {
    "none": ["engine.kv_offloading_size_gib=0"],
    "host 16 GiB": [HOST_16],
    "host 64 GiB": ["engine.kv_offloading_size_gib=64"],
    "host 16, disk 256 GiB": [HOST_16, "engine.kv_offload.disk.size_gib=256"],
    "host 16, store 256 GiB": STORE,
    "the same, 10 Gb/s": [*STORE[:-1], "fleet.kv_transfer.nic_gb_per_s=1.2"],
    "none, any replica": ["engine.kv_offloading_size_gib=0", ANYWHERE],
    "host 64 GiB, any replica": ["engine.kv_offloading_size_gib=64", ANYWHERE],
    "store, any replica": [*STORE, ANYWHERE],
}
FOR_CHATS = ("none", "host 16 GiB", "host 64 GiB", "host 16, store 256 GiB", "none, any replica", "store, any replica")


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


def prompts_again(folder: Path) -> list[dict[str, Any]]:
    """As served, and as the engine alone, which is what vLLM measured: no tokeniser, no API server."""
    rows = []
    for tokens in PROMPTS:
        for name, overrides in {"served": [], "engine alone": ["gpu.step_time_scale={front_end: 1e-9}"]}.items():
            cold, hit = (
                one_prompt_again(folder, tokens, gib, *overrides).requests["ttft_s"].iloc[-1] for gib in (0, 64)
            )
            rows.append({"what": "a prompt again", "tiers": name, "size": tokens, "ttft_s": hit, "gain": cold / hit})
            rows[-1] |= dict.fromkeys(("found_pct", "others_pct", "gpu_busy_pct", "usd_per_hour"), float("nan"))
            print(rows[-1], flush=True)
    return rows


def fleet_of(replicas: int, overrides: Sequence[str]) -> dict[str, float]:
    """Figures of so many replicas."""
    result = simulate(
        composed_scenario(["experiment=offload", f"fleet.replicas={replicas}", "output.timeseries=false", *overrides])
    )
    summary, requests = summarize(result), result.requests
    asked = float(requests["input_tokens"].sum())
    of_others = summary.get("kv_in_store", {}).get("promoted_tokens_of_others", 0)
    return {
        "size": replicas,
        "ttft_s": summary["latency"]["ttft_s"]["p95"],
        "gain": 1.0,
        "found_pct": 100 * float(requests["cached_tokens"].sum()) / asked,
        "others_pct": 100 * of_others / asked,
        "gpu_busy_pct": 100 * summary["utilisation"]["gpu_busy"],
        "usd_per_hour": summary["cost"]["usd_per_hour"],
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = prompts_again(folder)
        readers = [f"workload.path={documents(folder)}", "workload.rate_scale=1", "workload.limit=null"]
        for what, traffic, setups in (("chats and agents", [], FOR_CHATS), ("documents", readers, tuple(SETUPS))):
            for tiers in setups:
                for replicas in REPLICAS:
                    rows.append({"what": what, "tiers": tiers, **fleet_of(replicas, [*traffic, *SETUPS[tiers]])})
                    same = [row["ttft_s"] for row in rows if row["what"] == what and row["size"] == replicas]
                    rows[-1]["gain"] = same[0] / rows[-1]["ttft_s"]
                    print(rows[-1], flush=True)

    def line(what: str, tiers: str, y: str) -> list[float]:
        return [row[y] for row in rows if (row["what"], row["tiers"]) == (what, tiers)]

    gains = Chart(
        "TTFT without host memory over TTFT on a hit in it", "tokens of the prompt", "times",
        [Series(name, list(PROMPTS), line("a prompt again", name, "gain"), colour=number)
         for number, name in enumerate(("served", "engine alone"))],
        "What is loaded instead of computed saves more, the longer the prompt.",
    )  # fmt: skip
    fleets = Chart(
        "TTFT p95 of readers of documents", "US$ an hour", "s",
        [Series(tiers, line("documents", tiers, "usd_per_hour"), line("documents", tiers, "ttft_s"), colour=number)
         for number, tiers in enumerate(("none", "host 64 GiB", "host 16, disk 256 GiB", "host 16, store 256 GiB"))],
        "Where contexts come back, a place for them is worth replicas.",
    )  # fmt: skip
    leave(HERE, rows, {"gains": gains, "fleets": fleets})


if __name__ == "__main__":
    main()
