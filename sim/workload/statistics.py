"""Figures that describe a trace: rates, burstiness, lengths, prefix reuse, sessions.

Index of dispersion of counts (IDC) = variance / mean of the requests in bins of one length: 1 for Poisson arrivals.
It is given at 1 s, 1 min and 1 h beside the coefficient of variation of gaps, which ties and silences dominate.
Ideal prefix reuse = share of prompt blocks whose whole prefix was seen before (infinite cache); the LRU curve is the
same with a cache that holds only so many blocks, a block being refreshed whenever a prompt uses it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sim.workload.trace import Trace

QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)
_BINS = {"1s": 1.0, "1min": 60.0, "1h": 3600.0}
_MOST_LABELS = 20
_PIECE = 1 << 20
_TABLE = 1 << 24
"""Token counts below this are counted in a table, the others sorted."""
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
    if duration_s > 0:
        found["tokens_per_day"] = {
            "input": float(trace.input_tokens.sum()) / duration_s * 86_400.0,
            "output": float(trace.output_tokens.sum()) / duration_s * 86_400.0,
        }
        found["busiest_hour"] = _busiest_hour(trace.arrival_s)
    for name, bin_s in _BINS.items():
        mean, variance, most = count_moments(trace.arrival_s, bin_s)
        found[f"idc_{name}"] = variance / mean if mean else np.nan
        found[f"peak_to_mean_{name}"] = most / mean if mean else np.nan
    if "block_hashes" in trace.labels:
        found["prefix_reuse"] = reuse_statistics(trace.labels["block_hashes"].tolist())
    if "session_id" in trace.labels:
        found["sessions"] = session_statistics(trace)
    for name in ("route", "feature"):
        if name in trace.labels:
            found[f"by_{name}"] = by_label(trace, name)
    return found


def _busiest_hour(arrival_s: np.ndarray) -> dict[str, float]:
    """The whole hour from time 0 with most requests (the first of equal ones): where it begins, its requests and its
    share of all."""
    starts_s = np.arange(int(arrival_s[-1] // 3600.0) + 2) * 3600.0
    counts = np.diff(np.searchsorted(arrival_s, starts_s))
    place = int(np.argmax(counts))
    most = float(counts[place])
    return {"start_s": float(starts_s[place]), "requests": most, "share": most / len(arrival_s)}


def by_label(trace: Trace, name: str) -> dict[str, dict[str, float]]:
    """Requests, mean lengths and share of all tokens of each value of a label, the largest share first; of more than
    ``_MOST_LABELS`` values the others together are "(others)", requests without one are "(none)"."""
    values, places = np.unique(trace.labels[name].astype(str), return_inverse=True)
    counts = np.bincount(places)
    inputs = np.bincount(places, weights=trace.input_tokens)
    outputs = np.bincount(places, weights=trace.output_tokens)
    order = np.argsort(-(inputs + outputs), kind="stable")
    groups = [(str(values[place]) or "(none)", [place]) for place in order[:_MOST_LABELS].tolist()]
    if len(order) > _MOST_LABELS:
        groups.append(("(others)", order[_MOST_LABELS:].tolist()))
    total = float(inputs.sum() + outputs.sum())
    return {
        value: {
            "requests": float(counts[places].sum()),
            "input_tokens_mean": float(inputs[places].sum() / counts[places].sum()),
            "output_tokens_mean": float(outputs[places].sum() / counts[places].sum()),
            "share_of_tokens": float((inputs[places].sum() + outputs[places].sum()) / total),
        }
        for value, places in groups
    }


def count_moments(arrival_s: np.ndarray, bin_s: float) -> tuple[float, float, float]:
    """Mean, variance and maximum of the requests in each whole bin of ``bin_s`` from time 0 (the part of a bin at the end
    is left out); mean 0 with fewer than two bins. Only bins with requests are looked at: a trace may be mostly silence."""
    bins = int(arrival_s[-1] / bin_s) if len(arrival_s) else 0
    if bins < 2:
        return 0.0, np.nan, np.nan
    whole = arrival_s[: int(np.searchsorted(arrival_s, bins * bin_s))]
    squares, most, last, open_count = 0.0, 0, -1, 0
    for piece in _pieces(whole):
        places = (piece / bin_s).astype(np.int64)
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        counts = np.diff(np.append(starts, len(places)))
        if places[0] == last:
            counts[0] += open_count
        elif open_count:
            counts = np.append(open_count, counts)
        last, open_count, closed = int(places[-1]), int(counts[-1]), counts[:-1]
        squares += float(np.sum(closed.astype(np.float64) ** 2))
        most = max(most, int(counts.max()))
    squares += float(open_count) ** 2
    mean = len(whole) / bins
    return mean, max(squares / bins - mean**2, 0.0), float(most)


def _pieces(column: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of a column, so that what is computed of it takes no memory of the column's size."""
    for start in range(0, len(column), _PIECE):
        yield column[start : start + _PIECE]


