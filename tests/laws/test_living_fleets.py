"""Laws of fleets that live, whatever lives in them: who gets requests, and when a fleet may shrink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis.laws import violations
from sim.fleet.scaling.hpa import ProportionalScaler
from sim.fleet.scaling.signals import FleetWindow
from sim.run import simulate
from sim.spec import Scenario
from sim.spec.gateway.routing import PluginRouter
from tests.conftest import L40S
from tests.laws.test_fleet import DEEP, a_trace, living_fleets

WINDOW_S, INTERVAL_S, TARGET, TOLERANCE = 60.0, 15.0, 10.0, 0.1
LOADS = st.lists(st.floats(0, 400), min_size=1, max_size=40)


class Suspicious:
    """Takes the first that is offered, and remembers in what state all were."""

    seen: set[str]

    def __init__(self) -> None:
        Suspicious.seen = set()

    def choose(self, request: Any, servers: Sequence[Any]) -> Any:
        self.seen.update(server.state for server in servers)
        return servers[0]


@settings(max_examples=1000 if DEEP else 30)
@given(living_fleets(), st.integers(0, 3))
def test_nobody_is_sent_to_a_server_that_drains_or_whose_death_is_known(scenario: Scenario, seed: int) -> None:
    """Ready ones are offered, and dead ones as long as nobody has noticed: with detect_s = 0 never."""
    watched = replace(scenario, gateway=replace(scenario.gateway, router=PluginRouter(name="suspicious")))
    simulate(watched, a_trace(100, 3.0, seed), policies={"suspicious": Suspicious})
    assert Suspicious.seen <= {"ready", "dead"}
    if not scenario.fleet.failures.detect_s:
        assert Suspicious.seen <= {"ready"}


@settings(max_examples=500 if DEEP else 15)
@given(living_fleets(), st.integers(0, 3))
def test_the_books_balance_where_replicas_share_machines_too(scenario: Scenario, seed: int) -> None:
    shared = replace(scenario.gpu, price=replace(scenario.gpu.price, instance_gpus=4))
    result = simulate(replace(scenario, gpu=shared), a_trace(100, 3.0, seed))
    assert violations(result) == []
    assert len(result.requests) == 100
    assert scenario.gpu.name == L40S["name"]


def scaled(loads: Sequence[float], size: int) -> list[tuple[float, int, int]]:
    """``(time_s, size before, size asked for)`` of a pool that gets what it asks for at once."""
    scaler = ProportionalScaler("requests_in_flight", TARGET, TOLERANCE, 0.0, WINDOW_S)
    steps = []
    for tick, load in enumerate(loads, start=1):
        now = INTERVAL_S * tick
        asked = scaler.desired(FleetWindow(now, size, size, 0.0, load, 0.0, 0.0, 0.0, 0.0))
        steps.append((now, size, asked))
        size = asked
    return steps


def recommended(load: float, size: int) -> int:
    """HPA's rule, naively."""
    if size and 1 - TOLERANCE <= load / (size * TARGET) <= 1 + TOLERANCE:
        return size
    return -int(-(load - 1e-8) // TARGET) if load > 1e-8 else 0


@given(LOADS, st.integers(0, 40))
def test_a_fleet_shrinks_to_the_highest_recommendation_of_the_window_and_never_below(loads: list[float], size: int) -> None:
    """Restated naively: every recommendation since now - window, the size at the first look among them."""
    steps = scaled(loads, size)
    past = [(INTERVAL_S, size)]
    for (now, before, asked), load in zip(steps, loads, strict=True):
        wanted = recommended(load, before)
        highest = max([n for time_s, n in past if time_s > now - WINDOW_S] + [wanted])
        past.append((now, wanted))
        if asked < before:
            assert asked == max(min(before, highest), wanted)
        assert asked >= min(before, highest)


@given(st.lists(st.floats(0.901, 1.099), min_size=1, max_size=40), st.integers(1, 40))
def test_a_fleet_never_scales_while_its_size_is_right_within_the_tolerance(factors: list[float], size: int) -> None:
    steps = scaled([factor * size * TARGET for factor in factors], size)
    assert {asked for _, _, asked in steps} == {size}


@given(st.lists(st.floats(0, 0.8), min_size=1, max_size=40), st.integers(5, 40))
def test_an_oversized_fleet_shrinks_only_after_the_window(shares: list[float], size: int) -> None:
    steps = scaled([share * size * TARGET for share in shares], size)
    for now, before, asked in steps:
        if now < INTERVAL_S + WINDOW_S:
            assert (before, asked) == (size, size)


@pytest.mark.parametrize("size", [1, 7])
def test_it_grows_at_once(size: int) -> None:
    assert scaled([size * TARGET * 3], size)[0][2] == 3 * size
