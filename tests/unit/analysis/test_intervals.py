from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from sim.analysis.compare import compare_requests, compare_summaries
from sim.analysis.intervals import (
    Interval,
    mean_interval,
    percentile_interval,
    quantile_interval,
    sectioned,
    share_interval,
    slo_intervals,
)
from sim.analysis.sensitivity import Uncertain, morris, tornado
from sim.analysis.summary import summarize
from sim.spec import Slo


def _rows(seed: int, slower: float = 1.0, count: int = 400) -> list[dict]:
    waits = np.random.default_rng(seed).exponential(0.5, count) * slower
    return [
        {"arrival_s": i * 0.5, "queue_s": w, "first_token_s": i * 0.5 + w + 0.1, "finish_s": i * 0.5 + w + 1.1}
        for i, w in enumerate(waits)
    ]


def test_an_interval_covers_what_it_should() -> None:
    arrivals = np.arange(1000.0)
    inside = 0
    for seed in range(200):
        values = np.random.default_rng(seed).exponential(1.0, 1000)
        interval = quantile_interval(arrivals, values, 0.9)
        assert interval.low <= interval.value <= interval.high
        inside += interval.low <= -math.log(0.1) <= interval.high
    assert 180 <= inside <= 199


@pytest.mark.parametrize(("rho", "n"), [(0.9, 8000), (0.99, 40_000)])
def test_it_covers_under_dependence_too(rho: float, n: int) -> None:
    """A queue's waits remember: an AR(1) series with the same marginals; requests as if independent would cover half."""
    inside = claims = 0
    for seed in range(150):
        steps = np.random.default_rng(seed).normal(size=n) * math.sqrt(1 - rho**2)
        values = lfilter([1.0], [1.0, -rho], steps, zi=[rho * np.random.default_rng(seed + 999).normal()])[0]
        interval = quantile_interval(np.arange(float(n)), values, 0.95)
        claims += interval.known
        inside += interval.low <= 1.6449 <= interval.high
    assert claims > 130
    assert inside / claims > 0.86  # 93-95 % at these lengths; 0.86 of 150 has a chance of about 1 in 1,000


def test_dependence_widens_the_interval() -> None:
    random = np.random.default_rng(3)
    steps = random.normal(size=4000)
    correlated = np.convolve(steps, np.ones(100) / 10, mode="valid")
    alone = random.normal(scale=correlated.std(), size=len(correlated))
    times = np.arange(float(len(alone)))
    wide, narrow = (quantile_interval(times, values, 0.8) for values in (correlated, alone))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_short_run_says_how_long_it_must_be() -> None:
    random = np.random.default_rng(0)
    few = quantile_interval(np.arange(10.0), random.exponential(1.0, 10), 0.95)
    assert not few.known
    assert few.against(100.0) == "undecided"
    assert 890 <= few.needs_s <= 1200  # 1,000 requests
    bursts = np.concatenate([np.ones(2700), np.full(180, 50.0), np.ones(120)])  # one burst holds all that is slow
    once = quantile_interval(np.arange(3000.0), bursts + random.uniform(0, 0.1, 3000), 0.95)
    assert not once.known
    assert once.needs_s > 3000
    assert not quantile_interval(np.zeros(0), np.zeros(0), 0.95).known
    assert quantile_interval(np.zeros(200), np.ones(200), 0.95).needs_s is None  # all at once: no trace time


def test_a_percentile_needs_fifty_requests_beyond_it() -> None:
    random = np.random.default_rng(0)
    times, values = np.cumsum(random.exponential(1.0, 1200)), random.exponential(1.0, 1200)
    assert quantile_interval(times, values, 0.95).known
    short = quantile_interval(times[:900], values[:900], 0.95)
    assert not short.known
    assert short.needs_s == pytest.approx(times[899] * 1000 / 900, rel=0.01)


