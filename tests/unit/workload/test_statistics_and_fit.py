"""Figures of a trace by hand, and what a fitted generator keeps."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from scipy.stats import spearmanr

from sim.errors import TraceError
from sim.spec import GeneratorSpec
from sim.spec.arrivals import GammaArrivals, RateProfile, SelfExcitingArrivals
from sim.spec.traffic import EmpiricalSeconds, GaussianCopula, LognormalLengths, PrefixTree, SessionSpec
from sim.workload import Trace, fit_generator, generate, trace_from_requests, trace_statistics
from sim.workload.columns import tuples
from sim.workload.fit_prefixes import unshared_fraction
from sim.workload.picture import trace_picture
from sim.workload.statistics import QUANTILES, lru_reuse, reuse_statistics


def test_reuse_by_hand():
    hashes = [(0, 1, 2), (0, 1, 3), (0, 4), (0, 1, 2)]
    found = reuse_statistics(hashes)
    assert found["blocks"] == 11
    assert found["unique_blocks"] == 5
    assert found["ideal"] == pytest.approx(6 / 11)
    assert lru_reuse(hashes, 5) == pytest.approx(6 / 11)
    # with two blocks only the 0 after the short prompt (0, 4) is still there
    assert lru_reuse(hashes, 2) == pytest.approx(1 / 11)


def test_a_bigger_cache_never_finds_less():
    rng = np.random.default_rng(0)
    hashes = [(*range(length), 1000 + i) for i, length in enumerate(rng.integers(0, 30, 300).tolist())]
    found = [lru_reuse(hashes, capacity) for capacity in (1, 10, 40, 400)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(reuse_statistics(hashes)["ideal"])


def test_figures_by_hand():
    arrival_s = np.array([0.0, 0.0, 1.0, 1.5, 4.0])
    labels = {"session_id": np.array(["a", "b", "a", "a", ""], dtype=object)}
    trace = Trace(arrival_s, np.array([1, 2, 3, 4, 5]), np.array([5, 4, 3, 2, 1]), labels)
    found = trace_statistics(trace)
    assert found["rate_per_s"] == 1.0
    assert found["spearman_input_output"] == pytest.approx(-1)
    assert found["input_tokens"]["p50"] == 3
    assert found["peak_to_mean_1s"] == pytest.approx(2.0)  # counts 2, 2, 0, 0
    assert found["idc_1s"] == pytest.approx(1.0)
    assert np.isnan(found["idc_1h"])
    assert found["sessions"]["sessions"] == 2
    assert found["sessions"]["turn_gap_p50_s"] == pytest.approx(0.75)
    assert trace_picture(trace, found, "a <b>").startswith("<svg")
    assert "a &lt;b&gt;" in trace_picture(trace, found, "a <b>")


KNOWN = GeneratorSpec(
    duration_s=3000, arrivals=GammaArrivals(rate_per_s=3, cv=2.0),
    profile=RateProfile(bin_s=1500, multipliers=(0.5, 1.5)), input_tokens=LognormalLengths(mu=6, sigma=1),
    output_tokens=LognormalLengths(mu=4, sigma=0.8), dependence=GaussianCopula(rho=0.5),
)  # fmt: skip


@pytest.mark.parametrize(
    "arrivals", [KNOWN.arrivals, SelfExcitingArrivals(rate_per_s=3, branching=0.8, decay_s=2.0)], ids=["gamma", "hawkes"]
)
def test_a_fit_gives_back_what_made_the_trace(arrivals):
    original = generate(dataclasses.replace(KNOWN, arrivals=arrivals), 1)
    spec = fit_generator(original)
    assert spec.arrivals.kind == arrivals.kind
    again = generate(spec, 2)
    was, now = trace_statistics(original), trace_statistics(again)
    assert now["rate_per_s"] == pytest.approx(was["rate_per_s"], rel=0.1)
    assert now["idc_1s"] == pytest.approx(was["idc_1s"], rel=0.25)
    assert now["spearman_input_output"] == pytest.approx(was["spearman_input_output"], abs=0.06)
    for name in ("input_tokens", "output_tokens"):
        for quantile in ("mean", "p50", "p90", "p99"):
            assert now[name][quantile] == pytest.approx(was[name][quantile], rel=0.12)


def test_a_fit_of_prefixes_keeps_what_a_cache_finds():
    tree = PrefixTree(
        block_tokens=16, trunk_blocks=2, probabilities=(0, 0.5, 1), shared_fraction=((0, 0, 0.9), (0, 0.2, 1)),
        age_s=EmpiricalSeconds(probabilities=(0, 0.5, 1), seconds=(5, 60, 600)),
    )  # fmt: skip
    original = generate(dataclasses.replace(KNOWN, prefix=tree), 1)
    again = generate(fit_generator(original), 2)
    was, now = trace_statistics(original)["prefix_reuse"], trace_statistics(again)["prefix_reuse"]
    assert again.block_tokens == 16
    assert now["ideal"] == pytest.approx(was["ideal"], rel=0.1)
    at_tenth = "lru_by_share_of_unique_blocks"
    assert now[at_tenth]["0.25"] == pytest.approx(was[at_tenth]["0.25"], rel=0.25)


def test_a_fit_of_sessions_keeps_turns_and_think_times():
    sessions = SessionSpec(
        turns=LognormalLengths(mu=1.2, sigma=0.5), think_s=EmpiricalSeconds(probabilities=(0, 1), seconds=(5, 50))
    )
    original = generate(dataclasses.replace(KNOWN, duration_s=2000, sessions=sessions, profile=None), 1)
    again = generate(fit_generator(original), 2)
    was, now = trace_statistics(original), trace_statistics(again)
    assert now["sessions"]["turns_mean"] == pytest.approx(was["sessions"]["turns_mean"], rel=0.15)
    assert now["sessions"]["turn_gap_p50_s"] == pytest.approx(was["sessions"]["turn_gap_p50_s"], rel=0.15)
    assert now["input_tokens"]["p50"] == pytest.approx(was["input_tokens"]["p50"], rel=0.15)


def test_a_fit_holds_no_id_of_its_trace():
    names = np.array([f"customer-{i}" for i in range(400)], dtype=object)
    original = generate(dataclasses.replace(KNOWN, duration_s=200), 1)
    labels = {
        "tenant": names[: len(original)], "prompt_id": names[: len(original)],
        "block_hashes": tuples((987654321, 987650000 + i) for i in range(len(original))),
    }  # fmt: skip
    labels.pop("prompt_id")
    spec = fit_generator(dataclasses.replace(original, labels=labels))
    text = json.dumps(TypeAdapter(GeneratorSpec).dump_python(spec, mode="json"))
    assert "customer" not in text
    assert "98765" not in text


def test_records_become_the_trace_that_made_them():
    trace = generate(dataclasses.replace(KNOWN, duration_s=50), 1)
    frame = pd.DataFrame({
        "arrival_s": trace.arrival_s, "input_tokens": trace.input_tokens, "output_tokens": trace.output_tokens,
        "route": pd.Categorical(["chat"] * len(trace)), "session_id": "", "turn": -1, "outcome": "completed",
    })  # fmt: skip
    back = trace_from_requests(frame.sample(frac=1, random_state=0))
    assert np.array_equal(back.arrival_s, trace.arrival_s)
    assert np.array_equal(back.output_tokens, trace.output_tokens)
    assert set(back.labels) == {"route"}
    frame.loc[0, ["outcome", "output_tokens"]] = ["timed_out", 0]
    assert trace_from_requests(frame).output_tokens[0] == 1
    assert trace_from_requests(frame).provenance["unanswered"] == 1
    with pytest.raises(TraceError, match="lack column input_tokens"):
        trace_from_requests(frame.drop(columns="input_tokens"))
    with pytest.raises(TraceError, match="hold no row"):
        trace_from_requests(frame.head(0))


def agents(seed, sessions=120):
    """Sessions of a growing history, each now and then with a sub-agent's short prompts between."""
    rng = np.random.default_rng(seed)
    rows, fresh = [], iter(range(1, 10**7))
    for number in range(sessions):
        at_s, history = float(rng.uniform(0, 3000)), [0, *(next(fresh) for _ in range(10))]
        for _ in range(int(rng.geometric(0.1))):
            if rng.random() < 0.1:
                ids = [0, *(next(fresh) for _ in range(5))]
            else:
                history = history + [next(fresh) for _ in range(int(rng.integers(1, 6)))]
                ids = history
            rows.append((at_s, f"customer-{number}", tuple(ids), int(rng.integers(20, 200))))
            at_s += float(rng.uniform(10, 100))
    rows.sort(key=lambda row: row[0])
    labels = {"session_id": np.array([row[1] for row in rows], dtype=object), "block_hashes": tuples(row[2] for row in rows)}
    arrival_s = np.array([row[0] for row in rows])
    inputs = np.array([16 * len(row[2]) for row in rows])
    return Trace(arrival_s - arrival_s[0], inputs, np.array([row[3] for row in rows]), labels, block_tokens=16)


