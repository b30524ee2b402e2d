"""Batch caps (``max_num_seqs``): which can hold at all, and which to try next.

With the cap, TTFT falls (less waiting for a slot) and TPOT rises (a bigger batch is a slower step); both go flat once
the cap no longer binds. The caps that hold are therefore an interval between two one-sided limits, perhaps empty, and
bisecting on one "objective met" would be wrong: it cannot tell which side a miss lies on. Each limit is bisected on its
own kind of target; end-to-end time, which first falls and then creeps up, is checked on the interval that remains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sim.search.point import Point

DEFAULT_CAPS = (8, 16, 32, 64, 128, 256, 512, 1024)
"""Powers of two over the range that engines are run with; refined around the best by ``refined_caps``."""

_FALLING = ("ttft", "queue")
_RISING = ("tpot", "itl")


def feasible_caps(evaluate: Callable[[int], Point], caps: Sequence[int]) -> list[int]:
    """The caps of the ascending list ``caps`` that hold, by two one-sided bisections (2 log2 n runs, not n)."""
    seen: dict[int, Point] = {}

    def at(index: int) -> Point:
        cap = caps[index]
        if cap not in seen:
            seen[cap] = evaluate(cap)
        return seen[cap]

    low, high = 0, len(caps)  # first index whose falling targets hold
    while low < high:
        middle = (low + high) // 2
        if _within(at(middle), _FALLING):
            high = middle
        else:
            low = middle + 1
    first = low
    low, high = first, len(caps)  # first index whose rising targets are missed
    while low < high:
        middle = (low + high) // 2
        if _within(at(middle), _RISING):
            low = middle + 1
        else:
            high = middle
    last = low - 1
    while first <= last and not at(first).holds:
        first += 1
    while last >= first and not at(last).holds:
        last -= 1
    return [caps[index] for index in range(first, last + 1)]


def _within(point: Point, kinds: tuple[str, ...]) -> bool:
    """True when the targets of these kinds hold. An overloaded or abandoned run misses the falling ones."""
    if point.verdict == "overloaded" or point.stopped_early is not None:
        return kinds is not _FALLING
    return all(
        point.attained[name] <= limit
        for name, limit in point.targets.items()
        if name.rsplit(".", 1)[-1].split("_", 1)[0] in kinds and name in point.attained
    )


def refined_caps(caps: Sequence[int], best: int) -> list[int]:
    """New caps around ``best``: two between it and each neighbour in ``caps``, multiples of 4 from 32 up."""
    ordered = sorted(set(caps))
    place = ordered.index(best)
    new: list[int] = []
    for neighbour in ordered[max(0, place - 1) : place] + ordered[place + 1 : place + 2]:
        for share in (1 / 3, 2 / 3):
            cap = best + (neighbour - best) * share
            rounded = round(cap) if cap < 32 else 4 * round(cap / 4)
            if rounded not in ordered and rounded not in new:
                new.append(rounded)
    return sorted(new)
