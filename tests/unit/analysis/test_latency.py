from __future__ import annotations

import math

import numpy as np
import pytest

from sim.analysis.latency import histogram_statistics, latency_table, statistics
from sim.record.result import ItlHistogram


def test_percentiles_interpolate_linearly() -> None:
    found = statistics(np.array([1.0, 2.0, 3.0, 4.0, np.nan]))
    assert found == {
        "mean": 2.5,
        "p50": 2.5,
        "p90": pytest.approx(3.7),
        "p95": pytest.approx(3.85),
        "p99": pytest.approx(3.97),
        "max": 4.0,
    }


def test_nothing_is_undefined_not_zero() -> None:
    assert all(math.isnan(value) for value in statistics(np.array([])).values())
    assert all(
        math.isnan(value) for value in histogram_statistics(ItlHistogram(np.array([1.0, 2.0]), np.array([0]))).values()
    )


def test_only_answered_requests_after_warm_up_count(make_result, make_scenario) -> None:
    rows = [
        {"arrival_s": 0.0, "first_token_s": 9.0, "finish_s": 10.0},
        {"arrival_s": 5.0, "first_token_s": 6.0, "finish_s": 8.0},
        {"arrival_s": 6.0, "first_token_s": 9.0, "finish_s": 9.5, "outcome": "timed_out"},
        {"arrival_s": 7.0, "first_token_s": 9.0, "finish_s": 9.5, "outcome": "escalated"},
    ]
    scenario = make_scenario(workload={"path": "x.csv", "warmup_s": 1.0})
    table = latency_table(make_result(rows, scenario=scenario))
    assert table["ttft_s"]["mean"] == pytest.approx(1.5)
    assert table["tpot_s"]["max"] == pytest.approx(2.0 / 10)


def test_a_one_token_answer_has_no_tpot(make_result) -> None:
    table = latency_table(make_result([{"output_tokens": 1}]))
    assert math.isnan(table["tpot_s"]["p95"])
    assert table["ttft_s"]["p95"] == pytest.approx(0.5)


def test_histogram_quantiles_stay_within_a_bin_of_the_samples() -> None:
    gaps = np.random.default_rng(0).lognormal(-3.5, 0.4, 20_000)
    edges = np.geomspace(1e-4, 10, 1200)
    found = histogram_statistics(ItlHistogram(edges, np.histogram(gaps, edges)[0]))
    exact = statistics(gaps)
    for name in ("mean", "p50", "p90", "p95", "p99"):
        assert found[name] == pytest.approx(exact[name], rel=0.01)
