"""``sglang.bench_serving``: a JSON object a line, one a run.

As vLLM's (it came from there), with ``mean_e2e_latency_ms``, ``backend``, ``server_info`` and the measured mean number in
flight in ``concurrency``; ``request_rate`` Infinity means no pacing.

Source: python/sglang/bench_serving.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.measured import vllm_bench
from sim.measured.aggregate import Aggregate

PRODUCER = "sglang.bench_serving"


def matches(entry: Mapping[str, Any]) -> bool:
    """By the names that only SGLang's version has."""
    return vllm_bench.matches(entry) and bool(
        {"mean_e2e_latency_ms", "server_info", "total_output_tokens_retokenized"} & entry.keys()
    )


def read(source: str, entry: Mapping[str, Any]) -> Aggregate:
    """The run's means."""
    return vllm_bench.read(source, entry, PRODUCER)
