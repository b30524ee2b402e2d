"""The cheapest pair of pool sizes, prefill and decode, whose percentiles meet the objective at a given load.

More of either never hurts but for scheduling anomalies, so that the pairs that hold lie above a staircase. The walk

1. doubles both from ``start`` until a pair holds, then halves each down to a corner: one fewer of either fails there;
2. goes along the staircase from that corner to both sides. For every other number of one kind, only so many of the other
   come into question as cost less than the best pair: the largest such number is run, and where it holds, its corner is
   found.

Where decode replicas compute no prompts (``decode_alone``), a pair that misses nothing but what decode replicas decide
(TPOT, ITL) is not mended by prefill replicas, and no pair with more of these and as many decode replicas is run.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from sim.search.point import Point, Solution, nearest_miss

EvaluatePair = Callable[[int, int], Point]
"""The point at (prefill, decode) replicas."""

_DECODES = ("tpot", "itl")
_CHEAPER = 1 - 1e-9


class _Walk:
    """What was run so far."""

    def __init__(self, evaluate: EvaluatePair, usd: tuple[float, float], most: int, decode_alone: bool) -> None:
        self._evaluate = evaluate
        self._usd = usd
        self._decode_alone = decode_alone
        self.most = most
        self.seen: dict[tuple[int, int], Point] = {}

    def usd(self, prefill: int, decode: int) -> float:
        """What a pair costs an hour."""
        return prefill * self._usd[0] + decode * self._usd[1]

    def affordable(self, kind: int, spent: float, budget: float) -> int:
        """How many of ``kind`` cost less than what ``spent`` leaves of ``budget``."""
        each = self._usd[kind]
        left = budget * _CHEAPER - spent
        return min(self.most, math.floor(left / each)) if each > 0 else self.most

    def holds(self, prefill: int, decode: int) -> bool:
        """Whether the pair holds; run only where what is known does not tell."""
        for (p, d), point in self.seen.items():
            if point.holds and p <= prefill and d <= decode:
                return True
            if not point.holds and p >= prefill and d >= decode:
                return False
            if not point.holds and d >= decode and self._decode_alone and _decode_missed(point):
                return False
        point = self.seen[prefill, decode] = self._evaluate(prefill, decode)
        return point.holds

    def fewest(self, holds: Callable[[int], bool], low: int, high: int) -> int:
        """The fewest in [``low``, ``high``] that hold, where ``high`` does."""
        while low < high:
            middle = (low + high) // 2
            if holds(middle):
                high = middle
            else:
                low = middle + 1
        return high


def _decode_missed(point: Point) -> bool:
    missed = [name.rsplit(".", 1)[-1].split("_", 1)[0] for name in point.missed]
    return bool(missed) and all(name in _DECODES for name in missed)


def cheapest_pair(
    evaluate: EvaluatePair, *, usd: tuple[float, float], start: tuple[int, int], most: int, decode_alone: bool
) -> Solution:
    """The cheapest (prefill, decode) within [1, ``most``] each; ``usd`` an hour for one of either kind."""
    walk = _Walk(evaluate, usd, most, decode_alone)
    prefill, decode = (min(max(1, count), most) for count in start)
    while not walk.holds(prefill, decode):
        if prefill == decode == most:
            points = tuple(walk.seen.values())
            note = f"no pair of up to {most} prefill and {most} decode replicas holds"
            return Solution(None, nearest_miss(points), points, note=note)
        if decode < most and (prefill == most or (decode_alone and _decode_missed(walk.seen.get((prefill, decode), _NONE)))):
            decode = min(2 * decode, most)
        else:
            prefill, decode = min(2 * prefill, most), min(2 * decode, most)
    prefill = walk.fewest(lambda p: walk.holds(p, decode), 1, prefill)
    decode = walk.fewest(lambda d: walk.holds(prefill, d), 1, decode)
    best = (prefill, decode)
    for more in range(prefill + 1, most + 1):  # more prefill, fewer decode
        most_decode = min(walk.affordable(1, walk.usd(more, 0), walk.usd(*best)), decode - 1)
        if most_decode < 1:
            break
        if walk.holds(more, most_decode):
            best = (more, walk.fewest(lambda d, p=more: walk.holds(p, d), 1, most_decode))  # type: ignore[misc]
    for more in range(decode + 1, most + 1):  # more decode, fewer prefill
        most_prefill = min(walk.affordable(0, walk.usd(0, more), walk.usd(*best)), prefill - 1)
        if most_prefill < 1:
            break
        if walk.holds(most_prefill, more):
            best = (walk.fewest(lambda p, d=more: walk.holds(p, d), 1, most_prefill), more)  # type: ignore[misc]
    point = walk.seen.get(best) or evaluate(*best)
    return Solution(point, point, tuple(walk.seen.values()))


_NONE = Point(0, 1.0, "undecided")
