"""The searches find what an exhaustive walk finds, and ask for few points."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.perf.steady import POOLED
from sim.search import Point, feasible_caps, fewest_replicas, highest_load, refined_caps
from sim.search.guess import guessed_replicas

LIMITS = {"ttft_p95_s": 2.0, "tpot_p95_s": 0.1}


class Queue:
    """A monotone stand-in for a simulation: a fleet of ``replicas`` holds loads up to ``capacity`` each."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.asked: list[tuple[int, float]] = []

    def __call__(self, *, replicas: int, rate_scale: float) -> Point:
        self.asked.append((replicas, rate_scale))
        use = rate_scale / (self.capacity * replicas)
        holds = use <= 1
        return Point(
            replicas=replicas, rate_scale=rate_scale, verdict="pass" if holds else "fail",
            attained={"ttft_p95_s": 2 * use, "tpot_p95_s": 0.05}, targets=LIMITS,
            missed=() if holds else ("ttft_p95_s",),
        )  # fmt: skip


@given(capacity=st.floats(0.01, 3), start=st.integers(1, 200), high=st.integers(1, 100))
def test_fewest_replicas_equals_the_exhaustive_walk(capacity: float, start: int, high: int) -> None:
    queue = Queue(capacity)
    found = fewest_replicas(queue, low=1, high=high, start=start)
    walk = next((n for n in range(1, high + 1) if Queue(capacity)(replicas=n, rate_scale=1.0).holds), None)
    assert (found.best.replicas if found.best else None) == walk
    assert len(queue.asked) == len(set(queue.asked)) <= 2 * math.log2(high + 1) + 3
    if walk is not None and walk > 1:
        assert (walk - 1, 1.0) in queue.asked  # the neighbour below was run and failed
    if walk is None:
        assert found.nearest.replicas == high


@given(capacity=st.floats(0.05, 1))
def test_a_good_guess_costs_two_runs(capacity: float) -> None:
    answer = math.ceil(1 / capacity)
    queue = Queue(capacity)
    fewest_replicas(queue, low=1, high=64, start=answer)
    assert len(queue.asked) <= 2


@given(load=st.floats(0.1, 500), alone=st.floats(0.1, 2), shared=st.floats(1, 3))
def test_the_guess_from_one_replica_lies_between_what_it_and_the_fleet_would_say(
    load: float, alone: float, shared: float
) -> None:
    ceiling = alone * shared
    found = guessed_replicas(load, ceiling * POOLED, alone)
    assert math.floor(load / ceiling) <= found <= math.ceil(load / alone)
    assert guessed_replicas(2 * load, ceiling * POOLED, alone) >= found
    assert guessed_replicas(load, ceiling * POOLED, None) == math.ceil(load / (ceiling * POOLED))


def test_a_count_that_holds_by_an_anomaly_is_passed_over() -> None:
    tightness = {1: 3.0, 2: 2.0, 3: 0.9, 4: 2.5, 5: 0.8, 6: 0.7, 7: 0.6, 8: 0.5}

    def evaluate(*, replicas: int, rate_scale: float) -> Point:
        point = Queue(1.0)(replicas=replicas, rate_scale=rate_scale * tightness[replicas] * replicas)
        return replace(point, replicas=replicas, rate_scale=rate_scale)

    found = fewest_replicas(evaluate, low=1, high=8, start=4)
    assert found.best is not None and found.best.replicas == 5
    straight = fewest_replicas(evaluate, low=1, high=3, start=3)
    assert straight.best is not None and straight.best.replicas == 3


@given(capacity=st.floats(0.01, 50), start=st.floats(0.001, 500), tolerance=st.floats(0.005, 0.2))
def test_highest_load_is_within_tolerance_and_was_run(capacity: float, start: float, tolerance: float) -> None:
    queue = Queue(capacity)
    found = highest_load(queue, replicas=1, start=start, tolerance=tolerance)
    assert found.best is not None
    assert capacity / (1 + tolerance) * (1 - 1e-9) <= found.best.rate_scale <= capacity
    assert (1, found.best.rate_scale) in queue.asked


@pytest.mark.parametrize(("low", "high"), [(2.0, 4.0), (0.001, 0.5)], ids=["nothing_holds", "everything_holds"])
def test_highest_load_at_the_ends_of_its_range(low: float, high: float) -> None:
    found = highest_load(Queue(1.0), replicas=1, start=1.0, tolerance=0.02, low=low, high=high)
    if low > 1:
        assert found.best is None and found.nearest.rate_scale == low and "not even" in found.note
    else:
        assert found.best is not None and found.best.rate_scale == high and "highest load allowed" in found.note


CAPS = [2**k for k in range(3, 11)]


@given(first=st.integers(0, 8), last=st.integers(-1, 7))
def test_feasible_caps_is_the_interval_between_two_limits(first: int, last: int) -> None:
    asked: list[int] = []

    def evaluate(cap: int) -> Point:
        asked.append(cap)
        place = CAPS.index(cap)
        attained = {"ttft_p95_s": 1.0 if place >= first else 3.0, "tpot_p95_s": 0.05 if place <= last else 0.2}
        holds = first <= place <= last
        return Point(1, 1.0, "pass" if holds else "fail", attained=attained, targets=LIMITS)

    assert feasible_caps(evaluate, CAPS) == CAPS[first : last + 1]
    assert len(asked) == len(set(asked))
    assert len(asked) <= 8


def test_one_boolean_bisection_would_miss_this_interval() -> None:
    def evaluate(cap: int) -> Point:
        attained = {"ttft_p95_s": 1.0 if cap >= 32 else 3.0, "tpot_p95_s": 0.05 if cap <= 32 else 0.2}
        return Point(1, 1.0, "pass" if cap == 32 else "fail", attained=attained, targets=LIMITS)

    assert feasible_caps(evaluate, CAPS) == [32]


def test_refined_caps_lie_between_the_best_and_its_neighbours() -> None:
    assert refined_caps([8, 16, 32, 64, 128], 64) == [44, 52, 84, 108]
    assert refined_caps([8, 16, 32], 8) == [11, 13]
    assert refined_caps([64], 64) == []
