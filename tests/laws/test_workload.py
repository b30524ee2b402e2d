"""Laws of workloads: what is written is read, rates nest, copies are other users, clients do not disturb each other."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.spec import GeneratorSpec, WorkloadSpec
from sim.spec.arrivals import GammaArrivals, PoissonArrivals
from sim.spec.traffic import (
    ClientSpec,
    EmpiricalLengths,
    EmpiricalSeconds,
    LognormalLengths,
    PrefixGroups,
    PrefixTree,
    SessionSpec,
)
from sim.workload import Trace, generate, load_workload, read_trace, write_trace
from sim.workload.columns import tuples

names = st.sampled_from(["", "a", "b", 'c,"d', "é"])


@st.composite
def traces(draw):
    n = draw(st.integers(1, 30))
    arrival_s = np.sort(draw(st.lists(st.floats(0, 1e4), min_size=n, max_size=n)))
    column = lambda strategy: draw(st.lists(strategy, min_size=n, max_size=n))  # noqa: E731
    labels = {}
    if draw(st.booleans()):
        labels["route"] = np.array(column(names), dtype=object)
        labels["turn"] = np.array(column(st.integers(-1, 5)), dtype=np.int64)
    if draw(st.booleans()):
        labels["block_hashes"] = tuples(map(tuple, column(st.lists(st.integers(0, 9), max_size=4))))
    elif draw(st.booleans()):
        labels["session_id"] = np.array(column(names), dtype=object)
        labels["prompt_id"] = np.array(column(names), dtype=object)
    tokens = st.integers(1, 10**6)
    return Trace(arrival_s, np.array(column(tokens)), np.array(column(tokens)), labels)


def same(one, other):
    assert np.array_equal(one.arrival_s, other.arrival_s)
    assert np.array_equal(one.input_tokens, other.input_tokens)
    assert np.array_equal(one.output_tokens, other.output_tokens)
    assert set(one.labels) == set(other.labels)
    for name in one.labels:
        assert one.labels[name].tolist() == other.labels[name].tolist()


@settings(max_examples=40, deadline=None)
@given(trace=traces(), suffix=st.sampled_from([".csv", ".parquet"]))
def test_what_is_written_is_read(trace, suffix, tmp_path_factory):
    path = tmp_path_factory.mktemp("native") / f"t{suffix}"
    write_trace(trace, path)
    same(read_trace(path), trace)


def rows_of(trace):
    hashes = trace.labels.get("block_hashes", [()] * len(trace))
    return sorted(zip(trace.arrival_s, trace.input_tokens, trace.output_tokens, hashes, strict=True))


@settings(max_examples=60, deadline=None)
@given(trace=traces(), low=st.floats(0.05, 4), high=st.floats(0.05, 4), seed=st.integers(0, 99))
def test_lower_rates_are_subsets_of_higher_rates(trace, low, high, seed, tmp_path_factory):
    low, high = min(low, high), max(low, high)
    path = tmp_path_factory.mktemp("nest") / "t.parquet"
    write_trace(trace, path)
    few = _scaled(path, low, seed)
    many = _scaled(path, high, seed)
    left = rows_of(many)
    for row in rows_of(few):
        left.remove(row)


def _scaled(path, scale, seed):
    try:
        return load_workload(WorkloadSpec(path=str(path), rate_scale=scale), seed)
    except ValueError:  # thinned to nothing
        empty = np.zeros(0)
        return Trace(empty, empty, empty)


@settings(max_examples=40, deadline=None)
@given(trace=traces(), copies=st.integers(2, 5))
def test_copies_are_other_users_of_the_same_service(trace, copies, tmp_path_factory):
    path = tmp_path_factory.mktemp("copies") / "t.parquet"
    write_trace(trace, path)
    scaled = load_workload(WorkloadSpec(path=str(path), rate_scale=copies), 0)
    assert len(scaled) == copies * len(trace)
    assert sorted(scaled.input_tokens) == sorted(np.tile(trace.input_tokens, copies))
    assert (np.diff(scaled.arrival_s) >= 0).all()
    assert scaled.arrival_s[0] >= 0
    if "prompt_id" in trace.labels:
        own = set(trace.labels["prompt_id"]) - {""}
        found = set(scaled.labels["prompt_id"]) - {""}
        assert len(found) == copies * len(own)
    if "route" in trace.labels:
        assert set(scaled.labels["route"]) == set(trace.labels["route"])


def test_squeezing_divides_times_and_keeps_requests():
    spec = WorkloadSpec(packaged="chat_synthetic.parquet")
    plain = load_workload(spec, 0)
    squeezed = load_workload(dataclasses.replace(spec, rate_scale=4.0, rate_mode="squeeze"), 0)
    assert np.array_equal(squeezed.arrival_s, plain.arrival_s / 4)
    assert np.array_equal(squeezed.input_tokens, plain.input_tokens)


def test_a_session_is_thinned_as_a_whole():
    spec = generator(sessions=SESSIONS)
    whole = generate(spec, 3)
    kept = load_workload(WorkloadSpec(generator=spec, rate_scale=0.4), 3)
    turns = {name: int((whole.labels["session_id"] == name).sum()) for name in set(whole.labels["session_id"])}
    for name in set(kept.labels["session_id"]):
        assert (kept.labels["session_id"] == name).sum() == turns[name]
    assert 0.3 < len(kept) / len(whole) < 0.5


SESSIONS = SessionSpec(
    turns=LognormalLengths(mu=1.0, sigma=0.6), think_s=EmpiricalSeconds(probabilities=(0, 1), seconds=(1, 60))
)


def generator(**more):
    return GeneratorSpec(
        duration_s=300, arrivals=GammaArrivals(rate_per_s=2, cv=2), input_tokens=LognormalLengths(mu=5, sigma=1),
        output_tokens=LognormalLengths(mu=4, sigma=1), **more,
    )  # fmt: skip


def test_turns_grow_by_answer_and_message():
    trace = generate(generator(sessions=SESSIONS), 1)
    for name in sorted(set(trace.labels["session_id"]))[:100]:
        rows = np.flatnonzero(trace.labels["session_id"] == name)
        assert trace.labels["turn"][rows].tolist() == list(range(1, len(rows) + 1))
        grown = trace.input_tokens[rows][1:] - trace.input_tokens[rows][:-1] - trace.output_tokens[rows][:-1]
        assert (grown >= 1).all()


def test_same_seed_same_requests_and_another_seed_others():
    same(generate(generator(), 5), generate(generator(), 5))
    assert not np.array_equal(generate(generator(), 5).arrival_s[:10], generate(generator(), 6).arrival_s[:10])


def test_a_new_client_changes_no_other_clients_requests():
    chat = ClientSpec(
        arrivals=PoissonArrivals(rate_per_s=3), input_tokens=LognormalLengths(mu=6, sigma=1),
        output_tokens=EmpiricalLengths(probabilities=(0, 1), tokens=(1, 100)), tenant="chat",
    )  # fmt: skip
    batch = dataclasses.replace(chat, arrivals=GammaArrivals(rate_per_s=1, cv=3), tenant="batch")
    alone = generate(GeneratorSpec(duration_s=100, clients={"chat": chat}), 0)
    both = generate(GeneratorSpec(duration_s=100, clients={"chat": chat, "batch": batch}), 0)
    same(both.take(both.labels["tenant"] == "chat"), alone)
    assert (both.labels["tenant"] == "batch").any()


def test_prefix_groups_fit_into_their_prompts():
    trace = generate(generator(prefix=PrefixGroups(weights=(1, 2, 1), tokens=(0, 500, 2000))), 0)
    assert (trace.labels["prefix_tokens"] < trace.input_tokens).all()
    assert set(trace.labels["prefix_id"]) == {"", "p1", "p2"}


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_block_ids_are_chained_and_fill_the_prompt(scale):
    tree = PrefixTree(
        block_tokens=16, trunk_blocks=1, probabilities=(0, 0.4, 1), shared_fraction=((0, 0, 1), (0, 0.5, 1)),
        age_s=EmpiricalSeconds(probabilities=(0, 1), seconds=(1, 100)),
    )  # fmt: skip
    trace = load_workload(WorkloadSpec(generator=generator(prefix=tree), rate_scale=scale), 0)
    parents = {}
    for ids, tokens in zip(trace.labels["block_hashes"], trace.input_tokens, strict=True):
        assert len(ids) == -(-tokens // 16)
        for before, block in zip((None, *ids), ids, strict=False):
            assert parents.setdefault(block, before) == before


def test_a_sessions_prefix_stands_before_its_history():
    plain = generate(generator(sessions=SESSIONS), 1)
    shared = generate(generator(sessions=SESSIONS, prefix=PrefixGroups(weights=(1,), tokens=(700,))), 1)
    assert np.array_equal(shared.input_tokens, plain.input_tokens + 700)
    assert set(shared.labels["prefix_tokens"]) == {700}
    cut = generate(generator(sessions=SESSIONS, prefix=PrefixGroups(weights=(1,), tokens=(700,)), max_total_tokens=900), 1)
    assert (cut.input_tokens + cut.output_tokens <= 900).all()
