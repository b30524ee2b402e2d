"""What a trace's block hashes tell about reuse, as a ``PrefixTree``: shares and ages, no ids."""

from __future__ import annotations

from collections import Counter

import numpy as np

from sim.spec.traffic import EmpiricalSeconds, PrefixTree
from sim.workload.trace import Trace

_TRUNK_SHARED_BY = 0.9
_PARTS = 8
_PROBABILITIES = tuple(np.linspace(0.0, 1.0, 51).round(3).tolist())


def fit_prefix_tree(trace: Trace) -> PrefixTree | None:
    """How much of a prompt was sent before, and how long ago; None when no prompt repeats another's beginning."""
    hashes = trace.labels["block_hashes"].tolist()
    trunk = trunk_blocks(hashes)
    shared, age_s = shared_blocks(hashes, trace.arrival_s.tolist())
    repeated = shared > trunk
    if not repeated.any():
        return None
    blocks = np.array([max(len(ids), 1) for ids in hashes])
    share = np.where(repeated, shared / blocks, 0.0)
    part = (np.argsort(np.argsort(trace.input_tokens, kind="stable")) * _PARTS) // len(trace)
    ages = np.maximum(np.quantile(age_s[repeated], _PROBABILITIES), 1e-3)
    return PrefixTree(
        block_tokens=trace.block_tokens, trunk_blocks=trunk, probabilities=_PROBABILITIES,
        shared_fraction=tuple(
            tuple(np.quantile(share[part == number], _PROBABILITIES).round(4).tolist()) for number in range(_PARTS)
        ),
        age_s=EmpiricalSeconds(probabilities=_PROBABILITIES, seconds=tuple(np.maximum.accumulate(ages).tolist())),
    )  # fmt: skip


def trunk_blocks(hashes: list[tuple[int, ...]]) -> int:
    """How many leading blocks nine tenths of the prompts have in common."""
    depth = 0
    while True:
        counts = Counter(ids[depth] for ids in hashes if len(ids) > depth)
        if not counts or counts.most_common(1)[0][1] < _TRUNK_SHARED_BY * len(hashes):
            return depth
        depth += 1


def shared_blocks(hashes: list[tuple[int, ...]], arrival_s: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """For every prompt its leading blocks that were sent before, and the seconds since the last of them was."""
    last_sent_s: dict[int, float] = {}
    shared, age_s = [], []
    for ids, now_s in zip(hashes, arrival_s, strict=True):
        count = 0
        while count < len(ids) and ids[count] in last_sent_s:
            count += 1
        shared.append(count)
        age_s.append(now_s - last_sent_s[ids[count - 1]] if count else 0.0)
        for block in ids:
            last_sent_s[block] = now_s
    return np.array(shared), np.array(age_s)
