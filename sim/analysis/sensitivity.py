"""Which input deserves a measurement first: a one-at-a-time tornado, and Morris's screening for interactions.

    tornado   the answer at each input's low and high end, the others at their middle
    Morris    mu* = mean |elementary effect| over random trajectories; sigma = its spread (interaction or curvature)

Both are functions of any ``answer(inputs) -> number``: a closed formula costs nothing, a simulation a run a point
(2 k + 1 runs for a tornado of k inputs, (k + 1) x trajectories for Morris). Source: Morris (1991), Campolongo, Cariboni
and Saltelli (2007) for mu*. Effects are scaled to each input's own range, so that they compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sim.rng import stream

Answer = Callable[[Mapping[str, float]], float]


@dataclass(frozen=True)
class Uncertain:
    """An input with its stated range."""

    name: str
    low: float
    middle: float
    high: float
    source: str = ""

    def __post_init__(self) -> None:
        if not self.low <= self.middle <= self.high:
            raise ValueError(f"{self.name}: low <= middle <= high must hold, but got {self.low}, {self.middle}, {self.high}")


@dataclass(frozen=True)
class Swing:
    """The answer at both ends of one input."""

    name: str
    at_low: float
    at_high: float
    base: float

    @property
    def width(self) -> float:
        """Distance between the two ends."""
        return abs(self.at_high - self.at_low)


def tornado(inputs: Sequence[Uncertain], answer: Answer) -> list[Swing]:
    """One swing an input, widest first."""
    middle = {one.name: one.middle for one in inputs}
    base = answer(middle)
    swings = [
        Swing(one.name, answer({**middle, one.name: one.low}), answer({**middle, one.name: one.high}), base)
        for one in inputs
    ]
    return sorted(swings, key=lambda swing: -swing.width)


@dataclass(frozen=True)
class Screening:
    """Morris's measures of one input."""

    name: str
    mu_star: float
    sigma: float


def morris(
    inputs: Sequence[Uncertain], answer: Answer, *, trajectories: int = 20, levels: int = 4, seed: int = 0
) -> list[Screening]:
    """Mean absolute elementary effect and its spread for each input, most influential first."""
    if levels < 2 or levels % 2:
        raise ValueError(f"`levels` must be even and at least 2, but got {levels}")
    random = stream(seed, "analysis", "morris")
    k = len(inputs)
    delta = levels / (2 * (levels - 1))
    effects = np.zeros((trajectories, k))

    def at(point: np.ndarray) -> float:
        return answer({one.name: one.low + share * (one.high - one.low) for one, share in zip(inputs, point, strict=True)})

    for trajectory in range(trajectories):
        point = random.integers(0, levels // 2, size=k) / (levels - 1)
        before = at(point)
        for index in random.permutation(k):
            point = point.copy()
            point[index] += delta
            after = at(point)
            effects[trajectory, index] = (after - before) / delta
            before = after
    found = [
        Screening(one.name, float(np.abs(effects[:, i]).mean()), float(effects[:, i].std(ddof=1) if trajectories > 1 else 0))
        for i, one in enumerate(inputs)
    ]
    return sorted(found, key=lambda screening: -screening.mu_star)
