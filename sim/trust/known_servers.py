"""What multipliers may be on a server of the kind that its preset describes: the spread over servers that were measured.

    a multiplier's 95 % range = e^(-1.96 spread) to e^(1.96 spread) around 1

This is a stated input, not a finding of the data at hand. Where some explanation within these ranges is no worse than the
best (``sim.trust.misfit``), the server is taken to be of that kind, and fit and intervals stay within them: one level of
load hardly tells a slow CPU from a slow memory, but nobody has seen an H100 with half its bandwidth. Where none is, or the
one that is lies at an end of a range, nothing is known beforehand and the data speak alone; ``calibrate --any-server`` lets
them in any case.

The spreads are the upper ends, rounded up, of what ``experiments/validation/multiplier_spread.py`` finds on the servers of
the validation. Of ``front_end`` and ``link`` too little is known: servers with and without HTTP differ threefold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sim.trust.bench import HIGHEST, LOWEST, NEVER_FREE

SPREAD = {"compute": 0.12, "memory": 0.04, "host": 0.25}
"""Standard deviations of logarithms. Likeliest are 8, 2.4 and 0 %; few kinds of CPU were among the servers, so ``host`` has
what those below the knee allow at most, 26 %."""
_Z = 1.96
_AT_AN_END = 1e-3

Bounds = Mapping[str, tuple[float, float]]
ANY: Bounds = {}
"""Nothing is known beforehand."""
KNOWN: Bounds = {
    **{name: (float(np.exp(-_Z * spread)), float(np.exp(_Z * spread))) for name, spread in SPREAD.items()},
    NEVER_FREE: (1.0, 1.0),
}


def bounds_of(names: Sequence[str], bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest logarithms of the multipliers ``names``."""
    ends = [bounds.get(name, (LOWEST, HIGHEST)) for name in names]
    return np.log([low for low, _ in ends]), np.log([high for _, high in ends])


def clipped(multipliers: Mapping[str, float], bounds: Bounds) -> dict[str, float]:
    """``multipliers`` moved to the nearest within ``bounds``."""
    return {
        name: min(max(value, bounds[name][0]), bounds[name][1]) if name in bounds else value
        for name, value in multipliers.items()
    }


def within(multipliers: Mapping[str, float], bounds: Bounds) -> bool:
    """Whether all ``multipliers`` are within ``bounds``."""
    return all(low <= multipliers.get(name, 1.0) <= high for name, (low, high) in bounds.items())


def at_an_end(multipliers: Mapping[str, float], bounds: Bounds) -> bool:
    """Whether one of ``multipliers`` lies at an end of its range: the data pull it out of there."""
    ends = ((multipliers.get(name, 1.0), ends) for name, ends in bounds.items() if ends[0] < ends[1])
    return any(min(abs(value / low - 1.0), abs(value / high - 1.0)) < _AT_AN_END for value, (low, high) in ends)
