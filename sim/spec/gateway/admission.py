"""Who is let in: rate limits, shedding, budgets, and the queue in front of the replicas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.gateway.scraping import ScrapePeriod
from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RateLimit:
    """Token buckets of requests and of tokens, one for all or one for each tenant or route; a refusal is a 429 with the
    time until the bucket suffices as Retry-After. Tokens are the prompt's and ``assumed_output_tokens``."""

    kind: Literal["rate_limit"] = "rate_limit"
    per: Literal["all", "tenant", "route"] = "all"
    """Whose bucket it is."""
    requests_per_s: float | None = Field(default=None, gt=0)
    """Requests a second in the long run; null = not limited."""
    burst_requests: float = Field(default=1.0, ge=1)
    """Requests at once after a pause; an assumption."""
    tokens_per_s: float | None = Field(default=None, gt=0)
    """Tokens a second in the long run; null = not limited."""
    burst_tokens: float = Field(default=100_000.0, ge=1)
    """Tokens at once after a pause; a longer prompt needs a full bucket. An assumption."""
    assumed_output_tokens: int = Field(default=0, ge=0)
    """What is charged for an answer beside its prompt, tokens: nobody knows its length before."""

    @model_validator(mode="after")
    def _check(self) -> RateLimit:
        if self.requests_per_s is None and self.tokens_per_s is None:
            raise ValueError("a rate limit needs requests_per_s or tokens_per_s")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SaturationShedding:
    """The gateway API inference extension's saturation detector: shed while the mean over replicas of
    max(waiting / ``queue_depth``, KV in use / ``kv_share``) is 1 or more, on signals ``staleness_s`` old. Requests whose
    priority is at most ``protected_priority`` pass (lower is sooner)."""

    kind: Literal["saturation"] = "saturation"
    queue_depth: float = Field(default=5.0, gt=0)
    """Requests waiting in an engine that count as full (``QueueDepthThreshold``)."""
    kv_share: float = Field(default=0.8, gt=0, le=1)
    """Share of KV blocks in use that counts as full (``KVCacheUtilThreshold``)."""
    staleness_s: ScrapePeriod = 0.2
    """Period of scraping, seconds (``MetricsStalenessThreshold`` of 200 ms)."""
    protected_priority: int | None = None
    """Requests of this priority and below are never shed; null = all may be. llm-d's preset: 0."""
    retry_after_s: float | None = Field(default=None, ge=0)
    """Retry-After of a refusal, seconds; null = none, as the extension."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TenantBudgets:
    """Dollars a tenant may spend in each ``period_s``, at list prices per million tokens (a virtual bill, as gateways
    keep it); answers are booked when they are complete, so a tenant overshoots by what is in flight."""

    kind: Literal["tenant_budget"] = "tenant_budget"
    usd: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Tenant -> dollars a period."""
    default_usd: float | None = Field(default=None, ge=0)
    """Of tenants that ``usd`` does not name; None = unlimited."""
    period_s: float = Field(default=86_400.0, ge=1)
    """Length of a period, seconds, from the run's start; a day."""
    input_usd_per_1m: float = Field(default=0.1, ge=0)
    """List price of prompt tokens, dollars per million; an assumption."""
    output_usd_per_1m: float = Field(default=0.4, ge=0)
    """List price of answer tokens, dollars per million; an assumption."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PluginAdmission:
    """An admission policy from an installed distribution: entry point ``name`` of the group ``servecap.admission``."""

    kind: Literal["plugin"] = "plugin"
    name: str
    """Entry point of the policy, as its distribution declares it."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What it is made with."""


Admission = Annotated[RateLimit | SaturationShedding | TenantBudgets | PluginAdmission, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class QueueSpec:
    """The gateway's own queue: requests wait here while no replica is ready, or while each has ``max_in_flight`` of them.

    Lower ``priority`` first; within one, tenants share by weight (start-time fair queueing by prompt tokens), each in
    order of arrival. What may go to one pool only (a route's, a hybrid rule's larger one, a pass's) waits in a line of that
    pool while it has no ready replica; each line has the same bounds, and ``max_in_flight`` concerns ordinary requests.
    """

    max_in_flight: int | None = Field(default=None, ge=1)
    """Requests of this gateway that one replica may hold at once; None = send at once."""
    max_requests: int | None = Field(default=None, ge=0)
    """Shed beyond so many waiting; None = unbounded."""
    ttl_s: float | None = Field(default=None, gt=0)
    """Shed after waiting so long."""
    fair: bool = True
    """Tenants share by weight; false: first come, first served within a priority."""
    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Tenant -> weight; 1 for those it does not name."""
