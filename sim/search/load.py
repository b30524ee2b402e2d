"""The highest load that a given fleet sustains within the objective, as a multiplier on the trace's arrival rate.

Rates nest (``workload.rate_scale`` thins by one fixed uniform per request), so a higher load contains the lower one's
requests and the response is close to monotone. The bracket grows from ``start`` by a factor of 1.04, 1.08, 1.17, 1.37,
then 1.5 a step, and is then halved geometrically until high / low <= 1 + ``tolerance``. The answer is its lower end: a
load that was run and held.
"""

from __future__ import annotations

import math

from sim.search.point import Evaluate, Point, Solution, nearest_miss

_FIRST_FACTOR, _MOST_FACTOR = 1.04, 1.5


def highest_load(
    evaluate: Evaluate, *, replicas: int, start: float, tolerance: float, low: float = 1e-3, high: float = 1e4
) -> Solution:
    """The largest ``rate_scale`` in [``low``, ``high``] that holds, to a relative ``tolerance``.

    No point that holds: not even ``low`` does (or no bracket end above it), and the nearest miss is returned.
    """
    if not 0 < low < high:
        raise ValueError(f"0 < low < high must hold, but got low={low}, high={high}")
    if not 0 < tolerance < 1:
        raise ValueError(f"0 < tolerance < 1 must hold, but got {tolerance}")
    points: list[Point] = []
    best: Point | None = None
    ceiling = math.inf  # the lowest load seen to fail

    scale, factor = min(max(start, low), high), _FIRST_FACTOR
    while True:
        point = evaluate(replicas=replicas, rate_scale=scale)
        points.append(point)
        if point.holds:
            best = point
        else:
            ceiling = scale
        if best is not None and ceiling < math.inf:
            if ceiling <= best.rate_scale * (1 + tolerance):
                break
            scale = math.sqrt(ceiling * best.rate_scale)
        elif best is not None:
            if scale >= high:
                return Solution(best, best, tuple(points), note=f"holds at the highest load allowed, {high:g}")
            scale, factor = min(high, scale * factor), min(factor**2, _MOST_FACTOR)
        else:
            if scale <= low:
                return Solution(None, nearest_miss(points), tuple(points), note=f"not even a load of {low:g} holds")
            scale, factor = max(low, scale / factor), min(factor**2, _MOST_FACTOR)
    return Solution(best, best, tuple(points))
