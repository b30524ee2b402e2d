"""What no fleet can mend: requests that miss their objective alone on an idle replica.

Each request of the trace is sent to one replica when nobody else is there, with a KV cache that forgets nothing, through a
gateway that only routes (the way between clients and replicas is kept). Queues, batches and evictions only add to what it
then takes, so when more requests miss a target than its percentile allows (those not counted that may fail, time out or be
shed), no number of replicas meets it. Left out: where others than the engines answer (providers, caches), and mixed fleets;
there nothing is said.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from sim.perf import resolve_engine
from sim.run import simulate
from sim.spec import EngineSpec, FleetSpec, GatewaySpec, Scenario
from sim.spec.autoscaler import NoAutoscaler
from sim.spec.search import OutputSpec
from sim.spec.spot import SpotSpec
from sim.workload import Trace

_APART_S = 3600.0
_MUCH_CACHE_TOKENS = 50_000_000
_SAMPLE = 200
_METRICS = ("ttft", "tpot", "e2e")
_SLACK = 1.01
"""Interpolated step times need not be monotone to the last digit."""


def missed_alone(scenario: Scenario, trace: Trace) -> str:
    """Why no number of replicas meets the objective under ``trace``; "" = nothing is certain."""
    gateway = scenario.gateway
    elsewhere = gateway.hybrid is not None or gateway.cache is not None or gateway.dedupe
    targets = {name: limit for name, limit in scenario.slo.targets().items() if _metric(name) in _METRICS}
    if elsewhere or scenario.fleet.pools or not targets:
        return ""
    if len(trace) > 2 * _SAMPLE:  # most objectives are far from this, which a few requests show
        sample = _alone(scenario, trace, np.linspace(0, len(trace) - 1, _SAMPLE).astype(int))
        if not any(_missing(sample, name, limit)[0] for name, limit in targets.items()):
            return ""
    alone = _alone(scenario, trace, np.arange(len(trace)))
    may_fail = math.floor(scenario.slo.max_failed_fraction * len(alone))
    for name, limit in targets.items():
        missing, of, attained = _missing(alone, name, limit)
        left = of - may_fail
        if left > 0 and missing - may_fail > left - 1 - math.floor(_quantile(name) * (left - 1)):
            return (
                f"alone on an idle replica, {missing} of {of} requests already miss {name} of {limit:g} s (it is "
                f"{attained:.3g} s): no number of replicas meets it"
            )
    return ""


def _metric(name: str) -> str:
    return name.split("_", maxsplit=1)[0]


def _quantile(name: str) -> float:
    return float("0." + name.split("_")[1][1:])


def _missing(requests: pd.DataFrame, name: str, limit: float) -> tuple[int, int, float]:
    """How many miss, of how many that have this latency, and its percentile."""
    values = requests[f"{_metric(name)}_s"].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    attained = float(np.quantile(values, _quantile(name))) if len(values) else math.nan
    return int((values > limit * _SLACK).sum()), len(values), attained


def _alone(scenario: Scenario, trace: Trace, rows: np.ndarray) -> pd.DataFrame:
    """Those of ``rows`` that are measured and get an answer, each alone."""
    warmup_s = scenario.workload.warmup_s if scenario.gateway.users.kind == "open" else 0.0
    rows = rows[trace.arrival_s[rows] >= warmup_s]
    labels = {name: column[rows] for name, column in trace.labels.items()}
    arrival_s = np.arange(len(rows)) * _APART_S
    apart = Trace(arrival_s, trace.input_tokens[rows], trace.output_tokens[rows], labels, trace.block_tokens)
    requests = simulate(_lonely(scenario), apart).requests
    return requests[(requests["outcome"] == "completed").to_numpy()]


def _lonely(scenario: Scenario) -> Scenario:
    longest = resolve_engine(scenario.engine, scenario.model, scenario.gpu).max_model_len
    engine: EngineSpec = replace(scenario.engine, max_model_len=longest, step_noise_cv=0.0, straggler_rate=0.0)
    if engine.enable_prefix_caching:
        engine = replace(engine, num_gpu_blocks_override=_MUCH_CACHE_TOKENS // engine.block_size)
    return replace(
        scenario, engine=engine, fleet=FleetSpec(), autoscaler=NoAutoscaler(), spot=SpotSpec(), timeline=(),
        gateway=GatewaySpec(network_one_way_s=dict(scenario.gateway.network_one_way_s)),
        workload=replace(scenario.workload, warmup_s=0.0), check_invariants=False,
        output=OutputSpec(requests=False, timeseries=False, steps=False, report=False),
    )  # fmt: skip
