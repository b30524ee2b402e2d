"""What a trace's block hashes tell about reuse, as a ``PrefixTree``: shares and ages, no ids."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from sim.spec.traffic import EmpiricalSeconds, GeneratorSpec, PrefixTree
from sim.workload.fit_sessions import follow_ups
from sim.workload.generate import generate
from sim.workload.prefixes import session_sources
from sim.workload.trace import Trace

_TRUNK_SHARED_BY = 0.9
_PARTS = 8
_ROUNDS, _NEAR = 6, 0.01
"""Generated at most so often, until what is new is that near."""
_REQUESTS_LOOKED_AT, _FEWEST, _MOST = 40_000, 2, 12
"""What is generated each time: workloads with so many requests together, but not fewer or more than so many."""
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
    kept, later = None, np.zeros(len(trace), dtype=bool)
    if follow_ups(trace) is not None:
        kept, later = _fit_kept(trace, shared, blocks)
    share = np.where(repeated, shared / blocks, 0.0)
    part = (np.argsort(np.argsort(trace.input_tokens, kind="stable")) * _PARTS) // len(trace)
    alone = repeated & ~later if (repeated & ~later).any() else repeated
    ages = np.maximum(np.quantile(age_s[alone], _PROBABILITIES), 1e-3)
    return PrefixTree(
        block_tokens=trace.block_tokens, trunk_blocks=trunk, probabilities=_PROBABILITIES,
        shared_fraction=tuple(
            _quantiles(share[(part == number) & ~later], share[part == number]) for number in range(_PARTS)
        ),
        kept_fraction=kept,
        age_s=EmpiricalSeconds(probabilities=_PROBABILITIES, seconds=tuple(np.maximum.accumulate(ages).tolist())),
    )  # fmt: skip


def _fit_kept(
    trace: Trace, shared: np.ndarray, blocks: np.ndarray
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], np.ndarray]:
    """Of later turns, the share of the shorter of this prompt and the one before it that was sent before; and which
    requests are later turns."""
    before, source = (np.array(places) for places in session_sources(trace, blocks))
    mask = before >= 0
    shorter = np.minimum(blocks[mask], blocks[source[mask]])
    fraction = np.minimum(shared[mask] / shorter, 1.0)
    grew = blocks[mask] >= blocks[before[mask]]
    return (_quantiles(fraction[grew], fraction), _quantiles(fraction[~grew], fraction)), mask


def _quantiles(values: np.ndarray, otherwise: np.ndarray) -> tuple[float, ...]:
    """Quantiles of ``values``; of ``otherwise`` where there are none."""
    held = values if len(values) else otherwise
    found: list[float] = np.quantile(held, _PROBABILITIES).round(4).tolist() if len(held) else [0.0] * len(_PROBABILITIES)
    return tuple(found)


def with_reuse(spec: GeneratorSpec, trace: Trace) -> GeneratorSpec:
    """``spec`` whose workloads leave as many prompt tokens unshared as ``trace`` does.

    What each prompt has new is multiplied by one factor, found by generating: parents are not always long enough for
    the share that was drawn, and rounding to blocks adds up.
    """
    wanted = unshared_fraction(trace)
    seeds = range(int(np.clip(_REQUESTS_LOOKED_AT / len(trace), _FEWEST, _MOST)))
    for _ in range(_ROUNDS):
        found = np.mean([unshared_fraction(generate(spec, seed)) for seed in seeds])
        if not found > 0 or abs(found / wanted - 1) < _NEAR:
            break
        assert isinstance(spec.prefix, PrefixTree)
        spec = replace(spec, prefix=_with_new(spec.prefix, wanted / float(found)))
    return spec


def _with_new(tree: PrefixTree, factor: float) -> PrefixTree:
    """``tree`` with ``factor`` times as much of every prompt new, as far as shares go."""

    def moved(law: tuple[float, ...]) -> tuple[float, ...]:
        points: list[float] = np.clip(1.0 - (1.0 - np.asarray(law)) * factor, 0.0, 1.0).round(4).tolist()
        return tuple(points)

    kept = tree.kept_fraction
    return replace(
        tree, shared_fraction=tuple(map(moved, tree.shared_fraction)),
        kept_fraction=None if kept is None else (moved(kept[0]), moved(kept[1])),
    )  # fmt: skip


def unshared_fraction(trace: Trace) -> float:
    """Share of prompt tokens that no earlier prompt began with (a cache without limit finds the rest)."""
    sent: set[int] = set()
    fresh = total = 0
    for ids, tokens in zip(trace.labels["block_hashes"].tolist(), trace.input_tokens.tolist(), strict=True):
        count = 0
        while count < len(ids) and ids[count] in sent:
            count += 1
        fresh += tokens - min(count * trace.block_tokens, tokens - 1)
        total += tokens
        sent.update(ids)
    return fresh / total


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
