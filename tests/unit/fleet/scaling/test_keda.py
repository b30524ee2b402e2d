"""KEDA by hand: polls between none and one (scale_scaledobjects.go), Kubernetes' rates and windows above."""

from __future__ import annotations

from typing import Any

from sim.fleet.scaling.keda import KedaScaler
from sim.fleet.scaling.signals import FleetWindow
from sim.spec.autoscaler import Keda


def scaler(**options: Any) -> KedaScaler:
    return KedaScaler(Keda(target=5.0, **options))


def at(time_s: float, waiting: float, replicas: int) -> FleetWindow:
    return FleetWindow(time_s, replicas, replicas, 0.0, waiting, waiting, 0.0, 0.0, 0.0)


def test_from_one_it_grows_as_the_hpa_does_and_not_in_one_step() -> None:
    """320 waiting / 5 = 64 wanted: 1 -> 5 (four pods) -> 10 -> 20 -> 40 -> 64."""
    policy, size, sizes = scaler(), 1, []
    for tick in range(1, 6):
        size = policy.desired(at(15.0 * tick, 320.0, size))
        sizes.append(size)
    assert sizes == [5, 10, 20, 40, 64]


def test_the_first_replica_comes_at_a_poll() -> None:
    """Polls at 15 and 45 s: what comes at 20 s is seen at 45 s, and gets one replica, not what the HPA would say."""
    policy = scaler()
    assert policy.desired(at(15.0, 0.0, 0)) == 0
    assert policy.desired(at(30.0, 320.0, 0)) == 0
    assert policy.desired(at(45.0, 320.0, 0)) == 1


def test_none_are_kept_once_the_cooldown_is_over() -> None:
    """Active at the poll of 30 s; 30 + 300 must lie before now: not at 330 s, but at the poll of 360 s."""
    policy = scaler()
    assert policy.desired(at(30.0, 5.0, 1)) == 1
    sizes = [policy.desired(at(15.0 * tick, 0.0, 1)) for tick in range(3, 25)]
    assert sizes == [1] * 21 + [0]


def test_a_trigger_at_its_activation_is_not_active() -> None:
    policy = scaler(activation=3.0)
    assert policy.desired(at(0.0, 3.0, 0)) == 0
    assert policy.desired(at(30.0, 4.0, 0)) == 1
