from __future__ import annotations

import math

import numpy as np
import pytest

from sim.analysis.compare import compare_requests, compare_summaries
from sim.analysis.intervals import Interval, block_rows, bootstrap, mean_interval, percentile_interval, slo_intervals
from sim.analysis.sensitivity import Uncertain, morris, tornado
from sim.analysis.summary import summarize


def _rows(seed: int, slower: float = 1.0, count: int = 400) -> list[dict]:
    waits = np.random.default_rng(seed).exponential(0.5, count) * slower
    return [
        {"arrival_s": i * 0.5, "queue_s": w, "first_token_s": i * 0.5 + w + 0.1, "finish_s": i * 0.5 + w + 1.1}
        for i, w in enumerate(waits)
    ]


def test_an_interval_covers_what_it_should() -> None:
    arrivals = np.arange(1000.0)
    inside = 0
    for seed in range(60):
        values = np.random.default_rng(seed).exponential(1.0, 1000)
        interval = bootstrap(arrivals, values, lambda v: float(np.quantile(v, 0.9)), seed=seed)
        assert interval.low <= interval.high
        inside += interval.low <= -math.log(0.1) <= interval.high
    assert inside >= 50  # 95 % nominal; below 50 of 60 has a chance of about 1 in 1,000


def test_dependence_widens_the_interval() -> None:
    random = np.random.default_rng(3)
    steps = random.normal(size=2000)
    correlated = np.convolve(steps, np.ones(100) / 10, mode="valid")
    alone = random.normal(scale=correlated.std(), size=len(correlated))
    times = np.arange(float(len(alone)))
    wide = bootstrap(times, correlated, lambda v: float(v.mean()))
    narrow = bootstrap(times, alone, lambda v: float(v.mean()))
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_blocks_cover_every_request() -> None:
    values = np.arange(100.0)
    blocks = block_rows(values, values)
    assert set(np.concatenate(blocks)) == set(values)
    assert block_rows(np.array([]), np.array([])) == []


def test_verdict_of_an_interval() -> None:
    assert Interval(1.0, 0.9, 1.1).against(2.0) == "pass"
    assert Interval(1.0, 0.9, 1.1).against(1.05) == "undecided"
    assert Interval(1.0, 0.9, 1.1).against(0.5) == "fail"
    assert Interval(math.nan, math.nan, math.nan).against(0.5) == "undecided"


def test_targets_of_a_run(make_result) -> None:
    result = make_result(_rows(0))
    interval = slo_intervals(result)["ttft_p95_s"]
    assert interval.low < interval.value < interval.high
    assert interval.value == pytest.approx(summarize(result)["latency"]["ttft_s"]["p95"])
    with pytest.raises(ValueError, match="histogram"):
        percentile_interval(result, "itl_p95_s")


def test_a_run_equals_itself(make_result) -> None:
    requests = make_result(_rows(0)).requests
    for difference in compare_requests(requests, requests):
        assert difference.paired
        assert difference.difference == 0.0
        assert difference.words() == "no significant difference"


def test_pairs_see_what_traffic_would_hide(make_result) -> None:
    a, b = make_result(_rows(0)).requests, make_result(_rows(0, slower=1.1)).requests
    paired = {d.metric: d for d in compare_requests(a, b)}["ttft_p95_s"]
    assert paired.words() == "higher"
    other = make_result(_rows(1, slower=1.1, count=399)).requests
    unpaired = {d.metric: d for d in compare_requests(a, other)}["ttft_p95_s"]
    assert not unpaired.paired
    assert unpaired.high - unpaired.low > paired.high - paired.low


def test_summaries_need_replications_for_an_interval(make_result) -> None:
    fast, slow = (summarize(make_result(_rows(0), end_s=end)) for end in (300.0, 330.0))
    alone = {d.metric: d for d in compare_summaries([fast], [slow])}["cost.usd_per_1m_output_tokens"]
    assert alone.significant is None
    assert alone.difference > 0
    several = [summarize(make_result(_rows(seed), end_s=300.0 + seed)) for seed in range(3)]
    dearer = [summarize(make_result(_rows(seed), end_s=330.0 + seed)) for seed in range(3)]
    assert {d.metric: d for d in compare_summaries(several, dearer)}["cost.usd_per_1m_output_tokens"].words() == "higher"
    with pytest.raises(ValueError, match="as many"):
        compare_summaries([fast], [fast, slow])


INPUTS = [Uncertain("price", 1, 2, 4), Uncertain("rate", 500, 1000, 1500), Uncertain("idle", 0, 0, 0)]


def _cost(inputs) -> float:
    return inputs["price"] / inputs["rate"] * 1000 + 0 * inputs["idle"]


def test_a_tornado_is_sorted_and_exact() -> None:
    swings = tornado(INPUTS, _cost)
    assert [swing.name for swing in swings] == ["price", "rate", "idle"]
    assert (swings[0].at_low, swings[0].at_high, swings[0].base) == (1.0, 4.0, 2.0)
    assert swings[2].width == 0.0


def test_morris_finds_what_matters_and_what_interacts() -> None:
    def answer(x) -> float:
        return 10 * x["a"] + x["b"] + 5 * x["c"] * x["d"]

    found = {s.name: s for s in morris([Uncertain(n, 0, 0.5, 1) for n in "abcde"], answer, trajectories=40)}
    assert found["a"].mu_star == pytest.approx(10.0)
    assert found["a"].sigma == pytest.approx(0.0, abs=1e-9)
    assert found["b"].mu_star == pytest.approx(1.0)
    assert found["c"].sigma > 0.5
    assert found["e"].mu_star == 0.0


def test_a_range_must_be_one() -> None:
    with pytest.raises(ValueError, match="low <= middle <= high"):
        Uncertain("x", 2, 1, 3)


def test_the_mean_of_replications_is_covered_as_often_as_it_says() -> None:
    draw = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        found = mean_interval(draw.normal(5.0, 2.0, 4).tolist())
        covered += found.low <= 5.0 <= found.high
    assert 0.92 < covered / 400 < 0.98
    assert math.isnan(mean_interval([1.0]).low)
    assert math.isnan(mean_interval([]).value)