def test_bursty_arrivals_widen_what_comes_by_the_busy_period() -> None:
    """A run without its usual burst looks quiet; its arrivals tell. Where slow requests stand alone they tell nothing."""
    random = np.random.default_rng(0)
    alone = random.exponential(1.0, 4000)
    queued = alone.copy()
    for start in range(100, 4000, 400):
        queued[start : start + 25] += 10.0
    steady, bursts = np.arange(4000.0), np.sort(np.repeat(random.uniform(0, 4000.0, 200), 20))
    upper = {}
    for name, values in (("queued", queued), ("alone", alone)):
        for how, times in (("steady", steady), ("bursts", bursts)):
            found = quantile_interval(times, values, 0.95)
            upper[name, how] = found.high - found.value
    assert upper["alone", "bursts"] < 2 * upper["alone", "steady"]  # noise
    assert upper["queued", "bursts"] > 1.2 * upper["queued", "steady"]


def test_a_trend_is_no_noise() -> None:
    """A share that rises along the run, and one that stays: the same requests by chance, so about the same width."""
    random = np.random.default_rng(4)
    times = np.arange(6000.0)
    flat, rising = (random.uniform(size=6000) < share for share in (0.1, np.linspace(0.05, 0.15, 6000)))
    widths = [one.high - one.low for one in (share_interval(times, hits) for hits in (flat, rising))]
    assert widths[1] < 1.5 * widths[0]  # 1.9 times by the plain variance


def test_the_share_of_none_has_no_lower_end() -> None:
    found = share_interval(np.arange(1000.0), np.zeros(1000, dtype=bool))
    assert (found.value, found.high) == (0.0, 0.0) and math.isnan(found.low)
    assert math.isnan(share_interval(np.arange(10.0), np.ones(10, dtype=bool)).high)


def test_more_of_the_same_traffic_narrows_it() -> None:
    random = np.random.default_rng(1)
    widths = []
    for n in (2_000, 8_000, 32_000):
        found = quantile_interval(np.arange(float(n)), random.exponential(1.0, n), 0.95)
        widths.append(found.high - found.low)
    assert widths[0] > 1.5 * widths[1] > 2.2 * widths[2]


def test_a_sectioned_interval_contains_its_estimate() -> None:
    random = np.random.default_rng(2)
    for n in (60, 1000):
        rows = random.exponential(1.0, (n, 2))
        found = sectioned(np.arange(float(n)), rows, lambda part: float(np.quantile(part[:, 1], 0.95)), 20)
        assert found.low < found.value < found.high
    assert not sectioned(np.arange(30.0), rows[:30], lambda part: 0.0, 20).known
    assert not sectioned(np.zeros(90), rows[:90], lambda part: 0.0, 20).known


def test_verdict_of_an_interval() -> None:
    assert Interval(1.0, 0.9, 1.1).against(2.0) == "pass"
    assert Interval(1.0, 0.9, 1.1).against(1.05) == "undecided"
    assert Interval(1.0, 0.9, 1.1).against(0.5) == "fail"
    assert Interval(math.nan, math.nan, math.nan).against(0.5) == "undecided"


def test_targets_of_a_run(make_result) -> None:
    result = make_result(_rows(0, count=3000))
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


def test_the_interval_of_a_difference_contains_it(make_result) -> None:
    """+2.952 s stood beside an interval of 3.775 to 13.77."""
    a = make_result(_rows(0)).requests
    for b in (make_result(_rows(0, slower=3.0)).requests, make_result(_rows(1, slower=3.0, count=399)).requests):
        for one in compare_requests(a, b, (Slo(ttft_p95_s=1.0), Slo(ttft_p95_s=1.0))):
            assert one.low <= one.difference <= one.high
        assert "goodput.fraction" in {one.metric for one in compare_requests(a, b, (Slo(ttft_p95_s=1.0),) * 2)}


def test_failures_and_routes_have_their_rows(make_result) -> None:
    """p95 is over answers: 21.6 to 24.5 s looked fine while goodput fell from 46 to 6 %."""
    rows = [row | {"route": "ab"[i % 2]} for i, row in enumerate(_rows(0))]
    lost = [row | ({"outcome": "timed_out"} if i % 3 == 0 else {}) for i, row in enumerate(rows)]
    found = {one.metric: one for one in compare_requests(make_result(rows).requests, make_result(lost).requests)}
    assert found["completed share"].words() == "lower"
    assert found["timed_out share"].words() == "higher"
    assert {"a: ttft_p95_s", "b: ttft_p95_s", "a: tpot_p95_s"} <= set(found)


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
