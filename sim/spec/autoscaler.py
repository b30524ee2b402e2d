"""Autoscalers: what they look at, how often, how old it is, and how fast they may move.

Each is named after the system whose defaults it carries. Targets are per replica.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

Metric = Literal["tokens_in_flight", "requests_in_flight", "qps", "queue_length", "kv_occupancy", "backlog_s"]
"""What a metrics endpoint says of a replica: tokens of context and waiting prompts; requests running and waiting;
arrivals a second; requests waiting; share of KV blocks in use; waiting prompt tokens / ``tokens_per_s``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _Signals:
    scrape_s: float = Field(default=15.0, gt=0)
    """Interval at which replicas are read (Prometheus' usual 15 s)."""
    staleness_s: float = Field(default=0.0, ge=0)
    """Age of the newest reading that a decision may use."""
    interval_s: float = Field(default=15.0, gt=0)
    """Between decisions (HPA's sync period)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NoAutoscaler:
    """The fleet keeps the size it is given."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _Proportional(_Signals):
    tolerance: float = Field(default=0.1, ge=0)
    """Nothing moves while signal / target is within 1 +- this."""
    scale_up_window_s: float = Field(default=0.0, ge=0)
    scale_down_window_s: float = Field(default=300.0, ge=0)
    """Down only to the highest recommendation of this window."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TokensInFlight(_Proportional):
    """Tokens in flight per replica: what both compute and KV cache are used by. Recommended."""

    kind: Literal["tokens_in_flight"] = "tokens_in_flight"
    target: float | None = Field(default=None, gt=0)
    """None: half of the tokens that a replica's KV cache holds."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RequestsInFlight(_Proportional):
    """Requests running and waiting per replica."""

    kind: Literal["requests_in_flight"] = "requests_in_flight"
    target: float = Field(default=32.0, gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Qps(_Proportional):
    """Arrivals a second per replica, whatever their length."""

    kind: Literal["qps"] = "qps"
    target: float = Field(default=2.0, gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class QueueLength(_Proportional):
    """Requests that wait in the engine, per replica: blind until it is late."""

    kind: Literal["queue_length"] = "queue_length"
    target: float = Field(default=5.0, gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KvOccupancy(_Proportional):
    """Share of KV blocks in use."""

    kind: Literal["kv_occupancy"] = "kv_occupancy"
    target: float = Field(default=0.8, gt=0, le=1)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BacklogSeconds(_Proportional):
    """Token-aware: seconds that the waiting prompts will take at ``tokens_per_s``."""

    kind: Literal["backlog_s"] = "backlog_s"
    target: float = Field(default=1.0, gt=0)
    tokens_per_s: float = Field(default=10_000.0, gt=0)
    """Prompt tokens that one replica computes in a second."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HpaV2(_Signals):
    """Kubernetes HorizontalPodAutoscaler v2: tolerance 0.1, windows 0 and 300 s, up by the larger of 4 pods and 100 % in
    15 s, down by 100 % in 15 s (kubernetes.io, horizontal-pod-autoscale, default behaviour)."""

    kind: Literal["hpa_v2"] = "hpa_v2"
    metric: Metric = "requests_in_flight"
    target: float = Field(default=32.0, gt=0)
    tokens_per_s: float = Field(default=10_000.0, gt=0)
    tolerance: float = Field(default=0.1, ge=0)
    scale_up_window_s: float = Field(default=0.0, ge=0)
    scale_down_window_s: float = Field(default=300.0, ge=0)
    up_pods: int = Field(default=4, ge=0)
    up_fraction: float = Field(default=1.0, ge=0)
    down_fraction: float = Field(default=1.0, ge=0, le=1)
    period_s: float = Field(default=15.0, gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Keda(_Signals):
    """KEDA: polls every 30 s, hands the number to an HPA, goes from the minimum to zero after a cooldown of 300 s without
    activity (keda.sh, ScaledObject specification)."""

    kind: Literal["keda"] = "keda"
    metric: Metric = "queue_length"
    target: float = Field(default=5.0, gt=0)
    tokens_per_s: float = Field(default=10_000.0, gt=0)
    activation: float = Field(default=0.0, ge=0)
    scrape_s: float = Field(default=30.0, gt=0)
    cooldown_s: float = Field(default=300.0, ge=0)
    tolerance: float = Field(default=0.1, ge=0)
    scale_down_window_s: float = Field(default=300.0, ge=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KnativeKpa(_Signals):
    """Knative pod autoscaler: concurrency averaged over 60 s, over 6 s in panic (from 200 % of capacity, never down);
    aims at 70 % of the target; rates 1000 up, 2 down; zero after 30 s (knative.dev, config-autoscaler)."""

    kind: Literal["knative_kpa"] = "knative_kpa"
    target: float = Field(default=32.0, gt=0)
    """Requests in flight a replica is meant to hold (Knative's own default is 100)."""
    target_utilization: float = Field(default=0.7, gt=0, le=1)
    stable_window_s: float = Field(default=60.0, gt=0)
    panic_window_fraction: float = Field(default=0.1, gt=0, le=1)
    panic_threshold: float = Field(default=2.0, ge=1)
    max_scale_up_rate: float = Field(default=1000.0, gt=1)
    max_scale_down_rate: float = Field(default=2.0, gt=1)
    scale_to_zero_grace_s: float = Field(default=30.0, ge=0)
    scrape_s: float = Field(default=2.0, gt=0)
    interval_s: float = Field(default=2.0, gt=0)


Autoscaler = Annotated[
    NoAutoscaler | TokensInFlight | RequestsInFlight | Qps | QueueLength | KvOccupancy | BacklogSeconds | HpaV2 | Keda
    | KnativeKpa,
    Field(discriminator="kind"),
]  # fmt: skip
