"""Autoscalers: what they look at, how often, how old it is, and how fast they may move.

Each is named after the system whose defaults it carries. Targets are per replica.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

Metric = Literal["tokens_in_flight", "requests_in_flight", "qps", "queue_length", "kv_occupancy", "backlog_s"]
"""What a metrics endpoint says of a replica: tokens of context and waiting prompts; requests running and waiting;
arrivals a second; requests waiting; share of KV blocks in use; waiting prompt tokens / ``tokens_per_s``. What waits at
the gateway for a pool is in its sums."""

Period = Annotated[float, Field(ge=0.1, le=86_400.0)]
"""Seconds between two looks: more often than ten times a second no control loop looks."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Signals:
    """When an autoscaler looks and decides."""

    kind: str
    scrape_s: Period = 15.0
    """Interval at which replicas are read, s (Prometheus' usual 15 s)."""
    staleness_s: float = Field(default=0.0, ge=0)
    """Age of the newest reading that a decision may use, s."""
    interval_s: Period = 15.0
    """Between decisions, s (HPA's sync period: kube-controller-manager --horizontal-pod-autoscaler-sync-period)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NoAutoscaler:
    """The fleet keeps the size it is given."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Proportional(Signals):
    """A metric over its target, with the windows of a Kubernetes HPA and no rates."""

    target: float | None = None
    """Of the metric, per replica."""
    tolerance: float = Field(default=0.1, ge=0)
    """Nothing moves while signal / target is within 1 +- this (--horizontal-pod-autoscaler-tolerance)."""
    scale_up_window_s: float = Field(default=0.0, ge=0)
    """Up only to the lowest recommendation of this window, s (stabilizationWindowSeconds)."""
    scale_down_window_s: float = Field(default=300.0, ge=0)
    """Down only to the highest recommendation of this window, s; it begins with the size at the first decision. 300 s is an
    HPA's default."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TokensInFlight(Proportional):
    """Tokens in flight per replica: what both compute and KV cache are used by. Recommended."""

    kind: Literal["tokens_in_flight"] = "tokens_in_flight"
    target: float | None = Field(default=None, gt=0)
    """Tokens per replica. None: what a replica holds at the load that it sustains within the SLO (80 % of the most that
    ``sim.perf.steady`` gives for the trace's mean request under the TPOT target), less the tolerance."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RequestsInFlight(Proportional):
    """Requests running and waiting per replica."""

    kind: Literal["requests_in_flight"] = "requests_in_flight"
    target: float = Field(default=32.0, gt=0)
    """Requests per replica; the default is an assumption."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Qps(Proportional):
    """Arrivals a second per replica, whatever their length."""

    kind: Literal["qps"] = "qps"
    target: float = Field(default=2.0, gt=0)
    """Attempts a second per replica; the default is an assumption."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class QueueLength(Proportional):
    """Requests that wait in the engine or at the gateway, per replica: blind until it is late."""

    kind: Literal["queue_length"] = "queue_length"
    target: float = Field(default=5.0, gt=0)
    """Requests per replica; the default is an assumption."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KvOccupancy(Proportional):
    """Share of KV blocks in use."""

    kind: Literal["kv_occupancy"] = "kv_occupancy"
    target: float | None = Field(default=None, gt=0, le=1)
    """Share per replica. None: what the tokens fill that ``tokens_in_flight`` aims at by default. (Gateways of inference
    pools call 0.8 saturated; on most GPUs the SLO is gone before that.)"""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BacklogSeconds(Proportional):
    """Token-aware: seconds that the waiting prompts will take at ``tokens_per_s``."""

    kind: Literal["backlog_s"] = "backlog_s"
    target: float = Field(default=1.0, gt=0)
    """Seconds per replica; the default is an assumption."""
    tokens_per_s: float = Field(default=10_000.0, gt=0)
    """Prompt tokens that one replica computes in a second; the default is an assumption (8B on one L40S)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HpaV2(Signals):
    """Kubernetes HorizontalPodAutoscaler v2: tolerance 0.1, windows 0 and 300 s, up by the larger of 4 pods and 100 % in
    15 s, down by 100 % in 15 s (kubernetes/kubernetes pkg/apis/autoscaling/v2/defaults.go)."""

    kind: Literal["hpa_v2"] = "hpa_v2"
    metric: Metric = "requests_in_flight"
    """What is summed over the pool."""
    target: float = Field(default=32.0, gt=0)
    """Of the metric, per replica (an AverageValue); the default is an assumption."""
    tokens_per_s: float = Field(default=10_000.0, gt=0)
    """Prompt tokens that one replica computes in a second, for ``metric=backlog_s``; the default is an assumption (8B on
    one L40S)."""
    tolerance: float = Field(default=0.1, ge=0)
    """Nothing moves while signal / target is within 1 +- this."""
    scale_up_window_s: float = Field(default=0.0, ge=0)
    """Up only to the lowest recommendation of this window, s."""
    scale_down_window_s: float = Field(default=300.0, ge=0)
    """Down only to the highest recommendation of this window, s; it begins with the size at the first decision. 300 s is an
    HPA's default."""
    up_pods: int = Field(default=4, ge=0)
    """Within a period the pool may grow by so many replicas ..."""
    up_fraction: float = Field(default=1.0, ge=0)
    """... or by this part of its size at the period's start, whichever is more."""
    down_fraction: float = Field(default=1.0, ge=0, le=1)
    """Within a period it may shrink by this part of its size at the period's start."""
    period_s: float = Field(default=15.0, gt=0)
    """The period of the rates, s."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Keda(Signals):
    """KEDA: an HPA with Kubernetes' default windows and rates between one and many; a poll between none and one
    (ScaledObject specification: pollingInterval 30 s, cooldownPeriod 300 s). ``interval_s`` is the HPA's."""

    kind: Literal["keda"] = "keda"
    metric: Metric = "queue_length"
    """The trigger's metric, summed over the pool."""
    target: float = Field(default=5.0, gt=0)
    """Of the metric, per replica (an AverageValue)."""
    tokens_per_s: float = Field(default=10_000.0, gt=0)
    """Prompt tokens that one replica computes in a second, for ``metric=backlog_s``; the default is an assumption (8B on
    one L40S)."""
    activation: float = Field(default=0.0, ge=0)
    """The trigger is active above this (activationThreshold)."""
    polling_s: float = Field(default=30.0, ge=0.1)
    """How often the trigger is looked at to go from none to one and back, s (pollingInterval)."""
    cooldown_s: float = Field(default=300.0, ge=0)
    """None are kept once the trigger has been inactive for longer, s (cooldownPeriod)."""
    tolerance: float = Field(default=0.1, ge=0)
    """Of the HPA: nothing moves while signal / target is within 1 +- this."""
    scale_down_window_s: float = Field(default=300.0, ge=0)
    """Of the HPA: down only to the highest recommendation of this window, s."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KnativeKpa(Signals):
    """Knative pod autoscaler: concurrency averaged over 60 s, over 6 s in panic (from 200 % of capacity, never down);
    aims at 70 % of the target; rates 1000 up, 2 down; zero after 30 s (knative/serving config-autoscaler)."""

    kind: Literal["knative_kpa"] = "knative_kpa"
    target: float = Field(default=32.0, gt=0)
    """Requests in flight a replica is meant to hold (Knative's own default is 100)."""
    target_utilization: float = Field(default=0.7, gt=0, le=1)
    """Part of the target that is aimed at (container-concurrency-target-percentage)."""
    stable_window_s: float = Field(default=60.0, gt=0)
    """Mean over which decisions are made, s (stable-window)."""
    panic_window_fraction: float = Field(default=0.1, gt=0, le=1)
    """Part of the stable window that panic looks at (panic-window-percentage)."""
    panic_threshold: float = Field(default=2.0, ge=1)
    """Panic begins where the panic window asks for so many times what is ready (panic-threshold-percentage)."""
    max_scale_up_rate: float = Field(default=1000.0, gt=1)
    """At most so many times what is ready (max-scale-up-rate)."""
    max_scale_down_rate: float = Field(default=2.0, gt=1)
    """At least what is ready divided by this (max-scale-down-rate)."""
    scale_to_zero_grace_s: float = Field(default=30.0, ge=0)
    """The last replica stays so long after the stable window has gone empty, s (scale-to-zero-grace-period)."""
    scrape_s: Period = 2.0
    """Interval at which replicas are read, s."""
    interval_s: Period = 2.0
    """Between decisions, s (the autoscaler's tick)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SlaPlanner(Signals):
    """NVIDIA Dynamo's SLA planner: predicts the next interval's load and asks for what meets the ITL target, corrected by
    what was observed (ai-dynamo/dynamo components/planner). ``scrape_s`` is the time over which it averages."""

    kind: Literal["sla_planner"] = "sla_planner"
    itl_s: float | None = Field(default=None, gt=0)
    """Target of the mean gap between tokens, s. None: the tightest TPOT or ITL target of the SLO; without one Dynamo's
    0.05 s."""
    ttft_s: float | None = Field(default=None, gt=0)
    """Target of the mean time to first token, s. None: the tightest TTFT target of the SLO; without one Dynamo's 0.5 s."""
    predictor: Literal["constant", "trend"] = "trend"
    """Of the next interval's load: as the last one, or on the straight line through the last ones (Dynamo: auto-ARIMA)."""
    predictor_window: int = Field(default=50, ge=1, le=10_000)
    """Intervals that the line goes through (load_prediction_window_size)."""
    scrape_s: Period = 180.0
    """Interval at which means are taken, s."""
    interval_s: Period = 180.0
    """Between decisions, s (adjustment_interval)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PluginAutoscaler(Signals):
    """An autoscaler of one's own (``sim.plugins``): a class of the session, ``simulate(scenario, policies={name:
    Class})``, or an entry point of the group ``servecap.autoscalers`` of an installed distribution."""

    kind: Literal["plugin"] = "plugin"
    name: str
    """Entry point of the policy, as its distribution declares it."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What it is made with."""


Autoscaler = Annotated[
    NoAutoscaler | TokensInFlight | RequestsInFlight | Qps | QueueLength | KvOccupancy | BacklogSeconds | HpaV2 | Keda
    | KnativeKpa | SlaPlanner | PluginAutoscaler,
    Field(discriminator="kind"),
]  # fmt: skip
