"""``StepNoise``: how far single steps stray from the step-time model, off by default.

    time of a step = model's time x lognormal(mean 1, CV ``step_noise_cv``) x (``straggler_factor`` with ``straggler_rate``)

Noise alone leaves the mean step where it is; stragglers (a garbage collection, a slow rank that all others wait for)
lengthen it by 1 + rate (factor - 1). Every engine step of a replica draws its own factor from the replica's own stream, so
noise changes nothing else that is random. A run of decode steps has no closed form then: the engine steps one by one, and
the page says so.

Left out: slow machines that stay slow, noise that is correlated from step to step. The defaults are assumptions to be
replaced by one's own step logs: Sarathi-Serve and vLLM publish no figure for either.
"""

from __future__ import annotations

import math

from sim.rng import stream
from sim.spec import EngineSpec

_CHUNK_STEPS = 1024


class StepNoise:
    """The factors of one replica's steps, in order."""

    def __init__(self, engine: EngineSpec, seed: int, name: str) -> None:
        self._rng = stream(seed, "engine", "step_noise", name)
        variance = math.log1p(engine.step_noise_cv**2)
        self._mu, self._sigma = -variance / 2, math.sqrt(variance)
        self._rate, self._factor = engine.straggler_rate, engine.straggler_factor
        self._drawn: list[float] = []

    def factor(self) -> float:
        """The next step's factor."""
        if not self._drawn:
            factors = self._rng.lognormal(self._mu, self._sigma, _CHUNK_STEPS)
            late = self._rng.random(_CHUNK_STEPS) < self._rate
            factors[late] *= self._factor
            self._drawn = factors.tolist()
        return self._drawn.pop()
