"""How many drafts of each verification are accepted: known ahead for every request, so that nothing depends on when it runs.

    stated   a list used again and again: verification j accepts min(list[j mod length], drafts)
    drawn    one uniform u for each verification; it accepts as many drafts as there are i with u < p_i (unconditional)
    even     the minimum-variance schedule: floor((j + 1) a) - floor(j a) at a mean of a accepted drafts

A request's uniforms are a stream of its own, a counter hashed with seed and request (SplitMix64, Steele 2014), whatever
else is drawn and wherever it is served; an attempt at the same request sees the same acceptance.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from hashlib import blake2b

from sim.spec.speculative import SpeculativeSpec, rates_of

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15


class AcceptancePath:
    """The verifications of one request; ``proposals``: drafts of each proposal, where they are fewer than asked for."""

    __slots__ = ("_even", "_key", "_rates", "_stated", "proposals")

    def __init__(
        self,
        stated: Sequence[int] = (),
        rates: Sequence[float] = (),
        even: bool = False,
        key: int = 0,
        proposals: Sequence[int] = (),
    ) -> None:
        self._stated = stated
        self._rates = rates
        self._even = even
        self._key = key
        self.proposals = proposals

    def accepted(self, verification: int, drafts: int) -> int:
        """Drafts that ``verification`` (from 0) accepts of ``drafts``."""
        if self._stated:
            return min(self._stated[verification % len(self._stated)], drafts)
        rates = self._rates
        if self._even:
            mean = 0.0
            for rate in rates[:drafts]:
                mean += rate
            return min(int((verification + 1) * mean + 1e-9) - int(verification * mean + 1e-9), drafts)
        uniform = _uniform(self._key, verification)
        count = 0
        while count < drafts and uniform < rates[count]:
            count += 1
        return count

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

    def of(self, request_id: Hashable, route: str) -> AcceptancePath:
        """The path of one request."""
        rates = self._by_route.get(route, self._rates)
        if self._even:
            return AcceptancePath(rates=rates, even=True)
        digest = blake2b(f"{self._seed}|acceptance|{request_id}".encode(), digest_size=8).digest()
        return AcceptancePath(rates=rates, key=int.from_bytes(digest, "little"))


def _uniform(key: int, counter: int) -> float:
    """Number ``counter`` of the stream ``key``, in [0, 1)."""
    mixed = (key + (counter + 1) * _GAMMA) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((mixed ^ (mixed >> 31)) >> 11) * 2.0**-53
