"""Named random streams: adding a source of randomness changes no other source's draws.

A stream is found by its path of names, e.g. ``stream(seed, "workload", "arrivals")``. The names are hashed (not with
Python's salted ``hash``) into the spawn key of a ``numpy.random.SeedSequence``, so the same seed gives the same bytes on
every machine, whatever the number of workers.
"""

from __future__ import annotations

import zlib

import numpy as np

_DRAWN_AT_A_TIME = 512


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The generator named by ``names`` under ``seed``; two different paths are statistically independent."""
    key = tuple(name if isinstance(name, int) else zlib.crc32(name.encode()) for name in names)
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=key))


class Uniforms:
    """The numbers in [0, 1) that ``rng.random()`` would give, one by one; drawn many at a time, which costs a tenth."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._drawn: list[float] = []

    def next(self) -> float:
        """The next number."""
        if not self._drawn:
            self._drawn = self._rng.random(_DRAWN_AT_A_TIME)[::-1].tolist()
        return self._drawn.pop()
