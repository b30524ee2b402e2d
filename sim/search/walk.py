"""Which batch caps of one pool to try next, given what the last ones showed: an order that stops early.

TTFT falls with the cap and TPOT rises, so from a middle cap two one-sided walks suffice. Upwards it ends where TPOT is
missed (every larger cap misses it too) or where the cap no longer binds (a larger one gives the same run). Downwards it
ends where waiting is missed or the fleet is overloaded (every smaller cap waits longer). Each trial is asked at no more
dollars an hour than the best so far, so what cannot win costs one run that is given up early.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from sim.search.point import Point

CapWalk = Generator[int, "Trial", None]


@dataclass(frozen=True)
class Trial:
    """What one cap showed."""

    holds: bool
    misses_rising: bool = False
    """A TPOT or ITL target was missed: larger caps miss it too."""
    misses_falling: bool = False
    """TTFT or queueing was missed, or the fleet was overloaded: smaller caps miss it too."""
    fingerprint: tuple[float, ...] = ()
    """Attained percentiles and replicas; equal where a larger cap did not bind."""


def trial_of(point: Point) -> Trial:
    """A trial from the point that a cap's search ended on."""
    kinds = {name.rsplit(".", 1)[-1].split("_", 1)[0] for name in point.missed}
    waits = point.verdict == "overloaded" or bool(kinds & {"ttft", "queue"})
    fingerprint = (float(point.replicas), *point.attained.values()) if point.stopped_early is None else ()
    return Trial(point.holds, bool(kinds & {"tpot", "itl"}), waits, fingerprint)


def cap_walk(caps: Sequence[int], start: int | None = None) -> CapWalk:
    """Yields the next cap to try and is sent its ``Trial``; ends when no other cap can be better.

    ``start`` (default: the middle) is the cap to begin at, e.g. the best of a pool walked before.
    """
    ordered = sorted(set(caps))
    place = ordered.index(start) if start in ordered else len(ordered) // 2
    first = yield ordered[place]
    before = first
    for cap in ordered[place + 1 :]:
        if before.misses_rising:
            break
        trial = yield cap
        if trial.fingerprint and trial.fingerprint == before.fingerprint:
            break
        before = trial
    before = first
    for cap in reversed(ordered[:place]):
        if before.misses_falling and not before.misses_rising:
            break
        before = yield cap
