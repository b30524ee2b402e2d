"""A miss that is called certain while the run goes on is a miss at its end, and is called as early as can be."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sim.search import CertainMiss
from sim.spec import Slo

SLO = Slo(ttft_p95_s=1.0, tpot_p90_s=0.1, max_failed_fraction=0.1)


def told(latencies: list[tuple[float, float]]) -> str | None:
    certain = CertainMiss(SLO, len(latencies))
    for ttft_s, tpot_s in latencies:
        reason = certain(ttft_s, tpot_s, ttft_s + 1.0)
        if reason is not None:
            return reason
    return None


def quantile(values: list[float], q: float) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.quantile(known, q)) if known else math.nan


@given(st.lists(st.tuples(st.floats(0, 2), st.one_of(st.floats(0, 0.2), st.just(math.nan))), min_size=1, max_size=200))
def test_what_is_called_certain_is_a_miss(latencies: list[tuple[float, float]]) -> None:
    reason = told(latencies)
    if reason == "ttft_p95_s":
        assert quantile([ttft for ttft, _ in latencies], 0.95) > 1.0
    elif reason == "tpot_p90_s":
        assert quantile([tpot for _, tpot in latencies], 0.90) > 0.1
    else:
        assert reason is None


@given(st.integers(21, 400), st.integers(0, 400))
def test_a_clear_miss_is_called(offered: int, late: int) -> None:
    late = min(late, offered)
    reason = told([(5.0, 0.01)] * late + [(0.5, 0.01)] * (offered - late))
    value_at_floor = sorted([5.0] * late + [0.5] * (offered - late))[math.floor(0.95 * (offered - 1))]
    assert (reason == "ttft_p95_s") is (value_at_floor > 1.0)


def test_failures_count_against_their_own_limit() -> None:
    certain = CertainMiss(SLO, 20)
    reasons = [certain(math.nan, math.nan, math.nan, False) for _ in range(3)]
    assert reasons == [None, None, "max_failed_fraction"]