def test_a_fit_of_sessions_with_hashes_keeps_both():
    original = agents(1)
    spec = fit_generator(original)
    again = [generate(spec, seed) for seed in range(8)]
    was, now = trace_statistics(original), [trace_statistics(trace) for trace in again]
    for name in ("sessions", "turns_mean"):
        assert np.mean([found["sessions"][name] for found in now]) == pytest.approx(was["sessions"][name], rel=0.1)
    assert np.mean([found["input_tokens"]["mean"] for found in now]) == pytest.approx(was["input_tokens"]["mean"], rel=0.02)
    unshared = np.mean([unshared_fraction(trace) for trace in again])
    assert unshared == pytest.approx(unshared_fraction(original), rel=0.05)
    text = json.dumps(TypeAdapter(GeneratorSpec).dump_python(spec, mode="json"))
    assert "customer" not in text
    turns = again[0].labels["turn"][again[0].labels["session_id"] == again[0].labels["session_id"][0]]
    assert turns.tolist() == list(range(1, len(turns) + 1))


def test_lengths_that_drift_are_kept_and_lengths_that_do_not_stay():
    flat = generate(dataclasses.replace(KNOWN, duration_s=6000, profile=None), 1)
    hour = np.where(flat.arrival_s < 3000, 0.5, 1.5)
    drifting = dataclasses.replace(flat, input_tokens=np.maximum((flat.input_tokens * hour).astype(np.int64), 1))
    halves = {}
    for name, trace in (("flat", flat), ("drifting", drifting)):
        again = generate(fit_generator(trace), 2)
        early = again.arrival_s < again.duration_s / 2
        halves[name] = again.input_tokens[~early].mean() / again.input_tokens[early].mean()
        assert again.input_tokens.mean() == pytest.approx(trace.input_tokens.mean(), rel=0.05)
    assert halves["flat"] == pytest.approx(1.0, abs=0.12)
    assert halves["drifting"] == pytest.approx(3.0, rel=0.15)


