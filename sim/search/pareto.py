"""Which cells of a sweep are worth a look: no other is both cheaper and faster."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_set(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (cost, latency) that no other is at least as good as in both and better in one, by cost; points
    that are not finite never belong to it. Equal points belong to it together."""
    known = [i for i, point in enumerate(points) if all(map(math.isfinite, point))]
    known.sort(key=lambda i: points[i])
    found: list[int] = []
    least = math.inf
    for i in known:
        if points[i][1] < least or (found and points[i] == points[found[-1]]):
            found.append(i)
            least = min(least, points[i][1])
    return found


def knee(points: Sequence[tuple[float, float]], chosen: Sequence[int]) -> int | None:
    """Of the Pareto set ``chosen`` the point farthest below the chord between its ends, both axes scaled to the chord: more
    money buys little beyond it. None for fewer than three points."""
    if len(chosen) < 3:
        return None
    (x0, y0), (x1, y1) = points[chosen[0]], points[chosen[-1]]
    if x1 == x0 or y1 == y0:
        return None

    def below(i: int) -> float:
        x, y = points[i]
        return 1.0 - (x - x0) / (x1 - x0) - (y - y1) / (y0 - y1)

    best = max(chosen[1:-1], key=below)
    return best if below(best) > 0 else None
