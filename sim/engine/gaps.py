"""``GapHistogram``: inter-token latencies, counted without one entry a token.

A step of a batch of B decodes is B gaps of the step's length. Bins grow by 0.99 % from 1 microsecond, so a quantile read
from them is within 0.5 % of the exact one. Shorter gaps count as of the first bin.
"""

from __future__ import annotations

from math import ceil, log
from typing import Final

import numpy as np

from sim.record.result import ItlHistogram

GROWTH: Final = 1.0099
SMALLEST_S: Final = 1e-6
_SCALE: Final = 1 / log(GROWTH)
_SHIFT: Final = -log(SMALLEST_S) * _SCALE


class GapHistogram:
    """Weighted counts by length of gap, seconds."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: list[int] = []
        """By bin; as many as were needed so far."""

    def add(self, first_s: float, last_s: float, steps: int, sequences: int) -> None:
        """``steps`` steps whose lengths go evenly from ``first_s`` to ``last_s``, each a gap of ``sequences`` requests."""
        low = max(0, int(log(first_s) * _SCALE + _SHIFT))
        high = low if steps == 1 else max(0, int(log(last_s) * _SCALE + _SHIFT))
        counts = self.counts
        while len(counts) <= low or len(counts) <= high:
            counts.append(0)
        if low == high:
            counts[low] += steps * sequences
            return
        increment = (last_s - first_s) / (steps - 1)
        done = 0
        for index in range(low, high + 1) if low < high else range(low, high - 1, -1):
            edge = SMALLEST_S * GROWTH ** (index + 1 if low < high else index)
            upto = steps if index == high else min(steps, max(done, ceil((edge - first_s) / increment)))
            if upto > done:
                counts[index] += (upto - done) * sequences
                done = upto

    def histogram(self) -> ItlHistogram:
        """The counts on contiguous bins."""
        filled = np.flatnonzero(np.array(self.counts))
        if not len(filled):
            return ItlHistogram(np.array([SMALLEST_S, SMALLEST_S * GROWTH]), np.array([0]))
        low, high = int(filled[0]), int(filled[-1])
        edges = SMALLEST_S * GROWTH ** np.arange(low, high + 2, dtype=float)
        return ItlHistogram(edges, np.array(self.counts[low : high + 1]))