def test_ticks_of_a_coarse_clock_are_no_bursts_of_a_fit():
    original = generate(dataclasses.replace(KNOWN, arrivals=GammaArrivals(rate_per_s=3, cv=1.0), profile=None), 1)
    ticking = dataclasses.replace(original, arrival_s=np.floor(original.arrival_s / 3) * 3)
    gaps = [np.diff(generate(fit_generator(trace), 2).arrival_s) for trace in (original, ticking)]
    assert gaps[1].std() / gaps[1].mean() == pytest.approx(gaps[0].std() / gaps[0].mean(), rel=0.15)


@pytest.mark.parametrize("piece", [7, 64, 1 << 20])
@pytest.mark.parametrize("largest", [5, 500, 20_000_000])
def test_figures_are_the_same_whatever_is_looked_at_together(monkeypatch, piece, largest):
    monkeypatch.setattr("sim.workload.statistics._PIECE", piece)
    rng = np.random.default_rng(piece)
    trace = Trace(np.sort(rng.uniform(0, 5000, 999)), rng.integers(1, largest, 999), rng.integers(1, 9, 999))
    found = trace_statistics(trace)
    gaps_s = np.diff(trace.arrival_s)
    assert found["gap_cv"] == pytest.approx(gaps_s.std() / gaps_s.mean(), rel=1e-12)
    assert found["spearman_input_output"] == pytest.approx(spearmanr(trace.input_tokens, trace.output_tokens).statistic)
    quantiles = [found["input_tokens"][name] for name in ("p50", "p90", "p95", "p99", "max")]
    assert quantiles == pytest.approx(np.quantile(trace.input_tokens, QUANTILES), rel=1e-12)
    for name, bin_s in (("1s", 1.0), ("1min", 60.0), ("1h", 3600.0)):
        counts = np.bincount((trace.arrival_s / bin_s).astype(int))[: int(trace.duration_s / bin_s)]
        if len(counts) > 1:
            assert found[f"idc_{name}"] == pytest.approx(counts.var() / counts.mean())
            assert found[f"peak_to_mean_{name}"] == pytest.approx(counts.max() / counts.mean())


def test_tokens_a_day_the_busiest_hour_and_who_sent_them():
    arrival_s = np.array([0.0, 4000.0, 5000.0, 7199.0, 43_200.0])
    routes = np.array(["chat", "code", "code", "", "chat"], dtype=object)
    trace = Trace(arrival_s, np.array([10, 20, 30, 40, 50]), np.array([1, 2, 3, 4, 5]), {"route": routes})
    found = trace_statistics(trace)
    assert found["tokens_per_day"] == {"input": pytest.approx(300.0), "output": pytest.approx(30.0)}
    assert found["busiest_hour"] == {"start_s": 3600.0, "requests": 3.0, "share": pytest.approx(0.6)}
    assert list(found["by_route"]) == ["chat", "code", "(none)"]
    assert found["by_route"]["code"] == {
        "requests": 2.0, "input_tokens_mean": 25.0, "output_tokens_mean": 2.5, "share_of_tokens": pytest.approx(55 / 165)
    }  # fmt: skip
    many = Trace(
        np.arange(30.0),
        np.ones(30, int),
        np.ones(30, int),
        {"feature": np.array([f"f{n}" for n in range(30)], dtype=object)},
    )
    shares = [group["share_of_tokens"] for group in trace_statistics(many)["by_feature"].values()]
    assert len(shares) == 21 and sum(shares) == pytest.approx(1.0)


def test_silence_takes_no_memory():
    nine_years_s = 9 * 365 * 86_400.0
    trace = Trace(np.array([0.0, 1.0, nine_years_s]), np.array([1, 2, 3]), np.array([1, 1, 1]))
    assert trace_statistics(trace)["peak_to_mean_1s"] == pytest.approx(nine_years_s / 2)


def test_a_trace_with_nothing_in_its_whole_bins_has_no_dispersion():
    found = trace_statistics(Trace(np.array([8_000.0]), np.array([1]), np.array([1])))
    assert np.isnan(found["idc_1h"])
    assert np.isnan(found["peak_to_mean_1h"])
