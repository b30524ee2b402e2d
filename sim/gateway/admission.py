"""Admission policies: who is let in. Each refuses with a reason and, where it knows one, a Retry-After.

    token bucket    level = min(burst, level + rate x time); a request is let in when the level covers it
    saturation      mean over replicas of max(waiting / queue_depth, KV used / kv_share) >= 1 sheds

Sources: gateway-api-inference-extension's saturation detector (queue depth 5, KV 0.8, metrics 200 ms old); LiteLLM's
budgets by tenant. The extension calls a pool without endpoints saturated, 1, and its flow control then holds requests. Here
the gateway's queue holds them whatever the admission, so an empty pool sheds nobody: what was shed would wake no autoscaler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from sim.gateway.request import RequestView
from sim.gateway.signals import ScrapedServer, Signals
from sim.plugins import ADMISSION, Plugins
from sim.spec.gateway.admission import Admission, PluginAdmission, RateLimit, SaturationShedding, TenantBudgets


class Refusal(NamedTuple):
    """Why a request is not let in."""

    reason: str
    retry_after_s: float | None = None


class AdmissionPolicy(Protocol):
    """An admission policy."""

    def refuse(self, request: RequestView, now_s: float) -> Refusal | None:
        """None lets ``request`` in."""
        ...

    def answered(self, request: RequestView, output_tokens: int, now_s: float) -> None:
        """A request that was let in has its whole answer."""
        ...


class TokenBucket:
    """``rate`` a second up to ``burst``."""

    __slots__ = ("_at_s", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at_s = 0.0

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until ``amount`` may be taken; what is larger than the burst needs a full bucket."""
        self._level = min(self._burst, self._level + self._rate * (now_s - self._at_s))
        self._at_s = now_s
        return max(0.0, (min(amount, self._burst) - self._level) / self._rate)

    def take(self, amount: float) -> None:
        """Take ``amount`` now (after ``wait_s`` was 0)."""
        self._level -= min(amount, self._burst)


class RateLimiter:
    """Buckets of requests and of tokens."""

    def __init__(self, spec: RateLimit) -> None:
        self._spec = spec
        self._buckets: dict[str, list[tuple[TokenBucket, bool]]] = {}

    def refuse(self, request: RequestView, now_s: float) -> Refusal | None:
        """See ``AdmissionPolicy``."""
        spec = self._spec
        name = "" if spec.per == "all" else request.tenant if spec.per == "tenant" else request.route
        buckets = self._buckets.get(name)
        if buckets is None:
            buckets = self._buckets[name] = []
            if spec.requests_per_s is not None:
                buckets.append((TokenBucket(spec.requests_per_s, spec.burst_requests), False))
            if spec.tokens_per_s is not None:
                buckets.append((TokenBucket(spec.tokens_per_s, spec.burst_tokens), True))
        tokens = request.input_tokens + spec.assumed_output_tokens
        wait_s = max(bucket.wait_s(tokens if of_tokens else 1, now_s) for bucket, of_tokens in buckets)
        if wait_s > 0:
            return Refusal("rate_limit", wait_s)
        for bucket, of_tokens in buckets:
            bucket.take(tokens if of_tokens else 1)
        return None

    def answered(self, request: RequestView, output_tokens: int, now_s: float) -> None:
        """See ``AdmissionPolicy``."""


class SaturationDetector:
    """Sheds while the replicas are full on average."""

    def __init__(self, spec: SaturationShedding, servers: Callable[[], Sequence[ScrapedServer]], signals: Signals) -> None:
        self._queue_depth = spec.queue_depth
        self._kv_share = spec.kv_share
        self._protected_priority = spec.protected_priority
        self._retry_after_s = spec.retry_after_s
        self._servers = servers
        self._signals = signals
        self._scrape = -1
        self._seen: Sequence[ScrapedServer] = ()
        self._saturation = 0.0

    def saturation(self) -> float:
        """1 and more is full; 0 without servers: nothing is full, and the gateway's queue holds what comes."""
        servers = self._servers()
        if not servers:
            return 0.0
        if self._signals.unchanged_since(self._scrape) and self._seen == servers:
            return self._saturation
        total = 0.0
        for server in servers:
            snapshot = self._signals.of(server)
            total += max(snapshot.waiting / self._queue_depth, snapshot.kv_used / self._kv_share)
        self._scrape, self._seen, self._saturation = self._signals.scrapes, list(servers), total / len(servers)
        return self._saturation

    def refuse(self, request: RequestView, now_s: float) -> Refusal | None:
        """See ``AdmissionPolicy``."""
        protected = self._protected_priority
        if protected is not None and request.priority <= protected:
            return None
        return Refusal("saturated", self._retry_after_s) if self.saturation() >= 1 else None

    def answered(self, request: RequestView, output_tokens: int, now_s: float) -> None:
        """See ``AdmissionPolicy``."""


class TenantBudgetCap:
    """A virtual bill by tenant and period."""

    def __init__(self, spec: TenantBudgets) -> None:
        self._spec = spec
        self._caps = bool(spec.usd) or spec.default_usd is not None
        self.spent_usd: dict[tuple[str, int], float] = {}

    def refuse(self, request: RequestView, now_s: float) -> Refusal | None:
        """See ``AdmissionPolicy``."""
        if not self._caps:
            return None
        spec = self._spec
        cap = spec.usd.get(request.tenant, spec.default_usd)
        period = int(now_s // spec.period_s)
        if cap is None or self.spent_usd.get((request.tenant, period), 0.0) < cap:
            return None
        return Refusal("tenant_budget", (period + 1) * spec.period_s - now_s)

    def answered(self, request: RequestView, output_tokens: int, now_s: float) -> None:
        """See ``AdmissionPolicy``."""
        if not self._caps:
            return
        spec = self._spec
        usd = (request.input_tokens * spec.input_usd_per_1m + output_tokens * spec.output_usd_per_1m) / 1e6
        key = (request.tenant, int(now_s // spec.period_s))
        self.spent_usd[key] = self.spent_usd.get(key, 0.0) + usd


def make_admission(
    spec: Admission,
    servers: Callable[[], Sequence[ScrapedServer]],
    signals: Callable[[float], Signals],
    plugins: Plugins,
) -> AdmissionPolicy:
    """The policy that ``spec`` names."""
    match spec:
        case RateLimit():
            return RateLimiter(spec)
        case SaturationShedding():
            return SaturationDetector(spec, servers, signals(spec.staleness_s))
        case TenantBudgets():
            return TenantBudgetCap(spec)
        case PluginAdmission():
            plugin: AdmissionPolicy = plugins.make(ADMISSION, spec.name, spec.options)
            return plugin
