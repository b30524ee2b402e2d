"""Who knows of a death and when; zones that go out; pools that are over."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from sim.analysis.laws import violations
from sim.errors import ConfigError
from sim.record import Result
from sim.run import simulate
from tests.laws.test_fleet import RETRY, a_scenario, a_trace

ROUND_ROBIN = {"router": {"kind": "round_robin"}}
LOSS = {"kind": "replica_loss", "at_s": 20.0}


def lost(detect_s: float, gateway: dict[str, Any], **changes: Any) -> Result:
    fleet = {"replicas": 2, "failures": {"detect_s": detect_s}, **changes}
    return simulate(a_scenario(fleet=fleet, gateway=gateway, timeline=[LOSS]), a_trace(300, 4.0, 0))


def failed_between(result: Result, start_s: float, stop_s: float) -> tuple[int, int]:
    """Requests that arrived in between, and how many of them failed."""
    came = result.requests[result.requests["arrival_s"].between(start_s, stop_s)]
    return len(came), int((came["outcome"] == "failed").sum())


def test_round_robin_loses_half_until_the_death_is_known_and_nothing_after() -> None:
    result = lost(30.0, ROUND_ROBIN)
    came, failed = failed_between(result, 20.01, 49.99)
    assert abs(failed - came / 2) <= 1
    assert failed_between(result, 50.01, 1e9)[1] == 0
    assert violations(result) == []


def test_a_death_that_is_known_at_once_costs_only_what_was_in_it() -> None:
    result = lost(0.0, ROUND_ROBIN)
    assert failed_between(result, 20.01, 1e9)[1] == 0


def test_the_least_loaded_replica_is_the_dead_one() -> None:
    """What refuses at once holds nothing, so a router that looks at load alone sends everything to it."""
    came, failed = failed_between(lost(30.0, {}), 20.01, 49.99)
    assert failed > 0.8 * came


def test_a_retry_that_avoids_nobody_needs_luck_and_round_robin_has_it() -> None:
    result = lost(30.0, {**ROUND_ROBIN, **RETRY})
    assert (result.requests["outcome"] == "completed").all()
    assert result.gateway["retries"] > 0


def test_a_machine_that_the_market_took_without_notice_is_dead_unbilled_and_undetected() -> None:
    spot = {"hazard": {"kind": "exponential", "mean_life_h": 0.02}, "notice_s": 0.0}
    fleet = {"replicas": 2, "market": "spot", "failures": {"detect_s": 15.0}}
    result = simulate(a_scenario(fleet=fleet, spot=spot, gateway=RETRY), a_trace(300, 2.0, 0))
    taken = {event["replica"]: event["time_s"] for event in result.events if event["event"] == "lost"}
    gone = {event["replica"]: event["time_s"] for event in result.events if event["event"] == "gone"}
    assert taken
    for row in result.replicas.to_dict("records"):
        if row["replica"] in gone:
            assert row["billed_stop_s"] == taken[row["replica"]]
            assert gone[row["replica"]] == pytest.approx(taken[row["replica"]] + 15.0)
            assert row["dead_s"] == 0.0
    assert violations(result) == []


# -- zones -------------------------------------------------------------------------------------------------------------


def test_a_zone_outage_takes_every_market_and_the_rest_goes_elsewhere() -> None:
    pools = {
        "owned": {"replicas": 2, "zones": ["a", "b"]},
        "spot": {"replicas": 2, "zones": ["a", "b"], "market": "spot"},
    }
    outage = {"kind": "zone_loss", "at_s": 20.0, "zone": "a", "until_s": 90.0}
    scenario = a_scenario(fleet={"pools": pools, "failures": {"detect_s": 5.0}}, timeline=[outage], gateway=RETRY)
    result = simulate(scenario, a_trace(500, 4.0, 0))
    down = result.replicas[result.replicas["stopped_s"] < result.end_s]
    assert set(down["zone"]) == {"a"}
    assert set(down["pool"]) == {"owned", "spot"}
    assert (down["billed_stop_s"] == 20.0).all()
    assert (down["stopped_s"] == 25.0).all()
    after = result.replicas[result.replicas["requested_s"] > 20.0]
    assert set(after["zone"]) == {"b"}
    assert [e["event"] for e in result.events if e["event"].startswith("zone_")] == ["zone_outage", "zone_back"]


def test_an_engine_that_was_to_restart_does_so_nowhere_when_its_zone_went_out_meanwhile() -> None:
    """It dies at 18 s and is missed at 28 s; its zone has been out since 20 s, so a machine is asked for in the other."""
    timeline = [
        {"kind": "replica_loss", "at_s": 18.0, "repair": "restart"},
        {"kind": "zone_loss", "at_s": 20.0, "zone": "a", "until_s": 200.0},
    ]
    fleet = {"pools": {"main": {"replicas": 1, "zones": ["a", "b"]}}, "failures": {"detect_s": 10.0}}
    result = simulate(a_scenario(fleet=fleet, timeline=timeline, gateway=RETRY), a_trace(300, 2.0, 0))
    assert list(result.replicas["zone"]) == ["a", "b"]
    assert result.replicas["requested_s"].iloc[1] == 28.0
    assert violations(result) == []


def test_nothing_comes_up_while_its_only_zone_is_out() -> None:
    outage = {"kind": "zone_loss", "at_s": 10.0, "zone": "zone_a", "until_s": 150.0}
    cold = {"provisioning": {"kind": "constant", "seconds": 5.0}, "stockout_retry_s": 10.0}
    fleet = {"replicas": 1, "cold_start": cold, "failures": {"detect_s": 0.0}}
    result = simulate(a_scenario(fleet=fleet, timeline=[outage]), a_trace(100, 2.0, 0))
    assert {e["cause"] for e in result.events if e["event"] == "stock_out"} == {"zone outage"}
    assert min(e["time_s"] for e in result.events if e["event"] == "ready") > 150.0


def test_a_machine_on_its_way_does_not_come_up_in_a_zone_that_has_gone_out() -> None:
    timeline = [
        {"kind": "pool_size", "at_s": 5.0, "replicas": 3},
        {"kind": "zone_loss", "at_s": 10.0, "zone": "zone_a", "until_s": 150.0},
    ]
    cold = {"provisioning": {"kind": "constant", "seconds": 20.0}, "stockout_retry_s": 10.0}
    result = simulate(a_scenario(fleet={"replicas": 1, "cold_start": cold}, timeline=timeline), a_trace(100, 2.0, 0))
    ready = [e["time_s"] for e in result.events if e["event"] == "ready"]
    assert ready
    assert min(ready) > 150.0


def test_zones_fail_at_random_and_come_back() -> None:
    failures = {"zone_mtbf_h": 0.02, "zone_outage_s": 10.0, "detect_s": 1.0}
    runs = [
        simulate(a_scenario(fleet={"replicas": 2, "failures": failures}, gateway=RETRY, seed=3), a_trace(400, 2.0, 0))
        for _ in range(2)
    ]
    outages = [event["time_s"] for event in runs[0].events if event["event"] == "zone_outage"]
    assert outages
    assert runs[0].events == runs[1].events
    assert violations(runs[0]) == []


def test_a_zone_that_no_pool_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"timeline\.0\.zone: no pool stands in 'b'; zones are zone_a"):
        simulate(a_scenario(timeline=[{"kind": "zone_loss", "at_s": 1.0, "zone": "b"}]), a_trace(5, 1.0, 0))


# -- a fleet that can never serve again --------------------------------------------------------------------------------


@pytest.mark.parametrize("detect_s", [0.0, 30.0])
def test_open_requests_fail_when_nothing_can_become_ready_with_and_without_time_series(detect_s: float) -> None:
    loss = {"kind": "replica_loss", "at_s": 5.0, "repair": "none"}
    fleet = {"replicas": 1, "failures": {"detect_s": detect_s}}
    results = [
        simulate(a_scenario(fleet=fleet, timeline=[loss], output={"timeseries": on}), a_trace(100, 2.0, 0))
        for on in (True, False)
    ]
    first, second = results
    pd.testing.assert_frame_equal(first.requests, second.requests)
    assert first.end_s == second.end_s < 60.0
    assert first.events == second.events
    assert [e["time_s"] for e in first.events if e["event"] == "pool_over"] == [5.0 + detect_s]
    late = first.requests[first.requests["arrival_s"] > 5.0 + detect_s]
    assert set(late["reason"].astype(str)) == {"no_replica"}


@pytest.mark.parametrize("autoscaler", [{"kind": "none"}, {"kind": "hpa_v2", "target": 4.0}])
@pytest.mark.parametrize("detect_s", [0.0, 15.0])
def test_open_requests_fail_when_every_zone_is_out_for_good(autoscaler: dict[str, Any], detect_s: float) -> None:
    fleet = {"replicas": 2, "zones": ["a", "b"], "failures": {"detect_s": detect_s}}
    timeline = [{"kind": "zone_loss", "at_s": at_s, "zone": zone} for at_s, zone in ((5.0, "a"), (25.0, "b"))]
    result = simulate(a_scenario(fleet=fleet, timeline=timeline, autoscaler=autoscaler), a_trace(100, 2.0, 0))
    assert [e["time_s"] for e in result.events if e["event"] == "pool_over"] == [25.0 + detect_s]
    assert result.end_s < 100.0


def test_open_requests_fail_where_an_autoscaler_may_start_nobody() -> None:
    fleet = {"replicas": 0, "min_replicas": 0, "max_replicas": 0}
    scenario = a_scenario(fleet=fleet, autoscaler={"kind": "tokens_in_flight", "target": 4000.0})
    result = simulate(scenario, a_trace(100, 2.0, 0))
    assert set(result.requests["reason"].astype(str)) == {"no_replica"}
    assert result.end_s < 100.0


def test_who_waits_at_the_gateway_fails_at_that_moment() -> None:
    """Both die at once; of those that wait for a place some have waited for long."""
    loss = {"kind": "replica_loss", "at_s": 5.0, "repair": "none", "count": 2}
    fleet = {"replicas": 2, "failures": {"detect_s": 0.0}}
    scenario = a_scenario(fleet=fleet, timeline=[loss], gateway={"queue": {"max_in_flight": 1}})
    result = simulate(scenario, a_trace(60, 10.0, 0))
    open_then = result.requests[(result.requests["arrival_s"] < 5.0) & (result.requests["finish_s"] >= 5.0)]
    assert (open_then["finish_s"] == 5.0).all()
    assert len(open_then) > 5


def test_a_pool_that_gets_a_size_later_is_waited_for() -> None:
    later = [{"kind": "pool_size", "at_s": 30.0, "replicas": 1}]
    result = simulate(a_scenario(fleet={"replicas": 0, "min_replicas": 0}, timeline=later), a_trace(40, 2.0, 0))
    assert (result.requests["outcome"] == "completed").all()
    assert result.requests["ttft_s"].max() > 20.0


def test_the_only_replica_comes_back_to_a_queue_behind_a_limit() -> None:
    """Who waits is sent at the moment at which it joins, by an index that must know of it by then."""
    scenario = a_scenario(
        fleet={"replicas": 1, "failures": {"detect_s": 0.0}},
        timeline=[{"kind": "replica_loss", "at_s": 5.0}],
        gateway={"queue": {"max_in_flight": 1}, "router": {"kind": "random"}, **RETRY},
    )
    result = simulate(scenario, a_trace(60, 2.0, 0))
    assert (result.requests["outcome"] == "completed").all()
    assert violations(result) == []
