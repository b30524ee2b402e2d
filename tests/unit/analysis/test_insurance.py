"""The perfect, the configured and the static peak fleet: their order, and the closed form they are sized by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.analysis import summarize
from sim.analysis.insurance import insurance, perfect_replicas
from sim.analysis.steady import steady_replica
from sim.cli.compose import composed_scenario
from sim.perf.steady import POOLED
from sim.record.result import Result
from sim.run import simulate
from sim.spec import Scenario
from sim.workload import Trace


def steady_trace(rate_per_s: float, duration_s: float) -> Trace:
    """Equal requests at equal distances."""
    n = int(rate_per_s * duration_s)
    return Trace(
        arrival_s=(np.arange(n) + 0.5) / rate_per_s, input_tokens=np.full(n, 600), output_tokens=np.full(n, 120)
    )


def scaled(**fleet: object) -> Scenario:
    scenario = composed_scenario(["autoscaler=requests_in_flight", "autoscaler.target=16", "output.timeseries=false"])
    return replace(scenario, fleet=replace(scenario.fleet, **{"replicas": 2, "max_replicas": 12, **fleet}))


def ran(trace: Trace, **fleet: object) -> Result:
    return simulate(scaled(**fleet), trace)


def test_steady_demand_needs_no_foresight() -> None:
    result = ran(steady_trace(6.0, 600.0))
    found = insurance(result)
    assert found["perfect_usd"] == pytest.approx(found["static_peak_usd"])
    assert found["perfect_replicas_max"] == found["perfect_replicas_mean"]


def test_the_perfect_fleet_is_what_the_closed_form_says() -> None:
    scenario = scaled()
    rate = POOLED * steady_replica(scenario, 600.0, 120.0).rate_per_s
    result = ran(steady_trace(2.5 * rate, 240.0))
    assert set(perfect_replicas(result)[:-1]) == {3.0}
    assert insurance(result)["requests_per_s_per_replica"] == pytest.approx(rate)


def test_bursts_cost_the_static_fleet_more_than_the_perfect_one() -> None:
    quiet, burst = steady_trace(1.0, 600.0), steady_trace(30.0, 120.0)
    arrivals = np.concatenate([quiet.arrival_s, 300.0 + burst.arrival_s])
    order = np.argsort(arrivals)
    n = len(arrivals)
    trace = Trace(arrival_s=arrivals[order], input_tokens=np.full(n, 600), output_tokens=np.full(n, 120))
    found = insurance(ran(trace))
    assert found["perfect_usd"] < 0.6 * found["static_peak_usd"]
    assert found["perfect_replicas_max"] > 2 * found["perfect_replicas_mean"]


def test_more_replicas_raise_the_configured_bill_alone() -> None:
    trace = steady_trace(2.0, 600.0)
    few, many = insurance(ran(trace, min_replicas=2)), insurance(ran(trace, replicas=8, min_replicas=8))
    assert many["configured_usd"] > 2 * few["configured_usd"]
    assert many["perfect_usd"] == pytest.approx(few["perfect_usd"])


def test_a_summary_has_them_where_the_fleet_scales() -> None:
    trace = steady_trace(2.0, 120.0)
    assert "insurance" in summarize(ran(trace))
    static = composed_scenario(["fleet.replicas=2", "output.timeseries=false"])
    assert "insurance" not in summarize(simulate(static, trace))
