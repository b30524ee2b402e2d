"""Windows and rates: what ``start_s``, ``duration_s`` and ``rate_scale`` do to a trace.

Thinning (rate_scale < 1) keeps a request when its own fixed uniform lies below the scale, so the requests of a lower
rate are among those of a higher one. Requests of one session share one uniform: a conversation stays whole.

Superposition (rate_scale > 1) lays floor(scale) copies and a thinned last one over each other. Copy j is shifted round
the trace's period by the fraction of j x golden ratio, an even spread that does not depend on how many copies there
are, so rates nest here too. A copy is other users of the same service: ``session_id`` and ``prompt_id`` get a suffix
(~1, ~2, ...; the part of a session that wraps round the period's end is a session of its own, ~1w), ``block_hashes``
get ids of their own except leading blocks that at least a tenth of all requests begin with (the service's own
prompt), ``prefix_id`` (shared system prompts) and the other labels stay.

Squeezing (``rate_mode=squeeze``) divides all times by the scale: it shortens think times and daily rhythms too.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from sim.errors import TraceError
from sim.rng import stream
from sim.workload.columns import tuples
from sim.workload.merge import merged
from sim.workload.trace import Trace

_GOLDEN = (5**0.5 - 1) / 2
_SHARED_BY = 0.1


_MOST_REQUESTS = 100_000_000
"""About what a machine's memory holds; a slip of the keyboard asks for more."""


def windowed(trace: Trace, start_s: float, duration_s: float | None) -> tuple[Trace, float]:
    """The requests in [start_s, start_s + duration_s), from time 0, and the period they stand for.

    The period is ``duration_s`` where the trace goes on beyond the window, else last arrival plus one mean gap.

    Raises:
        TraceError: no request is left.
    """
    stop_s = np.inf if duration_s is None else start_s + duration_s
    first, last = np.searchsorted(trace.arrival_s, [start_s, stop_s], side="left")
    if last <= first:
        raise TraceError(
            f"the window start_s={start_s:g}, duration_s={duration_s} holds no request; "
            f"the trace spans 0 to {trace.duration_s:g} s"
        )
    cut_off = last < len(trace)
    kept = trace if first == 0 and not cut_off and start_s == 0 else trace.take(
        np.arange(first, last), trace.arrival_s[first:last] - start_s
    )  # fmt: skip
    last_s = kept.duration_s
    period_s = last_s + (last_s / (len(kept) - 1) if len(kept) > 1 and last_s > 0 else 1.0)
    if duration_s is not None and cut_off:
        period_s = duration_s
    return kept, period_s


def rate_scaled(trace: Trace, scale: float, period_s: float, seed: int, mode: str = "superpose") -> Trace:
    """``trace`` at ``scale`` times its rate.

    Raises:
        TraceError: thinning left no request.
    """
    if scale == 1.0:
        return trace
    if mode == "squeeze":
        return trace.take(np.arange(len(trace)), trace.arrival_s / scale)
    whole = int(scale)
    if len(trace) * scale > _MOST_REQUESTS:
        raise TraceError(
            f"workload.rate_scale={scale:g} of {len(trace):,} requests makes {len(trace) * scale:,.0f}; "
            f"at most {_MOST_REQUESTS:,} are legal"
        )
    parts = [copy_of(trace, number, period_s) for number in range(whole)]
    if scale > whole:
        keep = keep_below(trace, scale - whole, seed, whole)[_rotation(trace, whole, period_s)[0]]
        parts.append(copy_of(trace, whole, period_s).take(keep))
    if not sum(map(len, parts)):
        raise TraceError(f"rate_scale={scale:g} keeps none of the {len(trace)} requests; raise it")
    return merged(parts) if len(parts) > 1 else parts[0]


def keep_below(trace: Trace, scale: float, seed: int, copy: int) -> np.ndarray:
    """Mask of the requests whose fixed uniform in this copy lies below ``scale``."""
    uniforms = stream(seed, "workload", "thin", copy).random(len(trace))
    sessions = trace.labels.get("session_id")
    if sessions is not None:
        _, first, inverse = np.unique(sessions.astype(str), return_index=True, return_inverse=True)
        in_session = sessions != ""
        uniforms[in_session] = uniforms[first][inverse][in_session]
    mask: np.ndarray = uniforms < scale
    return mask


def _rotation(
    trace: Trace, copy: int, period_s: float, shift_s: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row order, arrival times and wrapped mask of a copy."""
    if copy == 0:  # the trace itself
        return np.arange(len(trace)), trace.arrival_s, np.zeros(len(trace), dtype=bool)
    shifted_s = trace.arrival_s + ((copy * _GOLDEN % 1.0) * period_s if shift_s is None else shift_s)
    wrapped = shifted_s >= period_s
    shifted_s = np.where(wrapped, shifted_s - period_s, shifted_s)
    order = np.argsort(shifted_s, kind="stable")
    return order, shifted_s[order], wrapped[order]


def copy_of(trace: Trace, copy: int, period_s: float, shift_s: float | None = None) -> Trace:
    """Copy number ``copy`` of ``trace``: other users, shifted round the period (by its golden share unless given)."""
    if copy == 0:
        return trace
    order, arrival_s, wrapped = _rotation(trace, copy, period_s, shift_s)
    moved = trace.take(order, arrival_s)
    labels = dict(moved.labels)
    for name in ("session_id", "prompt_id"):
        if name in labels:
            suffix = np.where(wrapped, f"~{copy}w" if name == "session_id" else f"~{copy}", f"~{copy}").astype(object)
            labels[name] = np.where(labels[name] == "", "", labels[name] + suffix)
    if "block_hashes" in labels:
        labels["block_hashes"] = _other_blocks(labels["block_hashes"], copy)
    return Trace(arrival_s, moved.input_tokens, moved.output_tokens, labels, trace.block_tokens, trace.provenance)


def _other_blocks(hashes: np.ndarray, copy: int) -> np.ndarray:
    """The same tree over ids of its own, but for the leading blocks that a tenth of the prompts share."""
    common: set[int] = set()
    depth = 0
    while True:  # blocks are prefix-chained: a common block's parent is common too
        counts = Counter(ids[depth] for ids in hashes if len(ids) > depth)
        found = {block for block, count in counts.items() if count >= _SHARED_BY * len(hashes)}
        if not found:
            break
        common |= found
        depth += 1
    highest = max((max(ids) for ids in hashes if ids), default=0)
    shift = copy * (highest + 1)
    return tuples(tuple(block if block in common else block + shift for block in ids) for ids in hashes)
