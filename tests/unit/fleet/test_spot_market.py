"""What goes with a machine that the market takes: its zone, with its own notice, and all replicas on it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sim.analysis.notes import notes_of
from sim.record import Result
from sim.run import simulate
from tests.conftest import L40S
from tests.laws.test_fleet import RETRY, a_scenario, a_trace

LIFE = {"hazard": {"kind": "exponential", "mean_life_h": 0.02}}


def run(seed: int = 0, fleet: dict[str, Any] | None = None, **spot: Any) -> Result:
    base = {"replicas": 4, "market": "spot", "max_replicas": 4}
    scenario = a_scenario(fleet={**base, **(fleet or {})}, spot={**LIFE, **spot}, gateway=RETRY, seed=seed)
    return simulate(scenario, a_trace(300, 2.0, seed))


def unwarned_at(result: Result, at_s: float) -> set[str]:
    """Replicas whose machine is paid for just before ``at_s``, and that had no notice before."""
    rows = result.replicas
    paid = rows[(rows["billed_start_s"] <= at_s) & (rows["billed_stop_s"] >= at_s)]
    notices = (event for event in result.events if event["event"] == "spot_notice")
    return set(paid["replica"]) - {event["replica"] for event in notices if event["time_s"] < at_s}


@pytest.mark.parametrize("seed", (0, 1, 3, 4))
def test_correlation_one_takes_the_whole_zone_each_with_its_notice(seed: int) -> None:
    result = run(seed, correlation=1.0, notice_s=10.0)
    notices = [event for event in result.events if event["event"] == "spot_notice"]
    causes = Counter(event["cause"] for event in notices)
    assert causes["spot market"] > 0
    for own in (event for event in notices if event["cause"] == "spot market"):
        together = [e for e in notices if e["time_s"] == own["time_s"]]
        assert {e["replica"] for e in together} == unwarned_at(result, own["time_s"])
        assert {e["left_s"] for e in together} == {own["left_s"]}


def test_correlation_without_notice_takes_them_at_once() -> None:
    result = run(correlation=1.0, notice_s=0.0, fleet={"failures": {"detect_s": 0.0}})
    first = min(event["time_s"] for event in result.events if event["event"] == "lost")
    assert sum(event["event"] == "lost" and event["time_s"] == first for event in result.events) == 4


def test_no_correlation_takes_nobody_along_and_a_neighbouring_zone_stays() -> None:
    alone = run(correlation=0.0, notice_s=10.0)
    assert {e["cause"] for e in alone.events if e["event"] == "spot_notice"} == {"spot market"}
    zones = run(correlation=1.0, notice_s=10.0, fleet={"zones": ["a", "b"]})
    notices = [event for event in zones.events if event["event"] == "spot_notice"]
    zone_of = dict(zip(zones.replicas["replica"], zones.replicas["zone"], strict=True))
    assert all(
        len({zone_of[e["replica"]] for e in notices if e["time_s"] == at}) == 1 for at in {e["time_s"] for e in notices}
    )


def test_correlation_crosses_pools() -> None:
    fleet = {"pools": {name: {"replicas": 3, "max_replicas": 3, "market": "spot"} for name in ("a", "b")}}
    scenario = a_scenario(fleet=fleet, spot={**LIFE, "correlation": 1.0, "notice_s": 1.0}, gateway=RETRY)
    result = simulate(scenario, a_trace(300, 2.0, 0))
    notices = [event for event in result.events if event["event"] == "spot_notice"]
    first = notices[0]["time_s"]
    assert {e["replica"] for e in notices if e["time_s"] == first} == {"a-0", "a-1", "a-2", "b-3", "b-4", "b-5"}


def test_a_machine_that_starts_and_is_not_paid_for_goes_with_its_zone() -> None:
    cold = {"provisioning": {"kind": "constant", "seconds": 1.0}, "engine_start": {"kind": "constant", "seconds": 600.0}}
    fleet = {"replicas": 1, "market": "spot", "max_replicas": 4, "billing": {"starts": "ready"}, "cold_start": cold}
    scenario = a_scenario(
        fleet=fleet, spot={**LIFE, "correlation": 1.0, "notice_s": 1.0}, gateway=RETRY,
        timeline=[{"kind": "pool_size", "at_s": 0.0, "replicas": 4}],
    )  # fmt: skip
    result = simulate(scenario, a_trace(300, 2.0, 0))
    notices = [event for event in result.events if event["event"] == "spot_notice"]
    first = notices[0]["time_s"]
    assert first > 5.0
    assert len({e["replica"] for e in notices if e["time_s"] == first}) == 4


def test_machines_that_were_taken_without_notice_are_counted_where_a_run_is_too_short() -> None:
    result = run(seed=1, fleet={"replicas": 1}, notice_s=0.0)
    taken = sum(event["event"] == "lost" for event in result.events)
    assert taken > 0
    assert any(f", {taken} happened" in note for note in notes_of(result))


def test_replicas_on_one_machine_go_together() -> None:
    """Four to a machine: one life, one notice each, one moment."""
    by_four = {**L40S, "price": {**L40S["price"], "instance_gpus": 4}}
    fleet = {"replicas": 4, "market": "spot", "max_replicas": 4}
    scenario = a_scenario(fleet=fleet, spot={**LIFE, "notice_s": 10.0}, gateway=RETRY, gpu=by_four)
    result = simulate(scenario, a_trace(300, 2.0, 0))
    notices = Counter(event["time_s"] for event in result.events if event["event"] == "spot_notice")
    assert notices
    assert set(notices.values()) == {4}
