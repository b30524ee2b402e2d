"""What every autoscaler owes: the same windows give the same answers, more load never asks for less, no load lets go."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from sim.fleet.autoscalers import Autoscaler, make_autoscaler, proportional
from sim.fleet.signals import FleetWindow
from sim.spec.autoscaler import Autoscaler as AutoscalerSpec

KINDS = (
    "tokens_in_flight", "requests_in_flight", "qps", "queue_length", "kv_occupancy", "backlog_s", "hpa_v2", "keda",
    "knative_kpa",
)  # fmt: skip


def policy(kind: str, **options: Any) -> Autoscaler:
    spec: Any = TypeAdapter(AutoscalerSpec).validate_python({"kind": kind, **options})
    return make_autoscaler(spec, kv_tokens=100_000)


def window(time_s: float, load: float, replicas: int = 4) -> FleetWindow:
    return FleetWindow(
        time_s, replicas, replicas, int(50_000 * load), int(32 * load), int(5 * load), int(10_000 * load), 0.8 * load,
        2 * load,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
class TestAutoscaler:
    def test_it_is_deterministic(self, kind: str) -> None:
        loads = [1, 8, 8, 3, 0, 0, 5]
        runs = [[p.desired(window(15.0 * i, load)) for i, load in enumerate(loads)] for p in (policy(kind), policy(kind))]
        assert runs[0] == runs[1]

    def test_more_load_never_asks_for_less(self, kind: str) -> None:
        answers = [policy(kind).desired(window(15.0, load)) for load in (0, 1, 2, 4, 8, 16)]
        assert answers == sorted(answers)
        assert answers[-1] > 4

    def test_it_lets_go_when_nothing_is_left(self, kind: str) -> None:
        scaler = policy(kind)
        size = 4
        for tick in range(120):
            size = scaler.desired(window(15.0 * tick, 0.0, size))
        assert size <= 1


def test_hpa_stays_within_its_tolerance_and_moves_beyond() -> None:
    assert proportional(total=4 * 32 * 1.09, target=32, replicas=4, tolerance=0.1) == 4
    assert proportional(total=4 * 32 * 1.11, target=32, replicas=4, tolerance=0.1) == 5


def test_hpa_goes_down_only_after_its_window_and_up_at_most_doubles() -> None:
    scaler = policy("hpa_v2")
    assert scaler.desired(window(0.0, 100.0, 6)) == 12
    assert scaler.desired(window(15.0, 1.0, 12)) == 12
    assert scaler.desired(window(330.0, 1.0, 12)) == 1


def test_knative_panics_at_twice_its_capacity_and_does_not_shrink_in_panic() -> None:
    scaler = policy("knative_kpa")
    assert scaler.desired(window(0.0, 100.0, 4)) > 100
    assert scaler.desired(window(30.0, 0.0, 143)) == 143


def test_qps_is_blind_to_length_and_tokens_in_flight_is_not() -> None:
    short = window(15.0, 2.0)
    long = short._replace(tokens_in_flight=5 * short.tokens_in_flight)
    assert policy("qps").desired(short) == policy("qps").desired(long)
    assert policy("tokens_in_flight").desired(short) < policy("tokens_in_flight").desired(long)
