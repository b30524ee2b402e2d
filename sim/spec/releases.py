"""What each vLLM release from 0.10 to 0.33 does differently, as far as memory, defaults and admission go.

A row is what changed with that release; ``release_of`` adds the rows up to a version. Sources: the wheels of 0.20, 0.22,
0.24, 0.26, 0.28, 0.29, 0.31 and 0.33 (``vllm/envs.py``, ``config/{cache,vllm}.py``, ``engine/arg_utils.py``,
``v1/worker/gpu_worker.py``, ``v1/worker/gpu/model_runner.py``, ``v1/kv_cache_interface.py``); between two of them a change
is dated to the later one. The sampler's bytes are fitted to start-up logs (``sim.perf.memory``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

OLDEST, NEWEST = (0, 10), (0, 33)


@dataclass(frozen=True)
class Release:
    """One release's behaviour; names of ``EngineSpec`` where it is an option's default."""

    gpu_memory_utilization: float = 0.90
    estimate_cudagraph_memory: bool = False
    async_scheduling: bool = False
    scheduler_reserve_full_isl: bool = False
    cache_state_prefixes: bool = False
    second_runner: str = "none"
    """Which models the second GPU model runner (V2) serves by default: none, dense, all."""
    second_runner_counts_graphs: bool = False
    sampler_bytes_per_logit: float = 34.5
    """Peak of the first runner's sampler in the profiling pass, bytes an entry of sequences x vocabulary."""
    second_sampler_bytes_per_logit: float = 3.0
    large_tier: bool = False
    """GPUs of at least 160 GiB have a token budget of 16,384."""
    windows_count_steps_in_flight: bool = False
    """A sliding window reserves for every batch in flight, not for one."""
    state_pages_with_caching: int = 1
    """Pages that a sequence holds in a group of recurrent states while prefixes are cached (``mamba_cache_mode=align``)."""
    tokens_by_concurrency: bool = False
    """The log's KV tokens are concurrency x max_model_len; before, blocks / groups x block size."""


_CHANGES: tuple[tuple[tuple[int, int], dict[str, Any]], ...] = (
    ((0, 14), {"async_scheduling": True}),
    ((0, 15), {"sampler_bytes_per_logit": 40.0}),
    ((0, 16), {"sampler_bytes_per_logit": 5.0}),  # FlashInfer's sampler, on NVIDIA; dated between logs of 0.15 and 0.17
    ((0, 18), {"scheduler_reserve_full_isl": True}),
    ((0, 19), {"sampler_bytes_per_logit": 23.0}),
    ((0, 20), {"gpu_memory_utilization": 0.92, "estimate_cudagraph_memory": True}),
    ((0, 21), {"sampler_bytes_per_logit": 12.5}),
    ((0, 22), {"tokens_by_concurrency": True, "state_pages_with_caching": 2}),
    ((0, 24), {"second_runner": "dense"}),  # 0.22 and 0.23: Qwen3 alone
    ((0, 26), {"windows_count_steps_in_flight": True}),
    ((0, 27), {"cache_state_prefixes": True}),  # a log of 0.27.1 has its states' pages; the wheel of 0.26 does not
    ((0, 28), {"large_tier": True}),
    ((0, 29), {"second_runner": "all", "second_runner_counts_graphs": True}),
    ((0, 33), {"second_sampler_bytes_per_logit": 12.5}),  # the profiling pass also warms the fp32 path; not measured
)
OPTIONS = (
    "gpu_memory_utilization", "estimate_cudagraph_memory", "async_scheduling", "scheduler_reserve_full_isl",
    "cache_state_prefixes",
)  # fmt: skip
"""Options of ``EngineSpec`` whose default is the release's."""


def parse_version(text: str) -> tuple[int, int]:
    """``0.26``, ``v0.26.1`` or ``0.29.1rc1`` as ``(major, minor)``.

    Raises:
        ValueError: not a release between the oldest and the newest modelled.
    """
    found = re.fullmatch(r"v?(\d{1,3})\.(\d{1,3})(\.\d{1,3})?([a-z].*)?(\+.*)?", text.strip())
    if found is None or not OLDEST <= (int(found[1]), int(found[2])) <= NEWEST:
        span = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
        raise ValueError(f"version must be a vLLM release from {span}, but got {text!r}")
    return int(found[1]), int(found[2])


def release_of(version: str) -> Release:
    """What the release ``version`` does; see ``parse_version`` for errors."""
    return _release(parse_version(version))


@cache
def _release(version: tuple[int, int]) -> Release:
    found = Release()
    for since, changes in _CHANGES:
        if version >= since:
            found = replace(found, **changes)
    return found
