"""Knative's KPA by hand from knative/serving autoscaler.go: target 10 at 70 % = 7 requests in flight a pod."""

from __future__ import annotations

from typing import Any

from sim.fleet.scaling.knative import KnativeScaler
from sim.fleet.scaling.signals import FleetWindow
from sim.spec.autoscaler import KnativeKpa


def scaler(**options: Any) -> KnativeScaler:
    return KnativeScaler(KnativeKpa(target=10.0, **options))


def at(time_s: float, requests: float, ready: int) -> FleetWindow:
    return FleetWindow(time_s, ready, ready, 0.0, requests, 0.0, 0.0, 0.0, 0.0)


def test_the_numbers_are_knatives() -> None:
    spec = KnativeKpa()
    assert (spec.stable_window_s, spec.stable_window_s * spec.panic_window_fraction) == (60.0, 6.0)
    assert (spec.panic_threshold, spec.max_scale_up_rate, spec.max_scale_down_rate) == (2.0, 1000.0, 2.0)
    assert (spec.target_utilization, spec.scale_to_zero_grace_s, spec.interval_s) == (0.7, 30.0, 2.0)


def test_the_stable_window_is_a_mean() -> None:
    """One pod, 14 then 7 in flight: ceil(14 / 7) = 2 would be twice what is ready: panic. 7 then 10: ceil(8.5 / 7) = 2."""
    policy = scaler(panic_threshold=3.0)
    assert policy.desired(at(0.0, 7.0, 1)) == 1
    assert policy.desired(at(2.0, 10.0, 1)) == 2


def test_panic_begins_at_twice_what_is_ready_and_never_goes_down() -> None:
    policy = scaler()
    assert policy.desired(at(0.0, 7.0, 1)) == 1
    for tick in range(1, 30):  # a minute of calm, so that the stable window knows it
        policy.desired(at(2.0 * tick, 7.0, 1))
    assert policy.desired(at(60.0, 70.0, 1)) == 4  # the panic window has 7, 7 and 70: mean 28 = 4 pods, the stable one 2
    assert policy.desired(at(62.0, 70.0, 1)) == 7  # 7, 70, 70: mean 49
    assert policy.desired(at(64.0, 0.0, 7)) == 7  # ... and no less while it lasts


def test_panic_is_over_once_a_stable_window_has_passed() -> None:
    policy = scaler()
    assert policy.desired(at(0.0, 70.0, 1)) == 10
    assert policy.desired(at(60.0, 7.0, 10)) == 10  # 0 + 60 s is not before 60 s
    assert policy.desired(at(62.0, 7.0, 10)) == 5  # 1 would do, but at most half goes at once


def test_a_fleet_of_several_begins_in_panic_and_keeps_its_size() -> None:
    policy = scaler()
    sizes = [policy.desired(at(2.0 * tick, 0.0, 6)) for tick in range(32)]
    assert sizes == [6] * 31 + [3]


def test_the_last_pod_stays_for_the_stable_window_and_the_grace() -> None:
    """Busy until 10 s: the window is empty from 70 s on, the grace ends 90 s after the last sample that knew a request."""
    policy = scaler()
    for tick in range(6):
        policy.desired(at(2.0 * tick, 1.0, 1))
    kept = [t for t in range(12, 140, 2) if policy.desired(at(float(t), 0.0, 1))]
    assert kept[-1] == 96  # the samples of 10 s leave the window at 70 s; 68 s + 30 s of grace


def test_a_thousand_times_what_is_ready_at_most() -> None:
    assert scaler().desired(at(0.0, 70_000.0, 1)) == 1000
