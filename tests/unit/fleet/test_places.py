"""A pool regains the size that is wanted, whatever took its servers: the place of one that has gone is filled."""

from __future__ import annotations

from typing import Any

import pytest

from sim.record import Result
from sim.run import simulate
from tests.laws.test_fleet import RETRY, a_scenario, a_trace

SPOT = {"hazard": {"kind": "exponential", "mean_life_h": 0.05}, "notice_s": 20.0}


def times(result: Result, name: str) -> list[float]:
    return [event["time_s"] for event in result.events if event["event"] == name]


@pytest.mark.parametrize("fleet", [{"replicas": 1, "gpu_budget": 1}, {"replicas": 2, "gpu_budget": 2}, {"replicas": 2}])
@pytest.mark.parametrize("replace_on_notice", [True, False])
def test_a_drained_spot_machine_is_replaced_once_it_is_gone(fleet: dict[str, Any], replace_on_notice: bool) -> None:
    scenario = a_scenario(
        fleet={"market": "spot", **fleet}, spot={**SPOT, "replace_on_notice": replace_on_notice}, gateway=RETRY
    )
    result = simulate(scenario, a_trace(500, 0.5, 0))
    assert len(times(result, "spot_notice")) > 2
    assert len(times(result, "requested")) >= len(times(result, "gone")) - 1
    assert times(result, "pool_over") == []
    assert (result.requests["outcome"] == "completed").all()


def test_the_place_of_one_pool_goes_to_another_that_was_refused() -> None:
    pools = {"a": {"replicas": 2, "min_replicas": 0}, "b": {"replicas": 1}}
    timeline = [
        {"kind": "pool_size", "at_s": 10.0, "pool": "b", "replicas": 2},
        {"kind": "pool_size", "at_s": 40.0, "pool": "a", "replicas": 1},
    ]
    result = simulate(a_scenario(fleet={"pools": pools, "gpu_budget": 3}, timeline=timeline), a_trace(200, 2.0, 0))
    (gone,) = times(result, "gone")
    assert times(result, "requested") == [gone]


@pytest.mark.parametrize(("replicas", "unavailable"), [(1, 1), (2, 2)])
def test_a_deploy_that_lets_all_go_at_once_brings_them_back(replicas: int, unavailable: int) -> None:
    timeline = [{"kind": "deploy", "at_s": 10.0, "max_surge": 0, "max_unavailable": unavailable}]
    fleet = {"replicas": replicas, "gpu_budget": replicas}
    result = simulate(a_scenario(fleet=fleet, timeline=timeline), a_trace(200, 2.0, 0))
    assert times(result, "pool_over") == []
    assert len(times(result, "requested")) == replicas
    assert (result.requests["outcome"] == "completed").all()
