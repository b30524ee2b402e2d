"""The fewest replicas whose percentiles meet the objective, at a given load.

More replicas never hurt but for scheduling anomalies, so the smallest count is found by bracketing and bisection: walk
from ``start`` in steps of 1, 1, 2, 4, ... towards the side that is still unknown, then halve. Started at the answer, or
one below it, the walk costs two runs: the answer holds, its neighbour below does not. That neighbour is always among the
points, so the answer is verified from below.

Where the points seen contradict monotony (a percentile that got worse with more replicas), the neighbour above is run
as well, and a count that holds only by such an anomaly is passed over.
"""

from __future__ import annotations

import itertools
import math

from sim.search.point import Evaluate, Point, Solution, nearest_miss


def fewest_replicas(evaluate: Evaluate, *, low: int, high: int, start: int, rate_scale: float = 1.0) -> Solution:
    """The smallest count in [``low``, ``high``] that holds at ``rate_scale``; ``start`` is a first guess."""
    if not 1 <= low <= high:
        raise ValueError(f"1 <= low <= high must hold, but got low={low}, high={high}")
    seen: dict[int, Point] = {}
    trail: list[Point] = []

    def holds(count: int) -> bool:
        if count not in seen:
            seen[count] = evaluate(replicas=count, rate_scale=rate_scale)
            trail.append(seen[count])
        return seen[count].holds

    fails_at, holds_at = low - 1, high + 1  # exclusive ends: nothing below low is allowed, nothing above high
    first = count = min(max(start, low), high)
    while holds_at - fails_at > 1:
        if holds(count):
            holds_at = count
        else:
            fails_at = count
        if fails_at >= low and holds_at <= high:  # both sides seen: halve
            count = (fails_at + holds_at) // 2
        else:
            step = max(1, abs(count - first))
            count += -step if holds_at <= high else step
        count = min(max(count, fails_at + 1), holds_at - 1)

    while holds_at < high and _contradicts_monotony(seen) and not holds(holds_at + 1):
        holds_at += 2  # held by an anomaly: the next candidate lies above the neighbour that failed
        while holds_at <= high and not holds(holds_at):
            holds_at += 1
    points = tuple(trail)
    if holds_at > high:
        return Solution(None, nearest_miss(points), points, note=f"no count of replicas from {low} to {high} holds")
    return Solution(seen[holds_at], seen[holds_at], points)


def _contradicts_monotony(seen: dict[int, Point]) -> bool:
    """True when some measured percentile ratio rises with the number of replicas by more than rounding."""
    ratios = [seen[count].tightness for count in sorted(seen) if math.isfinite(seen[count].tightness)]
    return any(after > before * 1.001 for before, after in itertools.pairwise(ratios))
