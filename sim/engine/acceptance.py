"""How many drafts of each verification are accepted: known ahead for every request, so that nothing depends on when it runs.

    stated   a list used again and again: verification j accepts min(list[j mod length], drafts)
    drawn    one uniform u for each verification; it accepts as many drafts as there are i with u < p_i (unconditional)
    even     the minimum-variance schedule: floor((j + 1) a) - floor(j a) at a mean of a accepted drafts

A request's uniforms are a stream of its own, a counter hashed with seed and request (SplitMix64, Steele 2014), whatever
else is drawn and wherever it is served; an attempt at the same request sees the same acceptance. They are drawn many at
once: the first ``_AHEAD`` verifications of requests whose numbers follow each other, as those of a trace do.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Any, Final

import numpy as np

from sim.spec.speculative import SpeculativeSpec, rates_of

_MASK: Final = (1 << 64) - 1
_GAMMA: Final = 0x9E3779B97F4A7C15
_AHEAD: Final = 128
"""Verifications of a request that are drawn at once."""
_TOGETHER: Final = 32
"""Requests that are drawn at once."""
_MOST_KEPT: Final = 64
"""Draws of so many requests that are kept for those of them who have not come yet."""
_STEPS: Final = np.array([(number + 1) * _GAMMA & _MASK for number in range(_AHEAD)], dtype=np.uint64)
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS: Final = (np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11))


class AcceptancePath:
    """The verifications of one request.

    Args:
        stated: how many each accepts, again and again; none = they are drawn.
        rates: that a position is accepted together with those before it.
        even: by the minimum-variance schedule instead.
        key: of the request's stream.
        proposals: drafts of each proposal, where they are fewer than asked for.
        drawn: what the first verifications accept of all positions, drawn already.
    """

    __slots__ = ("_drawn", "_even", "_key", "_rates", "_stated", "proposals")

    def __init__(
        self,
        stated: Sequence[int] = (),
        rates: Sequence[float] = (),
        even: bool = False,
        key: int = 0,
        proposals: Sequence[int] = (),
        drawn: list[int] | None = None,
    ) -> None:
        self._stated = stated
        self._rates = rates
        self._even = even
        self._key = key
        self._drawn: list[int] = [] if drawn is None else drawn
        self.proposals = proposals

    def accepted(self, verification: int, drafts: int) -> int:
        """Drafts that ``verification`` (from 0) accepts of ``drafts``."""
        drawn = self._drawn
        if verification >= len(drawn):
            if self._stated:
                return min(self._stated[verification % len(self._stated)], drafts)
            if self._even:
                mean = 0.0
                for rate in self._rates[:drafts]:
                    mean += rate
                return min(int((verification + 1) * mean + 1e-9) - int(verification * mean + 1e-9), drafts)
            while verification >= len(drawn):
                key = (self._key + len(drawn) * _GAMMA) & _MASK
                drawn.extend(_draws(np.array([key], dtype=np.uint64), _limits(self._rates))[0].tolist())
        count = drawn[verification]
        return count if count < drafts else drafts

    def proposed(self, proposal: int, drafts: int) -> int:
        """Drafts of ``proposal`` (from 0) where ``drafts`` were asked for."""
        if not self.proposals:
            return drafts
        return min(self.proposals[proposal % len(self.proposals)], drafts)


class AcceptancePaths:
    """The paths of all requests of an engine that speculates as ``spec`` says; ``seed``: the run's."""

    def __init__(self, spec: SpeculativeSpec, seed: int) -> None:
        assert spec.method is not None
        self._seed = seed
        self._even = spec.acceptance.schedule == "even"
        self._rates = rates_of(spec.acceptance, spec.method, spec.drafts)
        self._by_route = {
            route: rates_of(own if own.stated else spec.acceptance, spec.method, spec.drafts)
            for route, own in spec.acceptance.routes.items()
        }
        self._kept: dict[tuple[int, tuple[float, ...]], Any] = {}
        """Draws of requests whose numbers follow each other, by the first over their count and the rates."""

    def of(self, request_id: Hashable, route: str) -> AcceptancePath:
        """The path of one request."""
        rates = self._by_route.get(route, self._rates)
        if self._even:
            return AcceptancePath(rates=rates, even=True)
        if not isinstance(request_id, int):
            return AcceptancePath(rates=rates, key=self._key(request_id))
        place = request_id // _TOGETHER, rates
        draws = self._kept.get(place)
        if draws is None:
            first = place[0] * _TOGETHER
            keys = np.array([self._key(number) for number in range(first, first + _TOGETHER)], dtype=np.uint64)
            if len(self._kept) >= _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            draws = self._kept[place] = keys, _draws(keys, _limits(rates))
        keys, accepted = draws
        own = request_id % _TOGETHER
        return AcceptancePath(rates=rates, key=int(keys[own]), drawn=accepted[own].tolist())

    def _key(self, request_id: Hashable) -> int:
        """Of the stream of one request."""
        digest = blake2b(f"{self._seed}|acceptance|{request_id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little")


def _limits(rates: Sequence[float]) -> np.ndarray:
    """Ascending, the 53-bit numbers below which a position is accepted together with those before it."""
    together = list(accumulate(rates, min))
    return np.ceil(np.array(together[::-1]) * 2.0**53).astype(np.uint64)


def _draws(keys: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Drafts accepted by the first ``_AHEAD`` verifications of the streams ``keys``: a row each."""
    mixed = keys[:, None] + _STEPS[None, :]
    mixed = (mixed ^ (mixed >> _SHIFTS[0])) * _MIX[0]
    mixed = (mixed ^ (mixed >> _SHIFTS[1])) * _MIX[1]
    mixed = (mixed ^ (mixed >> _SHIFTS[2])) >> _SHIFTS[3]
    accepted = np.zeros(mixed.shape, dtype=np.int8)
    for limit in limits:
        accepted += mixed < limit
    return accepted
