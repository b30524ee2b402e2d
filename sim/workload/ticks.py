"""Clocks that tick coarsely: arrivals that share a tick look like a burst that never was.

A trace stands on ticks when nearly all of its arrivals are multiples of one step (from zero or from its first arrival;
to 1 %, since clocks jitter) and many of them share one. The step is the usual distance between neighbouring different
times.
"""

from __future__ import annotations

import numpy as np

_COARSE_S = 0.1
"""Below this a tick changes no queue worth the name: an engine step takes as long."""
_LOOKED_AT = 200_000
_ON_TICKS = 0.9
_TOGETHER = 1.2
"""Requests at one tick, on average over occupied ticks."""


def coarse_tick_s(arrival_s: np.ndarray) -> float | None:
    """The tick that ``arrival_s`` stand on, in seconds, where it is coarse and shared; None otherwise."""
    seen = arrival_s[:_LOOKED_AT]
    distinct = np.unique(np.round(seen, 6))
    if len(distinct) < 3 or len(seen) < _TOGETHER * len(distinct):
        return None
    tick_s = float(np.round(np.median(np.diff(distinct)), 3))
    if tick_s < _COARSE_S:
        return None
    smaller = tick_s / np.arange(1, 11)  # at a low rate the usual distance is several ticks
    for candidate_s in smaller[smaller >= _COARSE_S]:
        if share_on_ticks(seen, float(candidate_s)) >= _ON_TICKS:
            return float(candidate_s)
    return None


def share_on_ticks(arrival_s: np.ndarray, tick_s: float) -> float:
    """Share of the arrivals that are within 1 % of a multiple of ``tick_s``, from zero or from the first arrival."""
    best = 0.0
    for phase_s in dict.fromkeys((0.0, float(arrival_s[0]))):
        ticks = (arrival_s - phase_s) / tick_s
        best = max(best, float(np.mean(np.abs(ticks - np.rint(ticks)) < 0.01)))
    return best
