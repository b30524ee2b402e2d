"""Figures that describe a trace: rates, burstiness, lengths, prefix reuse, sessions.

Index of dispersion of counts (IDC) = variance / mean of the requests in bins of one length: 1 for Poisson arrivals.
It is given at 1 s, 1 min and 1 h beside the coefficient of variation of gaps, which ties and silences dominate.
Ideal prefix reuse = share of prompt blocks whose whole prefix was seen before (infinite cache); the LRU curve is the
same with a cache that holds only so many blocks, a block being refreshed whenever a prompt uses it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from sim.workload.trace import Trace

QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)
_BINS = {"1s": 1.0, "1min": 60.0, "1h": 3600.0}
_LRU_SHARES = (0.01, 0.05, 0.1, 0.25, 0.5)


def trace_statistics(trace: Trace) -> dict[str, Any]:
    """All figures as plain data; what a trace cannot tell is NaN."""
    duration_s = trace.duration_s
    found: dict[str, Any] = {
        "requests": len(trace),
        "duration_s": duration_s,
        "rate_per_s": (len(trace) - 1) / duration_s if duration_s > 0 else np.nan,
        "gap_cv": gap_cv(trace.arrival_s),
        "input_tokens": length_statistics(trace.input_tokens),
        "output_tokens": length_statistics(trace.output_tokens),
        "spearman_input_output": _spearman(trace),
    }
    for name, bin_s in _BINS.items():
        mean, variance, most = count_moments(trace.arrival_s, bin_s)
        found[f"idc_{name}"] = variance / mean if mean else np.nan
        found[f"peak_to_mean_{name}"] = most / mean if mean else np.nan
    if "block_hashes" in trace.labels:
        found["prefix_reuse"] = reuse_statistics(trace.labels["block_hashes"].tolist())
    if "session_id" in trace.labels:
        found["sessions"] = session_statistics(trace)
    return found


def count_moments(arrival_s: np.ndarray, bin_s: float) -> tuple[float, float, float]:
    """Mean, variance and maximum of the requests in each whole bin of ``bin_s`` from time 0 (the part of a bin at the end
    is left out); mean 0 with fewer than two bins. Only bins with requests take memory: a trace may be mostly silence."""
    bins = int(arrival_s[-1] / bin_s) if len(arrival_s) else 0
    if bins < 2:
        return 0.0, np.nan, np.nan
    places = (arrival_s[: int(np.searchsorted(arrival_s, bins * bin_s))] / bin_s).astype(np.int64)
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    counts = np.diff(np.append(starts, len(places)))
    mean = len(places) / bins
    return mean, max(float(np.sum(counts.astype(np.float64) ** 2)) / bins - mean**2, 0.0), float(counts.max())


def gap_cv(arrival_s: np.ndarray) -> float:
    """Coefficient of variation of the gaps between arrivals; NaN with fewer than two gaps or none above 0."""
    gaps_s = np.diff(arrival_s)
    return float(gaps_s.std() / gaps_s.mean()) if len(gaps_s) > 1 and gaps_s.mean() > 0 else np.nan


def length_statistics(tokens: np.ndarray) -> dict[str, float]:
    """Mean and quantiles of token counts."""
    values = np.quantile(tokens, QUANTILES)
    names = ["p50", "p90", "p95", "p99", "max"]
    return {"mean": float(tokens.mean())} | dict(zip(names, map(float, values), strict=True))


def _spearman(trace: Trace) -> float:
    if len(trace) < 3 or np.ptp(trace.input_tokens) == 0 or np.ptp(trace.output_tokens) == 0:
        return np.nan
    return float(spearmanr(trace.input_tokens, trace.output_tokens).statistic)


def reuse_statistics(hashes: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """Blocks in all, unique ones, ideal reuse and reuse with LRU caches of several sizes."""
    total = sum(map(len, hashes))
    unique = len({block for ids in hashes for block in ids})
    curve = {
        f"{share:g}": lru_reuse(hashes, max(int(unique * share), 1)) if total else np.nan for share in _LRU_SHARES
    }
    return {
        "blocks": total,
        "unique_blocks": unique,
        "ideal": (total - unique) / total if total else np.nan,
        "lru_by_share_of_unique_blocks": curve,
    }


def lru_reuse(hashes: Sequence[tuple[int, ...]], capacity_blocks: int) -> float:
    """Share of blocks found, from the beginning of their prompt on, in an LRU cache of ``capacity_blocks``."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = total = 0
    for ids in hashes:
        total += len(ids)
        leading = True
        for block in ids:
            present = block in cache
            leading &= present
            hits += leading
            if present:
                cache.move_to_end(block)
                continue
            cache[block] = None
            if len(cache) > capacity_blocks:
                cache.popitem(last=False)
    return hits / total if total else np.nan


def session_statistics(trace: Trace) -> dict[str, float]:
    """Sessions, turns a session, and the time from a turn's arrival to the next one's."""
    sessions = trace.labels["session_id"]
    named = np.flatnonzero(sessions != "")
    if not len(named):
        return {"sessions": 0}
    _, place, turns = np.unique(sessions[named].astype(str), return_inverse=True, return_counts=True)
    order = np.lexsort((trace.arrival_s[named], place))
    gaps_s = np.diff(trace.arrival_s[named][order])[np.diff(place[order]) == 0]
    found = {"sessions": float(len(turns)), "turns_mean": float(turns.mean())}
    found |= {f"turns_p{q}": float(np.quantile(turns, q / 100)) for q in (50, 90, 99)}
    for q in (50, 90, 99):
        found[f"turn_gap_p{q}_s"] = float(np.quantile(gaps_s, q / 100)) if len(gaps_s) else np.nan
    return found
