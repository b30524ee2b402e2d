"""What every autoscaler owes: the same windows give the same answers, more load never asks for less, no load lets go, a warm
fleet is left alone within the tolerance, an oversized one shrinks only after the window, a pool of none wakes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from sim.fleet.blueprint import Blueprint
from sim.fleet.scaling.autoscalers import Autoscaler, make_autoscaler
from sim.fleet.scaling.signals import FleetWindow, Latencies
from sim.perf.steady import MeanRequest
from sim.plugins import Plugins
from sim.spec.autoscaler import Autoscaler as AutoscalerSpec
from tests.laws.test_fleet import a_scenario

SCENARIO = a_scenario()
BLUEPRINT = Blueprint("main", SCENARIO.model, SCENARIO.gpu, SCENARIO.engine)
MEAN = MeanRequest(1000.0, 200.0)
PROPORTIONAL = ("tokens_in_flight", "requests_in_flight", "qps", "queue_length", "kv_occupancy", "backlog_s")
KINDS = (*PROPORTIONAL, "hpa_v2", "keda", "knative_kpa", "sla_planner")
FULL = {"tokens_in_flight": 50_000.0, "requests_in_flight": 32.0, "qps": 2.0, "queue_length": 5.0, "kv_occupancy": 0.8}
"""Targets at which a load of 1 fills one replica."""


def policy(kind: str, **options: Any) -> Autoscaler:
    if kind in FULL:
        options.setdefault("target", FULL[kind])
    spec: Any = TypeAdapter(AutoscalerSpec).validate_python({"kind": kind, **options})
    return make_autoscaler(spec, BLUEPRINT, SCENARIO.slo, MEAN, Plugins())


def window(time_s: float, load: float, replicas: int = 4, ready: int | None = None) -> FleetWindow:
    """``load`` replicas' worth of everything."""
    return FleetWindow(
        time_s, replicas, replicas if ready is None else ready, 50_000 * load, 32 * load, 5 * load, 10_000 * load,
        0.8 * load, 2 * load, Latencies(int(30 * load), 1000.0, 200.0, 0.2, 0.02, 4.2),
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
class TestAutoscaler:
    def test_it_is_deterministic(self, kind: str) -> None:
        loads = [1, 8, 8, 3, 0, 0, 5]
        runs = [[p.desired(window(15.0 * i, load)) for i, load in enumerate(loads)] for p in (policy(kind), policy(kind))]
        assert runs[0] == runs[1]

    def test_more_load_never_asks_for_less(self, kind: str) -> None:
        answers = [policy(kind).desired(window(15.0, load)) for load in (0.1, 1, 2, 4, 8, 16, 64)]
        assert answers == sorted(answers)
        assert answers[-1] > 4

    def test_it_lets_go_when_nothing_is_left(self, kind: str) -> None:
        scaler = policy(kind)
        size = 4
        for tick in range(120):
            size = scaler.desired(window(15.0 * tick, 0.0, size))
        assert size <= 1


@pytest.mark.parametrize("kind", [*PROPORTIONAL, "hpa_v2", "keda"])
class TestWhatFollowsHpa:
    def test_a_fleet_whose_size_is_right_within_the_tolerance_is_left_alone(self, kind: str) -> None:
        scaler = policy(kind)
        for tick in range(100):
            load = 6 * (0.91 if tick % 2 else 1.09)
            assert scaler.desired(window(15.0 * tick, load, 6)) == 6

    def test_an_oversized_fleet_shrinks_only_after_the_window(self, kind: str) -> None:
        """The size at the first look is a recommendation too: nothing shrinks for 300 s from it."""
        scaler = policy(kind)
        sizes = [scaler.desired(window(15.0 * tick, 2.0, 6)) for tick in range(1, 22)]
        assert sizes == [6] * 20 + [2]


@pytest.mark.parametrize("kind", [*PROPORTIONAL, "knative_kpa", "keda"])
def test_a_pool_of_none_wakes_for_one_request_that_waits_at_the_gateway(kind: str) -> None:
    scaler = policy(kind)
    idle = window(0.0, 0.0, 0)
    one = FleetWindow(60.0, 0, 0, 30.0, 1.0, 1.0, 30.0, 30 / 200_000, 0.0)
    assert scaler.desired(idle) == 0
    assert scaler.desired(one) == 1
