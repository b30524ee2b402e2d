"""What happens after a failed attempt: retries, back-off, budgets, hedges, ejection of bad replicas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

FailureKind = Literal["timeout", "shed", "evicted", "unavailable"]
"""timeout: no answer within the client's patience. shed: refused for load (429). evicted: the replica died. unavailable:
nobody there, or the provider failed (5xx)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EnvoyBudget:
    """Retries under way, their back-off included, are fewer than max(``min_retries``, floor(``share`` x requests that are
    being served)) when one more may start (Envoy's ``retry_budget``)."""

    kind: Literal["envoy"] = "envoy"
    share: float = Field(default=0.2, ge=0, le=1)
    """Retries under way, as a share of the requests being served (``budget_percent`` / 100)."""
    min_retries: int = Field(default=3, ge=0)
    """So many may always be under way (``min_retry_concurrency``)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GrpcBudget:
    """gRPC's retryThrottling (proposal A6): a failure of a kind that is retried takes 1 token, a success returns
    ``token_ratio``; retries only while more than half of ``max_tokens`` are left."""

    kind: Literal["grpc"] = "grpc"
    max_tokens: float = Field(default=10.0, gt=0, le=1000)
    """Tokens of a full bucket (``maxTokens``; A6's example)."""
    token_ratio: float = Field(default=0.1, gt=0)
    """Tokens that a success returns (``tokenRatio``; A6's example)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AwsBudget:
    """AWS SDK standard mode's retry quota, as botocore 1.x has it: a retry takes 5 tokens of 500 (10 after a timeout), its
    success returns what it took; an answer at the first attempt returns 1."""

    kind: Literal["aws_standard"] = "aws_standard"
    capacity: int = Field(default=500, ge=1)
    """Tokens of a full bucket (``RetryQuota.INITIAL_CAPACITY``)."""
    retry_cost: int = Field(default=5, ge=0)
    """Tokens that a retry takes (``_RETRY_COST``)."""
    timeout_cost: int = Field(default=10, ge=0)
    """Tokens that a retry after a timeout takes (``_TIMEOUT_RETRY_REQUEST``)."""
    success_refund: int = Field(default=1, ge=0)
    """Tokens that an answer at the first attempt returns (``_NO_RETRY_INCREMENT``)."""


Budget = Annotated[EnvoyBudget | GrpcBudget | AwsBudget, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BackoffRetries:
    """Exponential back-off: the n-th retry waits min(``base_s`` x 2^(n-1), ``max_s``), jittered. Envoy's code does so too,
    where its documentation says ``base_s`` x (2^n - 1)."""

    kind: Literal["backoff"] = "backoff"
    max_attempts: int = Field(default=3, ge=1, le=100)
    """Attempts of one request, the first included."""
    base_s: float = Field(default=0.5, ge=0)
    """Wait before the first retry, seconds; OpenAI's client."""
    max_s: float = Field(default=8.0, ge=0)
    """Longest wait, seconds; OpenAI's client."""
    jitter: Literal["none", "full", "equal", "quarter", "fifth"] = "full"
    """none; full: uniform in [0, wait] (Envoy, botocore); equal: [wait/2, wait]; quarter: [3/4 wait, wait] (OpenAI's
    client); fifth: [0.8 wait, 1.2 wait] (gRPC)."""
    on: tuple[FailureKind, ...] = ("timeout", "shed", "evicted", "unavailable")
    """Kinds of failure that are tried again."""
    honour_retry_after: bool = True
    """Wait as long as a refusal says (Retry-After), without jitter."""
    max_retry_after_s: float = Field(default=60.0, gt=0)
    """A longer Retry-After is not obeyed, seconds; OpenAI's client up to 2.x (120 in later ones)."""
    beyond_retry_after: Literal["back_off", "give_up"] = "back_off"
    """What follows a longer one: the usual wait, or no retry."""
    budget: Budget | None = None
    """How many retries all requests together may make; null = every client for itself."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LitellmRetries:
    """LiteLLM's router: at once while another replica is healthy, not at all when none is, and with one replica after
    min(``base_s`` x 2^(n-1), ``max_s``) or Retry-After, and up to ``jitter_s`` more."""

    kind: Literal["litellm"] = "litellm"
    num_retries: int = Field(default=2, ge=0, le=100)
    """Retries of one request; LiteLLM's default of 2."""
    base_s: float = Field(default=0.5, ge=0)
    """Wait before the first retry, seconds (``INITIAL_RETRY_DELAY``)."""
    max_s: float = Field(default=8.0, ge=0)
    """Longest wait before jitter, seconds (``MAX_RETRY_DELAY``)."""
    jitter_s: float = Field(default=0.75, ge=0)
    """Up to so much is added to each wait, uniformly, seconds (``JITTER``)."""
    max_retry_after_s: float = Field(default=60.0, gt=0)
    """A longer Retry-After is ignored, seconds."""
    budget: Budget | None = None
    """How many retries all requests together may make; null = no such limit, as in LiteLLM."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PluginRetries:
    """A retry policy from an installed distribution: entry point ``name`` of the group ``servecap.retry_policies``."""

    kind: Literal["plugin"] = "plugin"
    name: str
    """Entry point of the retry policy, as its distribution declares it."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of its class."""
    budget: Budget | None = None
    """How many retries all requests together may make; null = every client for itself."""


Retries = Annotated[BackoffRetries | LitellmRetries | PluginRetries, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Hedging:
    """Another attempt elsewhere when there is no first token ``delay_s`` after the last was sent, up to ``max_hedges`` of
    them (gRPC proposal A6's hedging policy; Dean and Barroso, "The Tail at Scale", 2013). The first token decides: the
    attempt that has it answers, the others are called off."""

    delay_s: float = Field(gt=0)
    """Without a first token for so long another attempt is sent, seconds (``hedgingDelay``)."""
    max_hedges: int = Field(default=1, ge=1, le=100)
    """Further attempts of one request, at most (``maxAttempts`` - 1)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EnvoyOutliers:
    """Envoy's outlier detection with its defaults: ``consecutive_failures``, or an answered share in one interval that lies
    ``success_rate_stdevs`` standard deviations below the mean of the replicas, eject a replica for ``base_ejection_s`` x a
    multiplier that grows by one with each ejection and falls by one in each interval without. Fewer than ten replicas are
    never ejected from at 10 %, unless ``always_eject_one``."""

    kind: Literal["envoy"] = "envoy"
    consecutive_failures: int = Field(default=5, ge=1)
    """Failures in a row that eject a replica (``consecutive_5xx``)."""
    interval_s: float = Field(default=10.0, ge=0.001)
    """``interval``, seconds: ejections end, success rates are judged and multipliers fall at its multiples."""
    base_ejection_s: float = Field(default=30.0, gt=0)
    """Length of a first ejection, seconds (``base_ejection_time``)."""
    max_ejection_s: float = Field(default=300.0, gt=0)
    """Longest ejection, seconds (``max_ejection_time``)."""
    max_ejected_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the replicas that may be out at once (``max_ejection_percent`` / 100)."""
    always_eject_one: bool = False
    """One may be out whatever the share allows (``always_eject_one_host``)."""
    success_rate_min_replicas: int = Field(default=5, ge=1)
    """``success_rate_minimum_hosts``: replicas that had ``success_rate_min_requests`` in the interval, at least."""
    success_rate_min_requests: int = Field(default=100, ge=1)
    """Requests in the interval from which a replica's success rate counts (``success_rate_request_volume``)."""
    success_rate_stdevs: float = Field(default=1.9, ge=0)
    """Standard deviations below the mean at which it is ejected (``success_rate_stdev_factor`` / 1000)."""
    panic_share: float = Field(default=0.5, ge=0, le=1)
    """``healthy_panic_threshold`` / 100: with a smaller share of replicas in, all of them get requests."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LitellmCooldown:
    """LiteLLM's cooldowns: a refusal (429) at once, or more than ``failed_share`` of ``min_requests`` and more in this
    minute, but not for the only replica; that one only after ``single_min_requests`` of which all failed. Out for
    Retry-After where there was one, else ``cooldown_s``; requests fail while everybody is out."""

    kind: Literal["litellm"] = "litellm"
    failed_share: float = Field(default=0.5, gt=0, le=1)
    """Share of this minute's requests whose failure puts a replica out (``DEFAULT_FAILURE_THRESHOLD_PERCENT``)."""
    min_requests: int = Field(default=5, ge=1)
    """Requests of this minute from which the share counts (``DEFAULT_FAILURE_THRESHOLD_MINIMUM_REQUESTS``)."""
    single_min_requests: int = Field(default=1000, ge=1)
    """Likewise for an only replica, of which all must fail (``SINGLE_DEPLOYMENT_TRAFFIC_FAILURE_THRESHOLD``)."""
    cooldown_s: float = Field(default=5.0, gt=0)
    """How long it is out without a Retry-After, seconds (``DEFAULT_COOLDOWN_TIME_SECONDS``)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CircuitBreaker:
    """A circuit breaker for each replica and provider, with Resilience4j's defaults: closed, it opens when ``failed_share``
    of the last ``window_requests`` failed; open, it lets nothing through for ``open_s``; half-open, it lets
    ``half_open_requests`` try, and closes or opens by their share. Requests fail while all are open."""

    kind: Literal["circuit_breaker"] = "circuit_breaker"
    failed_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the window that opens it, and that keeps it open after the trial (``failureRateThreshold`` / 100)."""
    window_requests: int = Field(default=100, ge=1)
    """Last requests that are judged (``slidingWindowSize``, count-based)."""
    min_requests: int = Field(default=100, ge=1)
    """Fewer are not judged; at most the window counts (``minimumNumberOfCalls``)."""
    open_s: float = Field(default=60.0, gt=0)
    """How long it lets nothing through, seconds (``waitDurationInOpenState``)."""
    half_open_requests: int = Field(default=10, ge=1)
    """Requests of the trial that follows (``permittedNumberOfCallsInHalfOpenState``)."""


Outliers = Annotated[EnvoyOutliers | LitellmCooldown | CircuitBreaker, Field(discriminator="kind")]
