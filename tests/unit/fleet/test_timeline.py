from __future__ import annotations

import numpy as np
import pytest

from sim.analysis import price
from sim.errors import ConfigError
from sim.run import simulate
from sim.workload.timeline import load_trace
from tests.laws.test_fleet import a_scenario, a_trace

STEADY = {
    "generator": {
        "duration_s": 400.0,
        "arrivals": {"kind": "poisson", "rate_per_s": 5.0},
        "input_tokens": {"kind": "constant", "tokens": 100},
        "output_tokens": {"kind": "constant", "tokens": 20},
    }
}


def test_changes_of_the_arrivals_are_in_the_trace_where_they_hold() -> None:
    trace = load_trace(
        a_scenario(
            workload=STEADY,
            timeline=[
                {"kind": "context", "at_s": 100.0, "until_s": 200.0, "factor": 2.0},
                {"kind": "output", "at_s": 300.0, "factor": 0.5},
                {"kind": "rate", "at_s": 200.0, "until_s": 300.0, "factor": 3.0},
            ],
        )
    )
    at = trace.arrival_s
    middle = (at >= 100) & (at < 200)
    assert set(trace.input_tokens[middle]) == {200}
    assert set(trace.input_tokens[~middle]) == {100}
    assert set(trace.output_tokens[at >= 300]) == {10}
    per_100_s = np.histogram(at, bins=[0, 100, 200, 300, 400])[0]
    assert per_100_s[2] == pytest.approx(1500, rel=0.15)
    assert per_100_s[[0, 1, 3]] == pytest.approx(500, rel=0.2)


def test_a_price_change_is_in_the_bill_from_its_moment_on() -> None:
    trace = a_trace(100, 2.0, 0)
    plain = simulate(a_scenario(), trace)
    half = plain.end_s / 2
    dearer = simulate(a_scenario(timeline=[{"kind": "price", "at_s": half, "factor": 3.0}]), trace)
    assert price(dearer).usd == pytest.approx(2 * price(plain).usd)
    series = dearer.timeseries
    before, after = (
        series[series["time_s"].between(low, high)]["usd_per_hour"] for low, high in ((1, half - 1), (half + 1, 1e9))
    )
    assert after.iloc[0] == pytest.approx(3 * before.iloc[0])


def test_a_rolling_deploy_replaces_every_replica_and_loses_nothing() -> None:
    scenario = a_scenario(fleet={"replicas": 3}, timeline=[{"kind": "deploy", "at_s": 10.0}])
    result = simulate(scenario, a_trace(600, 4.0, 0))
    assert len(result.replicas) == 6
    assert (result.requests["outcome"] == "completed").all()
    assert result.timeseries["replicas_ready"].min() == 3


def test_a_change_of_a_pool_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"timeline\.0\.pool: there is no pool 'nowhere'"):
        elsewhere = {"kind": "pool_size", "at_s": 1.0, "pool": "nowhere", "replicas": 2}
        simulate(a_scenario(timeline=[elsewhere]), a_trace(5, 1.0, 0))
