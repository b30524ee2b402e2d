"""HPA's rules on numbers computed by hand from kubernetes' horizontal.go and replica_calculator.go."""

from __future__ import annotations

from typing import Any

from sim.fleet.scaling.hpa import HpaV2Scaler, Stabilised, proportional
from sim.fleet.scaling.signals import FleetWindow
from sim.spec.autoscaler import HpaV2


def scaler(**options: Any) -> HpaV2Scaler:
    return HpaV2Scaler(HpaV2(target=10.0, **options))


def at(time_s: float, requests: float, replicas: int) -> FleetWindow:
    return FleetWindow(time_s, replicas, replicas, 0.0, requests, 0.0, 0.0, 0.0, 0.0)


def test_the_tolerance() -> None:
    """4 replicas, target 10: 44 is 1.1 times, within; 44.1 is not, and needs 5; 36 is 0.9, within; 35.9 needs 4."""
    assert [proportional(total, 10.0, 4, 0.1) for total in (44.0, 44.1, 36.0, 35.9, 30.0)] == [4, 5, 4, 4, 3]


def test_it_doubles_every_sync_period() -> None:
    """getReplicasChangePerPeriod counts events after now - 15 s; the one of 15 s ago is over: 6, 12, 24, 48."""
    policy, size, sizes = scaler(), 6, []
    for tick in range(4):
        size = policy.desired(at(15.0 * tick, 10_000.0, size))
        sizes.append(size)
    assert sizes == [12, 24, 48, 96]


def test_within_a_period_what_was_added_counts_against_the_rate() -> None:
    """8 at 0 s may become max(8 + 4, 16) = 16 until 15 s: at 10 s the period's start is 16 - 8 = 8, so 16 again."""
    policy = scaler()
    assert policy.desired(at(0.0, 10_000.0, 8)) == 16
    assert policy.desired(at(10.0, 10_000.0, 16)) == 16
    assert policy.desired(at(15.0, 10_000.0, 16)) == 32


def test_four_pods_are_more_than_double_of_one() -> None:
    policy = scaler()
    assert policy.desired(at(0.0, 10_000.0, 1)) == 5
    assert policy.desired(at(15.0, 10_000.0, 5)) == 10


def test_down_by_a_part_of_what_it_was() -> None:
    """Half a period: 10 -> floor(10 x 0.5) = 5, and until the period is over no further; then 5 -> floor(2.5) = 2."""
    policy = scaler(scale_down_window_s=0.0, down_fraction=0.5)
    assert policy.desired(at(0.0, 0.0, 10)) == 5
    assert policy.desired(at(5.0, 0.0, 5)) == 5
    assert policy.desired(at(15.0, 0.0, 5)) == 2
    assert policy.desired(at(30.0, 0.0, 2)) == 1  # it never scales to zero


def test_the_first_recommendation_is_the_size() -> None:
    windows = Stabilised(up_s=0.0, down_s=300.0)
    assert windows.steady(15.0, wanted=3, current=6) == 6
    assert windows.steady(314.0, wanted=3, current=6) == 6
    assert windows.steady(315.0, wanted=3, current=6) == 3  # 315 - 300: what was said at 15 s is over


def test_down_to_the_highest_of_the_window_and_up_to_its_lowest() -> None:
    down = Stabilised(up_s=0.0, down_s=60.0)
    assert [down.steady(*step) for step in ((0.0, 8, 8), (30.0, 5, 8), (60.0, 3, 8), (90.0, 3, 5))] == [8, 8, 5, 3]
    up = Stabilised(up_s=60.0, down_s=0.0)
    assert [up.steady(*step) for step in ((0.0, 4, 4), (30.0, 9, 4), (60.0, 7, 4), (90.0, 9, 4))] == [4, 4, 7, 7]
