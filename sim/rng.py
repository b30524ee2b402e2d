"""Named random streams: adding a source of randomness changes no other source's draws.

A stream is found by its path of names, e.g. ``stream(seed, "workload", "arrivals")``. The names are hashed (not with
Python's salted ``hash``) into the spawn key of a ``numpy.random.SeedSequence``, so the same seed gives the same bytes on
every machine, whatever the number of workers.
"""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The generator named by ``names`` under ``seed``; two different paths are statistically independent."""
    key = tuple(name if isinstance(name, int) else zlib.crc32(name.encode()) for name in names)
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=key))
