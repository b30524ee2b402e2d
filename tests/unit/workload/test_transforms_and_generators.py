"""What transforms and arrival processes promise, in numbers."""

import dataclasses
import time

import numpy as np
import pytest
from scipy.stats import kstest, spearmanr

from sim.errors import TraceError
from sim.rng import stream
from sim.spec import GeneratorSpec, WorkloadSpec
from sim.spec.arrivals import (
    FlashCrowd,
    GammaArrivals,
    MarkovModulatedArrivals,
    OnOffArrivals,
    PoissonArrivals,
    RateProfile,
    SelfExcitingArrivals,
    WeibullArrivals,
)
from sim.spec.traffic import EmpiricalCopula, EmpiricalLengths, GaussianCopula, LognormalLengths, MixtureLengths
from sim.workload import Trace, generate, load_workload, write_trace
from sim.workload.arrivals import draw_arrivals
from sim.workload.columns import tuples
from sim.workload.lengths import draw_ranks, lengths_at

RNG = lambda: np.random.default_rng(7)  # noqa: E731


@pytest.mark.parametrize(
    ("process", "rate_per_s"),
    [
        (PoissonArrivals(rate_per_s=4), 4),
        (GammaArrivals(rate_per_s=4, cv=3), 4),
        (WeibullArrivals(rate_per_s=4, shape=0.5), 4),
        (MarkovModulatedArrivals(rates_per_s=(1, 9), mean_sojourn_s=(30, 10)), 3),
        (OnOffArrivals(on_rate_per_s=20, mean_on_s=2, mean_off_s=8, off_cv=1.5), 4),
        (SelfExcitingArrivals(rate_per_s=4, branching=0.7, decay_s=2), 4),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_processes_have_their_rate_from_the_first_second_to_the_last(process, rate_per_s):
    runs = [draw_arrivals(process, 2000.0, stream(seed, "test")) for seed in range(30)]
    for part in range(4):  # a transient would show in the first quarter
        counts = [((run >= 500 * part) & (run < 500 * (part + 1))).sum() / 500 for run in runs]
        error = np.std(counts) / np.sqrt(len(counts))
        assert abs(np.mean(counts) - rate_per_s) < 4 * error + 1e-3
    assert all((np.diff(run) >= 0).all() and run[0] >= 0 and run[-1] < 2000 for run in runs)


def test_poisson_gaps_are_exponential_and_gamma_gaps_have_their_cv():
    gaps_s = np.diff(draw_arrivals(PoissonArrivals(rate_per_s=5), 2000.0, RNG()))
    assert kstest(gaps_s * 5, "expon").pvalue > 0.001
    for cv in (0.5, 2.5):
        gaps_s = np.diff(draw_arrivals(GammaArrivals(rate_per_s=5, cv=cv), 20_000.0, RNG()))
        assert gaps_s.std() / gaps_s.mean() == pytest.approx(cv, rel=0.05)


def test_self_exciting_counts_disperse_as_the_theory_says():
    # variance / mean of counts in long bins of a Hawkes process: 1 / (1 - branching)^2
    times = draw_arrivals(SelfExcitingArrivals(rate_per_s=5, branching=0.5, decay_s=0.5), 50_000.0, RNG())
    counts = np.bincount((times / 100).astype(int))
    assert counts.var() / counts.mean() == pytest.approx(4.0, rel=0.15)


def test_profile_and_flash_crowd_shape_the_rate():
    profile = RateProfile(bin_s=100.0, multipliers=(0.0, 2.0))
    times = draw_arrivals(PoissonArrivals(rate_per_s=10), 1000.0, RNG(), profile)
    assert not ((times % 200) < 100).any()
    assert len(times) == pytest.approx(10_000, rel=0.05)
    crowd = FlashCrowd(start_s=200, factor=5, rise_s=1, hold_s=100, fall_s=1)
    times = draw_arrivals(PoissonArrivals(rate_per_s=10), 1000.0, RNG(), None, [crowd])
    inside = ((times > 202) & (times < 300)).sum() / 98
    assert inside == pytest.approx(50, rel=0.1)
    assert (times < 200).sum() / 200 == pytest.approx(10, rel=0.15)


def test_lengths_have_their_quantiles():
    ranks = (np.arange(10_000) + 0.5) / 10_000
    empirical = EmpiricalLengths(probabilities=(0, 0.5, 1), tokens=(1, 100, 1000))
    assert np.quantile(lengths_at(empirical, ranks), [0.5, 0.75]) == pytest.approx([100, 550], rel=0.01)
    lognormal = lengths_at(LognormalLengths(mu=5, sigma=1, max_tokens=500), ranks)
    assert np.median(lognormal) == pytest.approx(np.exp(5), rel=0.01)
    assert lognormal.max() == 500
    parts = (LognormalLengths(mu=2, sigma=0.1), LognormalLengths(mu=8, sigma=0.1))
    mixture = lengths_at(MixtureLengths(weights=(1, 3), parts=parts), ranks)
    assert (mixture < 100).mean() == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize(
    ("dependence", "correlation"),
    [
        (GaussianCopula(rho=0.6), 6 / np.pi * np.arcsin(0.3)),
        (EmpiricalCopula(mass=((1, 0), (0, 1))), 0.75),
        (EmpiricalCopula(mass=((1, 1), (1, 1))), 0.0),
    ],
)
def test_copulas_couple_ranks_and_leave_margins_uniform(dependence, correlation):
    inputs, outputs = draw_ranks(dependence, 20_000, RNG())
    assert spearmanr(inputs, outputs).statistic == pytest.approx(correlation, abs=0.03)
    for ranks in (inputs, outputs):
        assert kstest(ranks, "uniform").pvalue > 0.001


def hand_made(**labels):
    n = 40
    return Trace(np.repeat(np.arange(10.0) * 3, 4), np.full(n, 600), np.full(n, 10), labels)


def after(trace, tmp_path, *steps, **more):
    write_trace(trace, tmp_path / "t.parquet")
    return load_workload(WorkloadSpec(path=str(tmp_path / "t.parquet"), transforms=steps, **more), 3)


def test_dequantise_spreads_each_tick_over_itself(tmp_path):
    moved = after(hand_made(), tmp_path, {"kind": "dequantise"})
    assert len(np.unique(moved.arrival_s)) == 40
    assert np.bincount((moved.arrival_s // 3).astype(int)).tolist() == [4] * 10
    fine = Trace(np.arange(40) * 0.7, np.ones(40, dtype=int), np.ones(40, dtype=int))
    assert np.array_equal(after(fine, tmp_path, {"kind": "dequantise", "tick_s": 3.0}).arrival_s, fine.arrival_s)


def test_stretch_follows_its_profile_with_new_users(tmp_path):
    trace = hand_made(session_id=np.array([f"s{i}" for i in range(40)], dtype=object))
    profile = {"bin_s": 100.0, "multipliers": [0.5, 1.5]}
    long = after(trace, tmp_path, {"kind": "stretch", "duration_s": 1000.0, "profile": profile})
    rates = np.bincount((long.arrival_s // 100).astype(int), minlength=10)
    assert rates[1::2].sum() == pytest.approx(3 * rates[::2].sum(), rel=0.1)
    assert len(set(long.labels["session_id"])) == len(long)


def test_scale_context_grows_prompts_and_their_blocks_from_a_moment_on(tmp_path):
    trace = hand_made(block_hashes=tuples([(0, 1)] * 40))
    doubled = after(trace, tmp_path, {"kind": "scale_context", "factor": 2, "from_s": 15.0})
    late = doubled.arrival_s >= 15
    assert set(doubled.input_tokens[late]) == {1200}
    assert set(doubled.input_tokens[~late]) == {600}
    assert {len(ids) for ids in doubled.labels["block_hashes"][late]} == {3}
    assert {ids[:2] for ids in doubled.labels["block_hashes"]} == {(0, 1)}


def test_adapters_are_asked_for_by_zipfs_law(tmp_path):
    trace = Trace(np.arange(20_000) / 100.0, np.full(20_000, 10), np.full(20_000, 10))
    lora = after(trace, tmp_path, {"kind": "adapters", "count": 10, "exponent": 1.0, "base_share": 0.2}).labels["lora"]
    shares = {name: float((lora == name).mean()) for name in set(lora)}
    assert len(shares) == 11 and shares[""] == pytest.approx(0.2, abs=0.01)
    for place in range(1, 11):
        assert shares[f"adapter-{place}"] == pytest.approx(0.8 / place / 2.928968, abs=0.01)
    sessions = np.array([f"s{i // 4}" for i in range(20_000)], dtype=object)
    whole = after(dataclasses.replace(trace, labels={"session_id": sessions}), tmp_path, {"kind": "adapters", "count": 10})
    assert (whole.labels["lora"].reshape(-1, 4) == whole.labels["lora"].reshape(-1, 4)[:, :1]).all()


def test_mix_labels_sessions_as_a_whole_and_filter_keeps_what_it_names(tmp_path):
    trace = hand_made(session_id=np.array([f"s{i % 8}" for i in range(40)], dtype=object))
    mix = {"kind": "mix", "label": "route", "shares": {"chat": 1, "code": 1}}
    mixed = after(trace, tmp_path, mix)
    for name in set(mixed.labels["session_id"]):
        assert len(set(mixed.labels["route"][mixed.labels["session_id"] == name])) == 1
    code = after(trace, tmp_path, mix, {"kind": "filter", "routes": ["code"]})
    assert set(code.labels["route"]) == {"code"}
    with pytest.raises(TraceError, match=r"transforms\[0\] \(filter\) keeps none"):
        after(trace, tmp_path, {"kind": "filter", "min_input_tokens": 601})


def test_window_and_limit(tmp_path):
    cut = after(hand_made(), tmp_path, start_s=3.0, duration_s=9.0)
    assert np.unique(cut.arrival_s).tolist() == [0.0, 3.0, 6.0]
    assert len(after(hand_made(), tmp_path, limit=7)) == 7
    with pytest.raises(TraceError, match="holds no request; the trace spans 0 to 27 s"):
        after(hand_made(), tmp_path, start_s=100.0)
    with pytest.raises(TraceError, match=r"rate_scale=1e-06 keeps none"):
        after(hand_made(), tmp_path, rate_scale=1e-6)


def test_the_default_workload_is_the_published_service():
    spec = WorkloadSpec(packaged="chat_synthetic.parquet")
    trace = load_workload(spec, 0)
    assert len(trace) / 900 == pytest.approx(5.53, rel=0.01)
    assert np.quantile(trace.input_tokens, [0.5, 0.9, 0.95, 0.99]) == pytest.approx([1020, 2734, 4083, 4142], rel=0.02)
    assert np.quantile(trace.output_tokens, [0.5, 0.9, 0.95, 0.99]) == pytest.approx([129, 424, 451, 601], rel=0.02)
    scaled = load_workload(dataclasses.replace(spec, rate_scale=2.5), 0)
    assert len(scaled) / len(trace) == pytest.approx(2.5, rel=0.02)


def test_a_trace_that_was_not_fetched_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("SERVECAP_CACHE", str(tmp_path))
    with pytest.raises(TraceError, match=r"workload\.path=FILE, or `servecap traces fetch azure_conv_2023`"):
        load_workload(WorkloadSpec(name="azure_conv_2023", fetch="azure_conv_2023"), 0)
    with pytest.raises(TraceError, match="does not ship with servecap"):
        load_workload(WorkloadSpec(packaged="nothing.parquet"), 0)


def test_a_million_requests_are_drawn_in_under_three_seconds():
    spec = GeneratorSpec(
        duration_s=1000, arrivals=GammaArrivals(rate_per_s=1000, cv=1.5), input_tokens=LognormalLengths(mu=6, sigma=1),
        output_tokens=LognormalLengths(mu=5, sigma=1), dependence=GaussianCopula(rho=0.3),
    )  # fmt: skip
    started = time.process_time()
    trace = generate(spec, 0)
    assert time.process_time() - started < 3.0
    assert len(trace) == pytest.approx(1_000_000, rel=0.01)
