"""Autoscalers: one small class each with one method, ``desired(window)``: how many replicas there should be."""

from __future__ import annotations

import math
from typing import Protocol

from sim.fleet.blueprint import Blueprint
from sim.fleet.scaling.hpa import HpaV2Scaler, ProportionalScaler
from sim.fleet.scaling.keda import KedaScaler
from sim.fleet.scaling.knative import KnativeScaler
from sim.fleet.scaling.signals import FleetWindow
from sim.fleet.scaling.sla_planner import EngineProfile, SlaPlannerScaler
from sim.perf.steady import MeanRequest, pooled_tokens, prefill_tokens_per_s
from sim.plugins import AUTOSCALERS, Plugins
from sim.spec import Slo
from sim.spec.autoscaler import (
    Autoscaler as AutoscalerSpec,
)
from sim.spec.autoscaler import (
    BacklogSeconds,
    HpaV2,
    Keda,
    KnativeKpa,
    KvOccupancy,
    NoAutoscaler,
    PluginAutoscaler,
    Proportional,
    Qps,
    QueueLength,
    RequestsInFlight,
    SlaPlanner,
    TokensInFlight,
)

DYNAMO_TTFT_S, DYNAMO_ITL_S = 0.5, 0.05
"""Targets of Dynamo's planner where nobody states any."""


class Autoscaler(Protocol):
    """A scaling policy. The caller adds headroom to what it says and clips it to the pool's limits."""

    def desired(self, window: FleetWindow) -> int:
        """How many replicas there should be, starting ones included."""
        ...


def make_autoscaler(
    spec: AutoscalerSpec, blueprint: Blueprint, slo: Slo, mean: MeanRequest, plugins: Plugins
) -> Autoscaler:
    """The policy that ``spec`` names, for replicas of ``blueprint`` and requests of ``mean`` lengths under ``slo``."""
    match spec:
        case HpaV2():
            return HpaV2Scaler(spec)
        case Keda():
            return KedaScaler(spec)
        case KnativeKpa():
            return KnativeScaler(spec)
        case SlaPlanner():
            return SlaPlannerScaler(
                spec,
                EngineProfile(blueprint.mean_step_time, blueprint.engine, blueprint.kv_tokens, blueprint.role),
                spec.ttft_s or _tightest_s(slo, ("ttft",), DYNAMO_TTFT_S),
                spec.itl_s or _tightest_s(slo, ("tpot", "itl"), DYNAMO_ITL_S),
            )
        case TokensInFlight() | RequestsInFlight() | Qps() | QueueLength() | KvOccupancy() | BacklogSeconds():
            return ProportionalScaler(
                spec.kind,
                _target(spec, blueprint, slo, mean),
                spec.tolerance,
                spec.scale_up_window_s,
                spec.scale_down_window_s,
                spec.tokens_per_s if isinstance(spec, BacklogSeconds) else 1.0,
            )
        case PluginAutoscaler():
            plugin: Autoscaler = plugins.make(AUTOSCALERS, spec.name, spec.options)
            return plugin
        case NoAutoscaler():
            raise ValueError("`none` is the absence of an autoscaler")


def tokens_target(blueprint: Blueprint, slo: Slo, mean: MeanRequest, tolerance: float) -> float:
    """Tokens in flight that a replica may hold within the SLO: what it holds at the load that it sustains, less the
    tolerance, because nothing is done before that is used up. A prefill replica: what it computes within half of the TTFT
    target (an assumption: the other half is for bursts), at least one prompt."""
    ranks = blueprint.engine.data_parallel_size
    if blueprint.role == "prefill":
        wait_s = _tightest_s(slo, ("ttft",), DYNAMO_TTFT_S) / 2
        held = max(mean.prompt, ranks * wait_s * prefill_tokens_per_s(blueprint.mean_step_time, mean))
    else:
        if blueprint.role == "decode":
            mean = mean._replace(computed=0.0)
        limit_s = _tightest_s(slo, ("tpot", "itl"), math.inf)
        most = blueprint.engine.max_num_seqs or 1
        held = ranks * pooled_tokens(blueprint.mean_step_time, blueprint.kv_tokens // ranks, most, mean, limit_s)
    return held / (1 + tolerance)


def _target(spec: Proportional, blueprint: Blueprint, slo: Slo, mean: MeanRequest) -> float:
    if spec.target is not None:
        return spec.target
    tokens = tokens_target(blueprint, slo, mean, spec.tolerance)
    return min(1.0, tokens / blueprint.kv_tokens) if isinstance(spec, KvOccupancy) else tokens


def _tightest_s(slo: Slo, metrics: tuple[str, ...], otherwise: float) -> float:
    return min((limit for name, limit in slo.targets().items() if name.startswith(metrics)), default=otherwise)
