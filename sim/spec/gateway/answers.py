"""What else answers or touches a request: caches, safety and rewriting passes, API providers, the hybrid rule."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT
from sim.spec.timeline import EscalationChange


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ResponseCache:
    """Exact answers by ``prompt_id``, least recently used out first. Hits are billed to no tenant's budget (LiteLLM books
    a cache hit at a cost of 0)."""

    max_entries: int = Field(default=100_000, ge=1)
    """Answers kept at once; an assumption."""
    ttl_s: float = Field(default=3600.0, gt=0)
    """Life of an answer from when it was generated, seconds; a hit does not renew it. An assumption."""
    latency_s: float = Field(default=0.005, ge=0)
    """Time a hit takes, seconds; an assumption (a look-up in Redis and the way there)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PassSpec:
    """A classifier or rewriter before the prompt is served, or after the answer and before the client sees any of it.

    As real work: a request to ``pool`` that reads ``read_fraction`` of the text (prompt; after: prompt and answer) and
    ``template_tokens`` of instructions, and writes ``output_tokens``. As overhead: ``latency_s``, and
    ``added_prompt_fraction`` more prompt tokens for the main request (a rewritten, longer prompt).
    """

    stage: Literal["before", "after"] = "before"
    """On the prompt, before it is served, or on prompt and answer, before the client sees any of it."""
    pool: str | None = None
    """None = no engine works for it."""
    read_fraction: float = Field(default=1.0, ge=0)
    """Share of the text that it reads."""
    template_tokens: int = Field(default=0, ge=0)
    """Tokens of its instructions, the same every time."""
    output_tokens: int = Field(default=1, ge=1)
    """Tokens it writes; 1 = a verdict."""
    latency_s: float = Field(default=0.0, ge=0)
    """Time it takes outside of any engine, seconds."""
    added_prompt_fraction: float = Field(default=0.0, ge=0)
    """Longer prompt for the main request, as a share of it."""
    block_probability: float = Field(default=0.0, ge=0, le=1)
    """Share of requests that end here, rejected with reason ``safety``."""
    routes: tuple[str, ...] = ()
    """Only these; empty = all."""

    @model_validator(mode="after")
    def _check(self) -> PassSpec:
        if self.stage == "after" and self.added_prompt_fraction:
            raise ValueError("added_prompt_fraction lengthens the prompt, so it needs stage=before")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PriceTier:
    """From ``from_input_tokens`` on, the whole call is billed at these prices."""

    from_input_tokens: int = Field(ge=1)
    """Prompt tokens of a call from which it is billed so."""
    input_usd_per_1m: float = Field(ge=0)
    """Dollars per million prompt tokens."""
    cached_input_usd_per_1m: float = Field(ge=0)
    """Dollars per million prompt tokens that were in the provider's cache."""
    output_usd_per_1m: float = Field(ge=0)
    """Dollars per million answer tokens."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VolumeDiscount:
    """Tokens of a month beyond ``from_tokens_per_month`` cost ``discount_fraction`` less, up to the next tier."""

    from_tokens_per_month: float = Field(ge=0)
    """Prompt and answer tokens of a month from which it holds."""
    discount_fraction: float = Field(ge=0, lt=1)
    """Off the list price of the tokens beyond."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PeakHours:
    """Between these hours of the simulated day (0 = its first midnight) prices are ``factor`` times as high."""

    from_hour: float = Field(ge=0, le=24)
    """First hour."""
    to_hour: float = Field(ge=0, le=24)
    """First hour after it."""
    factor: float = Field(gt=0)
    """Prices in these hours over those of the others."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Outage:
    """Calls fail at once."""

    start_s: float = Field(ge=0)
    """When it begins, seconds."""
    duration_s: float = Field(gt=0)
    """How long it lasts, seconds."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ApiSpec:
    """A provider that sells answers by the token. Latencies are lognormal, given by median and 95th percentile."""

    model: str = ""
    """The provider's name of the model."""
    routes: tuple[str, ...] = ()
    """It answers these routes alone; empty = all."""
    input_usd_per_1m: float = Field(ge=0)
    """Dollars per million prompt tokens."""
    cached_input_usd_per_1m: float | None = Field(default=None, ge=0)
    """Dollars per million prompt tokens that were in the provider's cache; None = no discount."""
    output_usd_per_1m: float = Field(ge=0)
    """Dollars per million answer tokens."""
    tiers: tuple[PriceTier, ...] = ()
    """Other prices of long prompts."""
    peak_hours: tuple[PeakHours, ...] = ()
    """Other prices by hour."""
    cached_input_fraction: float = Field(default=0.0, ge=0, le=1)
    """Share of a prompt that the provider finds in its cache: an assumption."""
    minimum_usd_per_month: float = Field(default=0.0, ge=0)
    """A contract's minimum spend, US$ a month: paid when unused."""
    volume_discounts: tuple[VolumeDiscount, ...] = ()
    """A contract's tiers over the tokens of a month, prompts and answers together."""
    batch_fraction: float = Field(default=0.0, ge=0, le=1)
    """Share of the calls, by dollars, that can wait for the provider's batch price."""
    batch_discount_fraction: float = Field(default=0.0, ge=0, lt=1)
    """What the batch price is lower by; 0.5 is usual."""
    region_latency_s: float = Field(default=0.0, ge=0)
    """Added to every first token: the way to the provider's region and back."""
    output_tokens_factor: float = Field(default=1.0, gt=0)
    """Its answers' length relative to the trace's (a more verbose or a reasoning model)."""
    ttft_p50_s: float = Field(default=0.5, gt=0)
    """Median time to the first token, seconds; an assumption to be measured."""
    ttft_p95_s: float = Field(default=1.5, gt=0)
    """Its 95th percentile, seconds; an assumption to be measured."""
    tokens_per_s_p50: float = Field(default=80.0, gt=0)
    """Median rate of one answer, tokens/s; an assumption to be measured."""
    tokens_per_s_p05: float = Field(default=40.0, gt=0)
    """The rate that 95 % of answers exceed, tokens/s; an assumption to be measured."""
    context_window: int | None = Field(default=None, ge=1)
    """Prompt and answer fit in so many tokens; null = any."""
    requests_per_min: float | None = Field(default=None, gt=0)
    """The account's rate limit; null = none."""
    tokens_per_min: float | None = Field(default=None, gt=0)
    """The account's rate limit in prompt tokens; null = none."""
    error_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of calls that come back as 5xx."""
    outages: tuple[Outage, ...] = ()
    """Times in which every call fails."""
    max_attempts: int = Field(default=3, ge=1, le=100)
    """Calls the gateway makes for one request (429, 5xx); waits as OpenAI's client does, 0.5 s doubling to 8 s."""
    guardrail_usd_per_1m: float = Field(default=0.0, ge=0)
    """Moderation or guardrail service in front of it, dollars per million tokens that pass."""
    logging_usd_per_1m: float = Field(default=0.0, ge=0)
    """Keeping prompts and answers, dollars per million tokens that pass."""
    source: str = ""
    """Where the prices stand."""
    date: str = ""
    """When they were read."""

    @property
    def has_terms(self) -> bool:
        """Whether a contract makes a month cost other than its calls at list prices."""
        batch = self.batch_fraction * self.batch_discount_fraction
        return bool(self.minimum_usd_per_month or self.volume_discounts or batch)

    @model_validator(mode="after")
    def _check(self) -> ApiSpec:
        if self.ttft_p95_s < self.ttft_p50_s or self.tokens_per_s_p05 > self.tokens_per_s_p50:
            raise ValueError("ttft_p50_s <= ttft_p95_s and tokens_per_s_p05 <= tokens_per_s_p50 must hold")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Hybrid:
    """Local pool first; a request leaves for ``larger_pool``, or else for the first API that takes it, when

    it is uncertain, with probability min(1, (``uncertain_fraction`` + ``uncertain_per_1k_tokens`` x prompt / 1000) x
    (1 - ``monthly_improvement``)^``month``), judged before serving or after the small model's answer (which stays paid);
    its prompt is longer than ``local_max_input_tokens``; every local replica has ``overload_waiting`` or more waiting; or
    its local attempt has failed (``after_failure``). Pinned routes and tenants never leave.
    """

    uncertain_fraction: float = Field(default=0.0, ge=0, le=1)
    """Chance that the local model is not trusted with a request; an assumption to be measured."""
    uncertain_per_1k_tokens: float = Field(default=0.0, ge=0)
    """What a thousand prompt tokens add to that chance."""
    judged: Literal["before", "after"] = "before"
    """Before serving, or after the local answer, which is then thrown away."""
    monthly_improvement: float = Field(default=0.0, ge=0, lt=1)
    """Share by which the chance falls each month of tuning."""
    month: float = Field(default=0.0, ge=0)
    """Months since the small model's tuning began."""
    local_max_input_tokens: int | None = Field(default=None, ge=1)
    """Longer prompts leave; null = none for that."""
    overload_waiting: int | None = Field(default=None, ge=0)
    """They leave while so many wait in every local replica; null = none for that."""
    after_failure: bool = True
    """A request whose local try failed leaves."""
    larger_pool: str | None = None
    """Where they go; null = to the APIs."""
    api_first: bool = False
    """True: everything that is not pinned goes to the API (all-API, for comparison)."""
    pinned_routes: tuple[str, ...] = ()
    """Requests of these routes never leave."""
    pinned_tenants: tuple[str, ...] = ()
    """Requests of these tenants never leave."""
    escalation_changes: tuple[EscalationChange, ...] = ()
    """Times in which the chance is another, by a request's arrival; the scenario's timeline adds its own."""
