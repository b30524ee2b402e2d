"""The rate that holds MLPerf's limits for Llama 2 70B (server: p99 of TTFT 2 s, of TPOT 200 ms), against published results.

    python experiments/validation/mlperf.py      # mlperf.csv, which make_page.py puts on the page (three minutes)

Published: NVIDIA's closed-division results on eight GPUs, tokens a second: H100 20,556 (Inference 4.0), H200 32,790 (4.1), B200
98,443 (5.0). Their engines are built with ``--qformat=fp8 --kv_cache_dtype=fp8``, two GPUs an engine on H100, one on H200
and B200 (there with FP4 weights). The data set's lengths have means of about 294 in and out; their spread (gamma, shape 2,
at most 1,024) and Poisson arrivals are assumed. ``auto`` is what a 16-bit cache would do.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from sim.fleet.blueprint import Blueprint
from sim.perf import FrontEnd
from sim.presets.read import preset, preset_gpu, preset_model
from sim.spec import EngineSpec
from sim.trust.replay import replay
from sim.workload.trace import Trace

PUBLISHED = {"h100": (20_556, 2, "fp8"), "h200": (32_790, 1, "fp8"), "b200": (98_443, 1, "fp4")}
"""Tokens a second of eight GPUs, GPUs an engine, weights."""
MEAN_TOKENS, LONGEST = 294, 1024
TTFT_LIMIT_S, TPOT_LIMIT_S = 2.0, 0.2
REQUESTS, HALVINGS = 6000, 6


def server(gpu: str, engine: str, kv_dtype: str) -> Blueprint:
    _, gpus, weights = PUBLISHED[gpu]
    stated = {"tensor_parallel_size": gpus, "kv_cache_dtype": kv_dtype, "max_num_seqs": 1024, "max_model_len": 2 * LONGEST}
    spec = EngineSpec(**{**preset("engine", engine), **stated, "max_num_batched_tokens": 8192})
    return Blueprint("mlperf", replace(preset_model("llama2_70b"), weight_dtype=weights), preset_gpu(gpu), spec)


def holds(one: Blueprint, rate_per_s: float) -> bool:
    """Whether one engine holds both limits, the first quarter of the requests apart."""
    draw = np.random.default_rng(0)
    arrival_s = np.cumsum(draw.exponential(1 / rate_per_s, REQUESTS))
    prompts, answers = (np.clip(draw.gamma(2.0, MEAN_TOKENS / 2, REQUESTS).astype(int), 5, LONGEST) for _ in range(2))
    found = replay(
        Trace(arrival_s, prompts, answers), one.engine, one.blocks, one.step_time, FrontEnd(one.gpu), one.groups
    )  # fmt: skip
    rows = slice(REQUESTS // 4, None)
    ttft_s, tpot_s = np.nanpercentile(found.ttft_s[rows], 99), np.nanpercentile(found.tpot_s[rows], 99)
    return bool(ttft_s <= TTFT_LIMIT_S and tpot_s <= TPOT_LIMIT_S)


def tokens_per_s(gpu: str, engine: str, kv_dtype: str) -> float:
    """What eight GPUs carry."""
    published, gpus, _ = PUBLISHED[gpu]
    one, engines = server(gpu, engine, kv_dtype), 8 // gpus
    low, high = (share * published / engines / MEAN_TOKENS for share in (0.5, 2.5))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(one, middle) else (low, middle)
    return low * engines * MEAN_TOKENS


def main() -> None:
    with (Path(__file__).parent / "mlperf.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["GPUs", "weights", "KV cache", "engine", "published tokens/s", "predicted", "predicted / published"])
        for gpu, (published, _, weights) in PUBLISHED.items():
            for engine in ("vllm", "tensorrt_llm"):
                for kv_dtype in ("fp8", "auto"):
                    found = tokens_per_s(gpu, engine, kv_dtype)
                    row = [f"8 {gpu}", weights, kv_dtype, engine, f"{published:,}", f"{found:,.0f}", f"{found / published:.2f}"]
                    table.writerow(row)
                    print(*row, flush=True)


if __name__ == "__main__":
    main()
