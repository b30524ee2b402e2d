"""Rolling deploys by the rule of Kubernetes' Deployments: at most wanted + surge there, at least wanted - unavailable ready."""

from __future__ import annotations

from typing import Any

import pytest

from sim.analysis import price, summarize
from sim.errors import ConfigError
from sim.record import Result
from sim.report.run_page import run_page
from sim.run import simulate
from tests.laws.test_fleet import RETRY, a_scenario, a_trace


def deployed(budget: int | None = None, fleet: dict[str, Any] | None = None, **change: Any) -> Result:
    timeline = [{"kind": "deploy", "at_s": 10.0, **change}]
    base = {"replicas": 3, "gpu_budget": budget, **(fleet or {})}
    return simulate(a_scenario(fleet=base, timeline=timeline, gateway=RETRY), a_trace(900, 4.0, 0))


def events(result: Result, name: str) -> list[dict[str, Any]]:
    return [event for event in result.events if event["event"] == name]


def standing(result: Result) -> int:
    """Most replicas that existed at once."""
    rows = result.replicas
    times = rows["requested_s"].to_numpy()
    return max(int(((rows["requested_s"] <= t) & (rows["stopped_s"] > t)).sum()) for t in times)


@pytest.mark.parametrize(
    ("change", "most", "fewest"),
    [
        pytest.param({"max_surge": 1}, 4, 3, id="one_more_none_missing"),
        pytest.param({"max_surge": 2}, 5, 3, id="two_more"),
        pytest.param({"max_surge": 0, "max_unavailable": 1}, None, 2, id="one_missing"),
        pytest.param({"max_surge": 1, "max_unavailable": 1}, None, 2, id="both"),
    ],
)
def test_a_deploy_keeps_to_its_bounds_and_replaces_everybody(change: dict[str, Any], most: int | None, fewest: int) -> None:
    result = deployed(**change)
    assert len(result.replicas) == 6
    assert (result.requests["outcome"] == "completed").all()
    assert result.timeseries["replicas_ready"].min() == fewest
    assert result.timeseries["replicas_ready"].max() <= 3 + change["max_surge"]
    if most is not None:
        assert standing(result) <= most + 1  # who drains is there a little longer
    assert len(events(result, "deploy_done")) == 1
    assert not events(result, "deploy_stuck")


def test_without_spare_gpus_a_deploy_with_unavailability_goes_on_in_the_places_of_the_old() -> None:
    result = deployed(budget=3, max_surge=1, max_unavailable=1)
    assert len(result.replicas) == 6
    assert standing(result) == 3
    assert len(events(result, "deploy_done")) == 1
    assert summarize(result)["slo"]["notes"] == []


def test_without_spare_gpus_and_none_missing_it_is_stuck_and_says_so_everywhere() -> None:
    result = deployed(budget=3, max_surge=1)
    assert len(result.replicas) == 3
    (stuck,) = events(result, "deploy_stuck")
    assert stuck["time_s"] == 10.0
    assert (stuck["replicas_left"], stuck["gpus_needed"]) == (3, 1)
    assert len(result.events) < 5  # and not 3,500 refusals an hour
    (note,) = summarize(result)["slo"]["notes"]
    assert note.startswith("The deploy of pool main was stuck at 10 s with 3 replicas of the old version left")
    assert note.endswith("it never finished.")
    assert "was stuck at 10 s" in run_page(result, summarize(result), price(result))


def test_a_stuck_deploy_goes_on_when_there_is_room() -> None:
    scenario = a_scenario(
        fleet={"replicas": 3, "gpu_budget": 3}, gateway=RETRY,
        timeline=[{"kind": "deploy", "at_s": 10.0}, {"kind": "pool_size", "at_s": 60.0, "replicas": 2}],
    )  # fmt: skip
    result = simulate(scenario, a_trace(600, 4.0, 0))
    assert len(events(result, "deploy_stuck")) == len(events(result, "deploy_done")) == 1
    assert summarize(result)["slo"]["notes"][0].endswith("it went on later.")


def test_a_deploy_is_done_when_its_last_new_replica_is_ready() -> None:
    result = deployed(budget=3, max_surge=0, max_unavailable=1)
    (done,) = events(result, "deploy_done")
    assert done["time_s"] >= max(event["time_s"] for event in events(result, "ready"))


def test_a_second_deploy_that_is_stuck_is_not_the_first_that_went_through() -> None:
    timeline = [{"kind": "deploy", "at_s": 10.0, "max_unavailable": 1}, {"kind": "deploy", "at_s": 200.0}]
    scenario = a_scenario(fleet={"replicas": 3, "gpu_budget": 3}, gateway=RETRY, timeline=timeline)
    result = simulate(scenario, a_trace(900, 3.0, 0))
    (note,) = summarize(result)["slo"]["notes"]
    assert "was stuck at 200 s" in note
    assert note.endswith("it never finished.")


def test_a_deploy_beside_a_death_that_nobody_knows_of_yet_is_not_stuck() -> None:
    timeline = [{"kind": "replica_loss", "at_s": 9.0}, {"kind": "deploy", "at_s": 10.0}]
    fleet = {"replicas": 1, "failures": {"detect_s": 30.0}}
    result = simulate(a_scenario(fleet=fleet, gateway=RETRY, timeline=timeline), a_trace(300, 3.0, 0))
    assert not events(result, "deploy_stuck")
    assert len(events(result, "deploy_done")) == 1


def test_an_old_version_does_not_go_to_sleep() -> None:
    result = deployed(fleet={"warm_replicas": 1})
    old = {event["replica"] for event in events(result, "gone")}
    assert old == {"main-0", "main-1", "main-2", "main-3"}


def test_a_deploy_leaves_as_many_asleep_as_there_were() -> None:
    timeline = [{"kind": "deploy", "at_s": 10.0}, {"kind": "pool_size", "at_s": 200.0, "replicas": 3}]
    fleet = {"replicas": 2, "warm_replicas": 1}
    result = simulate(a_scenario(fleet=fleet, gateway=RETRY, timeline=timeline), a_trace(900, 3.0, 0))
    assert len(result.replicas) == 6
    assert not [event for event in events(result, "requested") if event["time_s"] >= 200.0]
    assert min(event["time_s"] for event in events(result, "ready") if event["time_s"] >= 200.0) < 210.0


def test_a_warm_replica_comes_back_once_there_is_room_for_it() -> None:
    """The other pool takes the GPU of the warm one that the deploy hands back, and gives it up at 300 s."""
    pools = {"main": {"replicas": 2, "warm_replicas": 1}, "other": {"replicas": 1}}
    timeline = [
        {"kind": "deploy", "at_s": 10.0, "pool": "main", "max_surge": 0, "max_unavailable": 1},
        {"kind": "pool_size", "at_s": 10.5, "pool": "other", "replicas": 2},
        {"kind": "pool_size", "at_s": 300.0, "pool": "other", "replicas": 1},
    ]
    fleet = {"pools": pools, "gpu_budget": 4}
    result = simulate(a_scenario(fleet=fleet, gateway=RETRY, timeline=timeline), a_trace(1500, 3.0, 0))
    done = events(result, "deploy_done")[0]["time_s"]
    late = [e["time_s"] for e in events(result, "requested") if e["pool"] == "main" and e["time_s"] > done]
    assert done < 250.0
    assert len(late) == 1
    assert 300.0 <= late[0] < 330.0


def test_nothing_more_and_nothing_missing_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_surge \\+ max_unavailable >= 1"):
        a_scenario(timeline=[{"kind": "deploy", "at_s": 1.0, "max_surge": 0}])
