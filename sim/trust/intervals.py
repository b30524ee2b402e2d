"""How well a multiplier is known: held further and further from the fit, the others fitted again, until that is ruled out.

    bound = the furthest value at which some setting of the other multipliers still stands (``Misfit.stands``)

This is the profile of the misfit along one multiplier, so what another can stand in for is in the interval; it is widened
by the model's own misfit, since ``stands`` is. Every explanation tried on the way that stands counts, wherever it was found.
With bounds (``sim.trust.known_servers``) nothing beyond them is looked at or counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.trust.bench import Bench, Tried
from sim.trust.descent import descend
from sim.trust.known_servers import ANY, Bounds, bounds_of, within
from sim.trust.misfit import Misfit

_FIRST = 0.04
"""Of a logarithm: the first distance looked at, and the least half-width; each next one doubles."""
_FURTHEST = 4.0
"""Where a multiplier e^4 = 55 times as large or small still stands, the data do not know it."""
_RADIUS = 0.1
_WIDE = 0.2
"""Half of an interval's width, of the value in it."""


@dataclass(frozen=True)
class Interval:
    """The values of one multiplier that stand."""

    low: float
    """0 where no end was found below."""
    high: float
    """inf where no end was found above."""
    standing: list[Tried]
    """The explanations at its ends."""

    def determines(self, value: float) -> bool:
        """Whether the data say what the multiplier is: they rule 1 out, or leave little beside ``value``."""
        return not self.low <= 1.0 <= self.high or (self.high - self.low) / 2 <= _WIDE * value


def interval_of(
    name: str, found: Tried, best: Tried, bench: Bench, misfit: Misfit, bounds: Bounds = ANY
) -> Interval:  # fmt: skip
    """The interval of the free multiplier ``name`` around ``found``; what stands is asked against ``best``."""
    profile = _Profile(name, best, bench, misfit, bounds)
    low, least = profile.walk(-1.0, found)
    high, most = profile.walk(1.0, found)
    standing = [least, most]
    for tried in bench.tried:
        value = tried.multipliers[name]
        if not low <= value <= high and within(tried.multipliers, bounds) and misfit.stands(tried, best):
            low, high = min(low, value), max(high, value)
            standing.append(tried)
    return Interval(low, high, standing)


class _Profile:
    """One multiplier held, the others fitted again."""

    def __init__(self, name: str, best: Tried, bench: Bench, misfit: Misfit, bounds: Bounds) -> None:
        self.name, self.best, self.bench, self.misfit, self.bounds = name, best, bench, misfit, bounds
        self.others = [other for other in bench.free if other != name]

    def walk(self, sign: float, found: Tried) -> tuple[float, Tried]:
        """The furthest value that stands in one direction (0 or inf where no end was found) and its explanation."""
        (low,), (high,) = bounds_of([self.name], self.bounds)
        last, distance = found, _FIRST
        middle = float(np.log(found.multipliers[self.name]))
        while distance <= _FURTHEST:
            log = min(max(middle + sign * distance, low), high)
            tried = self.held(float(np.exp(log)), last)
            if not self.misfit.stands(tried, self.best):
                return self._end(tried, last, found)
            last = tried
            if log in (low, high) and self.name in self.bounds:
                return float(np.exp(log)), tried
            distance *= 2
        return (0.0 if sign < 0 else float("inf")), last

    def _end(self, beyond: Tried, last: Tried, found: Tried) -> tuple[float, Tried]:
        """Where it ends between ``last``, which stands, and ``beyond``, which does not; at least the first distance away."""
        value, near = beyond.multipliers[self.name], last.multipliers[self.name]
        if last is found:
            return value, found
        between = float(np.sqrt(value * near))
        closer = self.held(between, last)
        return (between, closer) if self.misfit.stands(closer, self.best) else (near, last)

    def held(self, value: float, near: Tried) -> Tried:
        """The best explanation near ``near`` with the multiplier held at ``value``."""
        first = len(self.bench.tried)

        def look(logs: np.ndarray) -> np.ndarray:
            settings = dict(zip(self.others, np.exp(logs).tolist(), strict=True))
            return self.misfit.residuals(self.bench.test({**near.multipliers, **settings, self.name: value}))

        if self.others:
            start = np.log([near.multipliers[other] for other in self.others])
            descend(look, start, (_RADIUS,), *bounds_of(self.others, self.bounds), 1)
        else:
            self.bench.test({**near.multipliers, self.name: value})
        return min(self.bench.tried[first:], key=self.misfit.of)
