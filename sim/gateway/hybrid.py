"""``HybridRule``: which requests leave the local pool, and why. Plain code without a clock.

    p(uncertain) = min(1, (base + per 1k tokens x prompt / 1000) x (1 - monthly improvement)^month x timeline's factor)

One uniform a request decides, fixed by the seed, so that a larger p only adds requests to those that leave. Whether a
small model's answer is good is not modelled: the probability is an assumption to be measured with an evaluation set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sim.gateway.request import RequestView
from sim.spec.gateway.answers import Hybrid


class HybridRule:
    """Decides by request; ``uniforms`` holds one number in [0, 1) for each row."""

    def __init__(self, spec: Hybrid, uniforms: Sequence[float]) -> None:
        self.spec = spec
        self._uniforms = uniforms
        self._learned: float = (1 - spec.monthly_improvement) ** spec.month

    def pinned(self, request: RequestView) -> bool:
        """Whether it may never leave (data residency)."""
        return request.route in self.spec.pinned_routes or request.tenant in self.spec.pinned_tenants

    def uncertain(self, request: RequestView) -> bool:
        """Whether the local model is not trusted with it."""
        spec = self.spec
        p = spec.uncertain_fraction + spec.uncertain_per_1k_tokens * request.input_tokens / 1000
        return self._uniforms[request.row] < min(1.0, p * self._learned * self._changed(request.arrival_s))

    def _changed(self, at_s: float) -> float:
        """Product of the changes that hold at ``at_s``, a request's arrival."""
        changes = self.spec.escalation_changes
        return math.prod(c.factor for c in changes if c.at_s <= at_s and (c.until_s is None or at_s < c.until_s))

    def leaves_before(self, request: RequestView, least_waiting: int) -> bool:
        """Whether it leaves without a local attempt; ``least_waiting`` requests wait in the emptiest local replica."""
        spec = self.spec
        if spec.api_first:
            return True
        if spec.local_max_input_tokens is not None and request.input_tokens > spec.local_max_input_tokens:
            return True
        if spec.overload_waiting is not None and least_waiting >= spec.overload_waiting:
            return True
        return spec.judged == "before" and self.uncertain(request)

    def leaves_after(self, request: RequestView) -> bool:
        """Whether the local answer is thrown away."""
        return self.spec.judged == "after" and self.uncertain(request)
