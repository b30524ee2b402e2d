"""What it costs to simulate prefill and decode apart, and ranks in lock step: requests a CPU second beside the bare rate.

    python experiments/engine_speed/bench.py --disaggregated

Chat: Poisson 4/s, prompts lognormal(6.7, 0.6) of at most 8,000 tokens, answers lognormal(5.1, 0.6) of at most 2,000, on
Llama-3.1-8B and H100 with vLLM's defaults. The bare rate is that of one ordinary replica; beside it two, which have the
GPUs of one prefill and one decode replica. Ranks: the benchmark load at 1, 4 and 8 requests a second and GPU on eight
replicas of Qwen3-30B-A3B, the bare rate, and on one replica of eight ranks that share their experts.

The forms take turns, each run in a process of its own; medians, and ratios of medians.
"""

from __future__ import annotations

import gc
import statistics
from typing import Any

import bench
import numpy as np

from sim.workload import Trace

PROTOCOLS = ("pull", "push", "reserve_first")
RANKS = ("engine.data_parallel_size=8", "engine.enable_expert_parallel=true", "fleet.replicas=1")


def chat(requests: int) -> Trace:
    """The chat load."""
    rng = np.random.default_rng(0)
    arrival_s = np.cumsum(rng.exponential(1 / 4.0, requests))
    prompts = np.clip(rng.lognormal(6.7, 0.6, requests), 1, 8000).astype(int)
    answers = np.clip(rng.lognormal(5.1, 0.6, requests), 2, 2000).astype(int)
    return Trace(arrival_s - arrival_s[0], prompts, answers)


def row(trace: Trace, *overrides: str) -> bench.Row:
    """A run of the packaged configuration on ``trace``; what imports made is out of the collector's sight, as in the
    program."""
    from sim.cli.compose import composed_scenario

    asked = composed_scenario(["gpu=h100", "output.timeseries=false", *overrides])
    gc.collect()
    gc.freeze()
    return bench.measure(asked, trace)


def by_turns(runs: int, trace: Trace, asked: dict[str, tuple[str, ...]]) -> None:
    """A table; the first row is what the others are compared with."""
    rows: dict[str, list[bench.Row]] = {name: [] for name in asked}
    for _ in range(runs):
        for name, overrides in asked.items():
            rows[name].append(bench.median_row(1, row, trace, *overrides))
    cpu_s = {name: statistics.median(one.cpu_s for one in found) for name, found in rows.items()}
    base_s = next(iter(cpu_s.values()))
    for name, found in rows.items():
        last = found[-1]
        print(f"| {name} | {last.requests / cpu_s[name]:,.0f} | {base_s / cpu_s[name]:.2f} "
              f"| {last.engine_steps / last.requests:.1f} | {last.kernel_events / last.requests:.2f} |", flush=True)  # fmt: skip


def table(runs: int) -> None:
    """All of it."""
    print("| | requests / CPU s | of the bare rate | engine steps a request | events a request |\n|---|---|---|---|---|")
    split = {
        protocol: ("fleet=disaggregated", f"gateway.disaggregation={{kind: always, protocol: {protocol}}}")
        for protocol in PROTOCOLS
    }
    whole: dict[str, Any] = {"chat, 1 replica": ("fleet.replicas=1",), "chat, 2 replicas": ("fleet.replicas=2",)}
    by_turns(runs, chat(10_000), whole | {f"chat, 1P1D, {protocol}": of for protocol, of in split.items()})
    for rate_s in (1.0, 4.0, 8.0):
        trace = bench.load(10_000, 8)
        trace = Trace(trace.arrival_s * bench.RATE_PER_REPLICA_S / rate_s, trace.input_tokens, trace.output_tokens)
        both = {"8 replicas": ("fleet.replicas=8",), "8 ranks": RANKS}
        asked = {f"{name}, {rate_s:g}/s a GPU": ("model=qwen3_30b_a3b", *of) for name, of in both.items()}
        by_turns(runs, trace, asked)
