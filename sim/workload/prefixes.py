"""Prompts that begin alike: groups with a common beginning, or trees in which prompts grow out of earlier prompts.

The tree keeps three things that decide what a prefix cache is worth: how much of a prompt was sent before, as a
share of the prompt and depending on its length, how long ago, and the beginning that all share. It does not keep who
sent it.
"""

from __future__ import annotations

import bisect
import functools

import numpy as np

from sim.spec.prompts import LOOKED_BACK
from sim.spec.traffic import PrefixGroups, PrefixTree
from sim.workload.columns import tuples
from sim.workload.lengths import seconds_at
from sim.workload.sessions import Streams
from sim.workload.trace import Trace

_SEARCHED = 48
"""Neighbours in time looked at for a prompt long enough to share the wanted blocks."""


@functools.singledispatch
def with_prefixes(spec: object, trace: Trace, name: str, rng: Streams) -> Trace:
    """``trace`` with shared beginnings."""
    raise TypeError(f"no shared prefixes for {type(spec).__name__}")


@with_prefixes.register
def _groups(spec: PrefixGroups, trace: Trace, name: str, rng: Streams) -> Trace:
    weights = np.cumsum(spec.weights) / np.sum(spec.weights)
    tokens = np.asarray(spec.tokens, dtype=np.int64)
    group = np.searchsorted(weights, _one_a_session(trace, rng("prefix").random(len(trace))), side="right")
    names = np.array([f"{name}p{i}" if length else "" for i, length in enumerate(tokens)], dtype=object)
    labels = dict(trace.labels, prefix_id=names[group], prefix_tokens=tokens[group])
    if "session_id" in trace.labels:  # every turn carries the beginning before its history
        longer = trace.input_tokens + tokens[group]
    else:
        longer = np.maximum(trace.input_tokens, tokens[group] + 1)
    return Trace(trace.arrival_s, longer, trace.output_tokens, labels, trace.block_tokens, trace.provenance)


def _one_a_session(trace: Trace, uniforms: np.ndarray) -> np.ndarray:
    """All turns of a session get the uniform of its first."""
    if "session_id" not in trace.labels:
        return uniforms
    _, first, inverse = np.unique(trace.labels["session_id"].astype(str), return_index=True, return_inverse=True)
    return uniforms[first][inverse]


@with_prefixes.register
def _tree(spec: PrefixTree, trace: Trace, name: str, rng: Streams) -> Trace:
    n = len(trace)
    blocks = -(-trace.input_tokens // spec.block_tokens)
    length_part = (np.argsort(np.argsort(trace.input_tokens, kind="stable")) * len(spec.shared_fraction)) // max(n, 1)
    share_rank = rng("shared").random(n)
    share = np.empty(n)
    for part, quantiles in enumerate(spec.shared_fraction):
        mine = length_part == part
        share[mine] = np.interp(share_rank[mine], spec.probabilities, quantiles)
    wanted = np.rint(share * blocks).astype(np.int64).tolist()
    sent_s = (trace.arrival_s - seconds_at(spec.age_s, rng("age").random(n))).tolist()
    arrival_s, lengths = trace.arrival_s.tolist(), blocks.tolist()
    before, source = session_sources(trace, blocks) if spec.kept_fraction is not None else ([-1] * n, [-1] * n)
    kept_rank = rng("kept").random(n) if spec.kept_fraction is not None else np.zeros(n)
    trunk = tuple(range(spec.trunk_blocks))
    # a text that was sent again is younger than its first request says: it is found through the younger one
    usable = list(lengths)
    next_id = spec.trunk_blocks
    prompts: list[tuple[int, ...]] = []
    for i in range(n):
        shared = trunk[: lengths[i]]
        if before[i] >= 0 and spec.kept_fraction is not None:
            earlier = prompts[source[i]]
            law = spec.kept_fraction[lengths[i] < lengths[before[i]]]
            kept = round(float(np.interp(kept_rank[i], spec.probabilities, law)) * min(lengths[i], len(earlier)))
            shared = earlier[:kept] if kept > len(shared) else shared
        elif i and wanted[i] > len(shared):
            parent = _parent(bisect.bisect_left(arrival_s, sent_s[i], 0, i), i, wanted[i], usable)
            usable[parent] = min(usable[parent], wanted[i] - 1)
            shared = prompts[parent][: wanted[i]]
        fresh = lengths[i] - len(shared)
        prompts.append((*shared, *range(next_id, next_id + fresh)))
        next_id += fresh
    dropped = ("session_id", "turn") if spec.kept_fraction is None else ()
    labels = {key: column for key, column in trace.labels.items() if key not in dropped}
    return Trace(
        trace.arrival_s, trace.input_tokens, trace.output_tokens, {**labels, "block_hashes": tuples(prompts)},
        spec.block_tokens, trace.provenance,
    )  # fmt: skip


def session_sources(trace: Trace, blocks: np.ndarray) -> tuple[list[int], list[int]]:
    """For each later turn the place of the turn before it, and of the turn that its beginning is taken from: of the last
    ``LOOKED_BACK`` the one that covers most of it, the latest of equals (agents under one session take turns with it).
    -1 where a session begins."""
    recent: dict[str, list[int]] = {}
    before, source = [], []
    lengths = blocks.tolist()
    for place, session in enumerate(trace.labels["session_id"].tolist()):
        turns = recent.setdefault(session, []) if session else []
        before.append(turns[-1] if turns else -1)
        source.append(max(reversed(turns), key=lambda turn: min(lengths[turn], lengths[place])) if turns else -1)
        turns.append(place)
        del turns[:-LOOKED_BACK]
    return before, source


def _parent(start: int, before: int, wanted: int, usable: list[int]) -> int:
    """The request nearest to ``start``, before ``before``, with ``wanted`` usable blocks; else the most seen."""
    best = min(start, before - 1)
    for step in range(_SEARCHED):
        for candidate in (start - step, start + step):
            if 0 <= candidate < before:
                if usable[candidate] >= wanted:
                    return candidate
                if usable[candidate] > usable[best]:
                    best = candidate
    return best
