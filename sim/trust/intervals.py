"""How well a multiplier is known: held further and further from the fit, the others fitted again, until that is ruled out.

    bound = the furthest value at which some setting of the other multipliers still stands (``Misfit.stands``)

This is the profile of the misfit along one multiplier, so what another can stand in for is in the interval; it is widened
by the model's own misfit, since ``stands`` is. Every explanation tried on the way that stands counts, wherever it was found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.trust.bench import HIGHEST, LOWEST, Bench, Tried
from sim.trust.descent import descend
from sim.trust.misfit import Misfit

_FIRST = 0.04
"""Of a logarithm: the first distance looked at, and the least half-width; each next one doubles."""
_FURTHEST = 4.0
"""Where a multiplier e^4 = 55 times as large or small still stands, the data do not know it."""
_RADIUS = 0.1


@dataclass(frozen=True)
class Interval:
    """The values of one multiplier that stand."""

    low: float
    """0 where no end was found below."""
    high: float
    """inf where no end was found above."""
    standing: list[Tried]
    """The explanations at its ends."""


def interval_of(name: str, found: Tried, best: Tried, bench: Bench, misfit: Misfit) -> Interval:
    """The interval of the free multiplier ``name`` around ``found``; what stands is asked against ``best``."""
    low, least = _walk(name, -1.0, found, best, bench, misfit)
    high, most = _walk(name, 1.0, found, best, bench, misfit)
    standing = [least, most]
    for tried in bench.tried:
        value = tried.multipliers[name]
        if not low <= value <= high and misfit.stands(tried, best):
            low, high = min(low, value), max(high, value)
            standing.append(tried)
    return Interval(low, high, standing)


def _walk(
    name: str, sign: float, found: Tried, best: Tried, bench: Bench, misfit: Misfit
) -> tuple[float, Tried]:
    """The furthest value that stands in one direction (0 or inf where no end was found) and its explanation."""
    others = [other for other in bench.free if other != name]
    last, distance = found, _FIRST
    middle = float(np.log(found.multipliers[name]))
    while distance <= _FURTHEST:
        value = float(np.clip(np.exp(middle + sign * distance), LOWEST, HIGHEST))
        tried = _held(name, value, last, others, bench, misfit)
        if not misfit.stands(tried, best):
            if last is found:
                return value, found
            between = float(np.sqrt(value * last.multipliers[name]))
            closer = _held(name, between, last, others, bench, misfit)
            return (between, closer) if misfit.stands(closer, best) else (last.multipliers[name], last)
        last = tried
        distance *= 2
    return (0.0 if sign < 0 else float("inf")), last


def _held(name: str, value: float, near: Tried, others: list[str], bench: Bench, misfit: Misfit) -> Tried:
    """The best explanation near ``near`` with ``name`` held at ``value``."""
    first = len(bench.tried)

    def look(logs: np.ndarray) -> np.ndarray:
        settings = dict(zip(others, np.exp(logs).tolist(), strict=True))
        return misfit.residuals(bench.test({**near.multipliers, **settings, name: value}))

    if others:
        descend(look, np.log([near.multipliers[other] for other in others]), (_RADIUS,), np.log(LOWEST), np.log(HIGHEST), 1)
    else:
        bench.test({**near.multipliers, name: value})
    return min(bench.tried[first:], key=misfit.of)
