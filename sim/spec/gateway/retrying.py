"""What happens after a failed attempt: retries, back-off, budgets, hedges, ejection of bad replicas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

FailureKind = Literal["timeout", "shed", "evicted", "unavailable"]
"""timeout: no answer within the client's patience. shed: refused for load (429, 503). evicted: the replica died.
unavailable: nobody there, or the provider failed (5xx)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EnvoyBudget:
    """Retries under way <= max(``min_retries``, ``share`` x requests under way) (Envoy's retry_budget)."""

    kind: Literal["envoy"] = "envoy"
    share: float = Field(default=0.2, ge=0, le=1)
    min_retries: int = Field(default=3, ge=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GrpcBudget:
    """gRPC's retryThrottling (proposal A6): a failure takes 1 token, a success returns ``token_ratio``; retries only
    while more than half of ``max_tokens`` are left."""

    kind: Literal["grpc"] = "grpc"
    max_tokens: float = Field(default=10.0, gt=0, le=1000)
    token_ratio: float = Field(default=0.1, gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AwsBudget:
    """AWS SDK standard mode's retry quota: a retry takes 5 tokens of 500 (10 after a timeout), its success returns them;
    a first attempt that succeeds returns 1."""

    kind: Literal["aws_standard"] = "aws_standard"
    capacity: int = Field(default=500, ge=1)
    retry_cost: int = Field(default=5, ge=0)
    timeout_cost: int = Field(default=10, ge=0)
    success_refund: int = Field(default=1, ge=0)


Budget = Annotated[EnvoyBudget | GrpcBudget | AwsBudget, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BackoffRetries:
    """Exponential back-off: the n-th retry waits min(``base_s`` x 2^(n-1), ``max_s``), jittered.

    jitter: none; full = uniform in [0, wait]; equal = [wait/2, wait]; quarter = [3/4 wait, wait] (OpenAI's client).
    """

    kind: Literal["backoff"] = "backoff"
    max_attempts: int = Field(default=3, ge=1)
    base_s: float = Field(default=0.5, ge=0)
    max_s: float = Field(default=8.0, ge=0)
    growth: Literal["doubling", "doubling_less_one"] = "doubling"
    """doubling_less_one: ``base_s`` x (2^n - 1), as Envoy has it."""
    jitter: Literal["none", "full", "equal", "quarter"] = "full"
    on: tuple[FailureKind, ...] = ("timeout", "shed", "evicted", "unavailable")
    honour_retry_after: bool = True
    max_retry_after_s: float = Field(default=60.0, gt=0)
    """A longer Retry-After is ignored."""
    budget: Budget | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PluginRetries:
    """A retry policy from an installed distribution: entry point ``name`` of the group ``servecap.retry_policies``."""

    kind: Literal["plugin"] = "plugin"
    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    budget: Budget | None = None


Retries = Annotated[BackoffRetries | PluginRetries, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Hedging:
    """A second attempt elsewhere when there is no first token ``delay_s`` after the first was sent; the first to finish
    wins, the other is aborted."""

    delay_s: float = Field(gt=0)
    max_hedges: int = Field(default=1, ge=1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EnvoyOutliers:
    """Envoy: ``consecutive_failures`` eject a replica for ``base_ejection_s`` x times ejected, never more than
    ``max_ejected_share`` of them (but at least one)."""

    kind: Literal["envoy"] = "envoy"
    consecutive_failures: int = Field(default=5, ge=1)
    base_ejection_s: float = Field(default=30.0, gt=0)
    max_ejection_s: float = Field(default=300.0, gt=0)
    max_ejected_share: float = Field(default=0.1, ge=0, le=1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LitellmCooldown:
    """LiteLLM's router: more than ``failed_share`` of this minute's requests failed: out for ``cooldown_s``."""

    kind: Literal["litellm"] = "litellm"
    failed_share: float = Field(default=0.5, gt=0, le=1)
    min_requests: int = Field(default=5, ge=1)
    cooldown_s: float = Field(default=5.0, gt=0)


Outliers = Annotated[EnvoyOutliers | LitellmCooldown, Field(discriminator="kind")]
