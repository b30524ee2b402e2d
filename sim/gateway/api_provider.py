"""``ApiProvider``: a pool that is not ours. It answers by distributions and sends a bill. Plain code without a clock.

    bill = ``sim.cost.api_terms.call_usd`` of each call
    TTFT ~ lognormal(median, p95); duration = TTFT + (output - 1) / rate, rate ~ lognormal(median, 5th percentile)

Rate limits are token buckets of one minute's allowance; a refusal is a 429 with Retry-After. Limits count the prompt; what
a provider's limiter assumes of the answer is left out. A call that the client abandons is billed in full: providers go on
or not, and none says so.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sim.cost.api_terms import call_usd
from sim.gateway.admission import TokenBucket
from sim.gateway.request import Failure, RequestView
from sim.spec.gateway.answers import ApiSpec

_Z95 = 1.6448536269514722
_ERROR_S = 0.1
"""A 5xx or 429 takes about so long to come back, s."""

BILL_PARTS = ("prompt tokens", "output tokens", "abandoned calls", "guardrails", "logging")


class Reply(NamedTuple):
    """An answer that is on its way: seconds from the call, tokens, and what it will cost by part."""

    ttft_s: float
    duration_s: float
    output_tokens: int
    usd: dict[str, float]


class ApiProvider:
    """One provider and its bill."""

    def __init__(self, index: int, name: str, spec: ApiSpec, rng: np.random.Generator) -> None:
        self.index = index
        """Its number; negative, since servers have the others."""
        self.name = name
        self.spec = spec
        self._rng = rng
        self.bill_usd = dict.fromkeys(BILL_PARTS, 0.0)
        self.calls = 0
        self._requests = TokenBucket(spec.requests_per_min / 60, spec.requests_per_min) if spec.requests_per_min else None
        self._tokens = TokenBucket(spec.tokens_per_min / 60, spec.tokens_per_min) if spec.tokens_per_min else None

    def takes(self, request: RequestView) -> bool:
        """Whether it answers such a route, and the prompt fits."""
        if self.spec.routes and request.route not in self.spec.routes:
            return False
        return self.spec.context_window is None or request.input_tokens < self.spec.context_window

    def call(self, request: RequestView, answer_tokens: int, now_s: float) -> Reply | Failure:
        """Send ``request``; ``answer_tokens`` is how long the trace's answer is, which only the provider finds out."""
        spec = self.spec
        self.calls += 1
        if any(outage.start_s <= now_s < outage.start_s + outage.duration_s for outage in spec.outages):
            return Failure("unavailable", f"{self.name}_outage")
        waits = [0.0]
        if self._requests is not None:
            waits.append(self._requests.wait_s(1, now_s))
        if self._tokens is not None:
            waits.append(self._tokens.wait_s(request.input_tokens, now_s))
        if max(waits) > 0:
            return Failure("shed", f"{self.name}_rate_limit", max(waits))
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(request.input_tokens)
        if spec.error_fraction and self._rng.random() < spec.error_fraction:
            return Failure("unavailable", f"{self.name}_error")
        output_tokens = max(1, round(answer_tokens * spec.output_tokens_factor))
        if spec.context_window is not None:
            output_tokens = min(output_tokens, spec.context_window - request.input_tokens)
        z_ttft, z_rate = self._rng.standard_normal(2).tolist()
        served_s = spec.ttft_p50_s * math.exp(z_ttft * math.log(spec.ttft_p95_s / spec.ttft_p50_s) / _Z95)
        ttft_s = spec.region_latency_s + served_s
        rate = spec.tokens_per_s_p50 * math.exp(z_rate * math.log(spec.tokens_per_s_p50 / spec.tokens_per_s_p05) / _Z95)
        usd = call_usd(spec, request.input_tokens, output_tokens, now_s)
        return Reply(ttft_s, ttft_s + (output_tokens - 1) / rate, output_tokens, usd)

    @property
    def error_s(self) -> float:
        """Seconds until a refusal is back."""
        return _ERROR_S

    def book(self, usd: dict[str, float], *, abandoned: bool = False) -> float:
        """Put a call on the bill; returns its dollars."""
        total = math.fsum(usd.values())
        if abandoned:
            self.bill_usd["abandoned calls"] += total
        else:
            for part, dollars in usd.items():
                self.bill_usd[part] += dollars
        return total
