"""The walk over batch caps finds the exhaustive answer and does not try what cannot win."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.search import DEFAULT_CAPS, Point, Trial, cap_walk, trial_of

CAPS = DEFAULT_CAPS


def trial(cap: int, budget: float, waits_below: list[int], slow_above: list[int], binds_until: int) -> tuple[Trial, float]:
    """A pool in which ``n`` replicas need a cap of at least ``waits_below[n]`` and at most ``slow_above[n]``; above
    ``binds_until`` every cap gives the same run. The fewest replicas within ``budget`` win."""
    effective = min(cap, binds_until)
    for replicas in range(1, len(waits_below) + 1):
        if replicas > budget:
            break
        waits, slow = effective < waits_below[replicas - 1], effective > slow_above[replicas - 1]
        if not waits and not slow:
            return Trial(True, fingerprint=(replicas, effective)), replicas
    last = min(len(waits_below), int(min(budget, 99))) - 1
    return Trial(False, effective > slow_above[last], effective < waits_below[last], (0.0, effective)), math.inf


@given(data=st.data(), binds_until=st.sampled_from(CAPS), start=st.sampled_from(CAPS))
def test_the_walk_finds_the_exhaustive_answer(data: st.DataObject, binds_until: int, start: int) -> None:
    size = data.draw(st.integers(1, 6))
    limits = st.lists(st.sampled_from((1, *CAPS, 2048)), min_size=size, max_size=size)
    waits = sorted(data.draw(limits), reverse=True)  # more replicas wait less
    slow = sorted(data.draw(limits))  # and run smaller batches
    exhaustive = min(trial(cap, math.inf, waits, slow, binds_until)[1] for cap in CAPS)
    walk, best, tried = cap_walk(CAPS, start), math.inf, []
    cap = next(walk)
    while True:
        tried.append(cap)
        seen, replicas = trial(cap, best, waits, slow, binds_until)
        best = min(best, replicas)
        try:
            cap = walk.send(seen)
        except StopIteration:
            break
    assert len(tried) == len(set(tried))
    assert best == exhaustive


def test_the_walk_stops_where_the_cap_no_longer_binds() -> None:
    walk = cap_walk(CAPS, 64)
    assert next(walk) == 64
    assert walk.send(Trial(True, fingerprint=(3.0, 1.0))) == 128
    assert walk.send(Trial(True, fingerprint=(3.0, 1.0))) == 32  # 256, 512 and 1024 would be the same run
    with pytest.raises(StopIteration):
        walk.send(Trial(False, misses_falling=True))  # 16 and 8 would wait longer still


def test_what_a_point_teaches() -> None:
    slow = Point(1, 1.0, "fail", missed=("tpot_p95_s",))
    waits = Point(1, 1.0, "fail", missed=("route.chat.ttft_p99_s",))
    overloaded = Point(1, 1.0, "overloaded")
    assert trial_of(slow) == Trial(False, misses_rising=True, fingerprint=(1.0,))
    assert trial_of(waits) == Trial(False, misses_falling=True, fingerprint=(1.0,))
    assert trial_of(overloaded).misses_falling
    assert trial_of(Point(1, 1.0, "fail", missed=("ttft_p95_s",), stopped_early="ttft_p95_s")).fingerprint == ()
