"""One number a request, fixed by the seed: what a gateway's chances depend on, whatever else happens."""

from __future__ import annotations

from collections.abc import Sequence

from sim.rng import stream


def uniforms(seed: int, name: str, requests: int) -> Sequence[float]:
    """``requests`` numbers in [0, 1) of the gateway's stream ``name``, by row."""
    numbers: list[float] = stream(seed, "gateway", name).random(requests).tolist()
    return numbers