def gap_cv(arrival_s: np.ndarray) -> float:
    """Coefficient of variation of the gaps between arrivals; NaN with fewer than two gaps or none above 0."""
    if len(arrival_s) < 3 or arrival_s[-1] <= arrival_s[0]:
        return np.nan
    mean_s = float(arrival_s[-1] - arrival_s[0]) / (len(arrival_s) - 1)
    squares = sum(
        float(np.sum((np.diff(arrival_s[start : start + _PIECE + 1]) - mean_s) ** 2))
        for start in range(0, len(arrival_s) - 1, _PIECE)
    )
    return float(np.sqrt(squares / (len(arrival_s) - 1)) / mean_s)


class Counted:
    """A column of whole numbers as its different values and how often each occurs."""

    def __init__(self, column: np.ndarray) -> None:
        if column.max() < _TABLE:
            counts = np.bincount(column)
            self.values = np.flatnonzero(counts)
            self.counts = counts[self.values]
        else:
            self.values, self.counts = np.unique(column, return_counts=True)
        self.ends = np.cumsum(self.counts)
        self._ranks = self.ends - (self.counts - 1) / 2.0

    def quantile(self, share: float) -> float:
        """The linear-interpolated quantile, as numpy's."""
        place = share * (int(self.ends[-1]) - 1)
        below = math.floor(place)
        low, high = (self.values[np.searchsorted(self.ends, at, side="right")] for at in (below, math.ceil(place)))
        return float(low + (high - low) * (place - below))

    def mean(self) -> float:
        """The mean."""
        return float(np.dot(self.values.astype(np.float64), self.counts)) / int(self.ends[-1])

    def ranks_of(self, piece: np.ndarray) -> np.ndarray:
        """Average ranks (ties share theirs) of values of the column, from -1 to 1 about the middle one."""
        middle = (self.ends[-1] + 1) / 2.0
        ranks: np.ndarray = (self._ranks[np.searchsorted(self.values, piece)] - middle) / middle
        return ranks


def length_statistics(tokens: np.ndarray) -> dict[str, float]:
    """Mean and quantiles of token counts."""
    counted = Counted(tokens)
    names = ["p50", "p90", "p95", "p99", "max"]
    return {"mean": counted.mean()} | {
        name: counted.quantile(share) for name, share in zip(names, QUANTILES, strict=True)
    }


def _spearman(trace: Trace) -> float:
    """Rank correlation of input and output tokens: Pearson's of the average ranks."""
    inputs, outputs = Counted(trace.input_tokens), Counted(trace.output_tokens)
    if len(trace) < 3 or len(inputs.values) == 1 or len(outputs.values) == 1:
        return np.nan
    products = np.zeros(3)
    for x, y in zip(_pieces(trace.input_tokens), _pieces(trace.output_tokens), strict=True):
        a, b = inputs.ranks_of(x), outputs.ranks_of(y)
        products += (np.dot(a, a), np.dot(b, b), np.dot(a, b))
    return float(products[2] / np.sqrt(products[0] * products[1]))


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
