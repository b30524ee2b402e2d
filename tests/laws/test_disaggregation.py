"""Laws of prefill and decode on different replicas."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from sim.analysis import summarize
from sim.analysis.laws import violations
from sim.engine.clock import Moment
from sim.perf import FrontEnd, resolve_engine, step_time_model
from sim.run import simulate
from sim.run.sampler import Sampler
from sim.spec import Scenario
from sim.spec.timeline import Change
from sim.workload import Trace
from tests.laws.test_fleet import a_scenario

PROTOCOLS = ("pull", "push", "reserve_first")
FAST = {"setup_s": 0.0, "nic_gb_per_s": 1e12}


def split(
    protocol: str = "pull", prefill: int = 1, decode: int = 1, engine: dict[str, Any] | None = None, **stated: Any
) -> Scenario:
    """One pool of each role; ``stated`` are further parts of the scenario."""
    fleet = {
        "pools": {"p": {"role": "prefill", "replicas": prefill}, "d": {"role": "decode", "replicas": decode}},
        "kv_transfer": stated.pop("kv_transfer", {}), "failures": stated.pop("failures", {}),
    }  # fmt: skip
    split_by = {"kind": "always", "protocol": protocol, **stated.pop("disaggregation", {})}
    gateway = {"disaggregation": split_by, **stated.pop("gateway", {})}
    return a_scenario(fleet=fleet, gateway=gateway, engine=engine or {}, **stated)


def trace(n: int, rate: float, prompt: tuple[int, int], answer: tuple[int, int], seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1 / rate, n))
    return Trace(
        arrival_s=arrival_s - arrival_s[0], input_tokens=rng.integers(*prompt, n, endpoint=True),
        output_tokens=rng.integers(*answer, n, endpoint=True),
    )  # fmt: skip


def parse_changes(stated: list[dict[str, Any]]) -> tuple[Change, ...]:
    return TypeAdapter(tuple[Change, ...]).validate_python(stated)


def decode_step_s(scenario: Scenario, prompt: int) -> float:
    engine = resolve_engine(scenario.engine, scenario.model, scenario.gpu)
    return step_time_model(scenario.model, scenario.gpu, engine).step([(1, prompt - 1)], 0, 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_with_endless_bandwidth_the_first_token_is_that_of_prefill_alone_the_hops_and_one_decode_step(protocol: str) -> None:
    """reserve_first saves the step: P's token is the first. Where both are asked at once D's front end delays nobody."""
    prompt, hop_s = 1600, 0.003
    one = Trace(arrival_s=np.zeros(1), input_tokens=np.array([prompt]), output_tokens=np.array([5]))
    scenario = split(protocol, kv_transfer=FAST, disaggregation={"hop_s": hop_s})
    apart = simulate(scenario, one).requests.iloc[0]
    whole = simulate(a_scenario(fleet={"replicas": 1}), one).requests.iloc[0]
    front_end_s = FrontEnd(scenario.gpu).delay_s(prompt)
    hops_s = {"pull": hop_s + front_end_s, "push": 0.0, "reserve_first": hop_s + front_end_s}[protocol]
    step_s = 0.0 if protocol == "reserve_first" else decode_step_s(scenario, prompt)
    assert apart["ttft_s"] == pytest.approx(whole["ttft_s"] + hops_s + step_s, abs=1e-9)


@pytest.mark.parametrize("prompts", [(200, 200), (20, 900)])
def test_a_threshold_above_every_prompt_is_the_run_of_whole_requests_byte_for_byte(prompts: tuple[int, int]) -> None:
    arrivals = trace(300, 6.0, prompts, (20, 80))
    never = {"kind": "prefix", "non_cached_tokens": 10_000}
    kept = simulate(split(decode=2, disaggregation=never), arrivals)
    whole = simulate(
        a_scenario(fleet={"pools": {"p": {"replicas": 1}, "d": {"replicas": 2}}}, gateway={"pools": ["d"]}), arrivals
    )
    pd.testing.assert_frame_equal(kept.requests, whole.requests)
    assert kept.gateway["kept_whole"] == 300 and kept.gateway["handed_over"] == 0


def test_tpot_at_decode_does_not_depend_on_how_prompts_vary_and_in_a_whole_replica_it_does() -> None:
    """The same tokens, in equal prompts or in few long ones: no long prefill step stands between two tokens of D."""
    n = 240
    even = Trace(arrival_s=np.arange(n) * 0.25, input_tokens=np.full(n, 1000), output_tokens=np.full(n, 60))
    lengths = np.where(np.arange(n) % 5 == 0, 4600, 100)
    varied = Trace(arrival_s=even.arrival_s, input_tokens=lengths, output_tokens=even.output_tokens)

    def slowest_gap_s(scenario: Scenario, arrivals: Trace) -> float:
        itl = simulate(scenario, arrivals).itl
        return float(itl.edges_s[1:][np.cumsum(itl.counts) >= 0.999 * itl.counts.sum()][0])

    apart = [slowest_gap_s(split(kv_transfer=FAST), one) for one in (even, varied)]
    whole = [slowest_gap_s(a_scenario(fleet={"replicas": 2}), one) for one in (even, varied)]
    assert apart[1] <= 1.15 * apart[0]
    assert whole[1] > 1.5 * whole[0]


@settings(max_examples=12)
@given(
    protocol=st.sampled_from(PROTOCOLS), seed=st.integers(0, 10_000), rate=st.sampled_from((1.0, 4.0, 12.0)),
    decode=st.integers(1, 2), blocks=st.sampled_from((160, 400, 4000)), policy=st.sampled_from(("fail", "recompute")),
    losses=st.lists(st.tuples(st.sampled_from("pd"), st.floats(1.0, 20.0)), max_size=2), timeout=st.sampled_from((None, 1.5)),
    heartbeats=st.booleans(), asynchronous=st.booleans(),
)  # fmt: skip
def test_whatever_dies_or_is_short_the_books_balance(
    protocol: str, seed: int, rate: float, decode: int, blocks: int, policy: str, losses: list[tuple[str, float]],
    timeout: float | None, heartbeats: bool, asynchronous: bool,
) -> None:  # fmt: skip
    engine = {
        "num_gpu_blocks_override": blocks, "max_model_len": 2048, "async_scheduling": asynchronous,
        "kv_connector": {"load_failure_policy": policy, "lease_s": 3.0, "heartbeats": heartbeats},
    }  # fmt: skip
    changes = [{"kind": "replica_loss", "at_s": at_s, "pool": pool} for pool, at_s in losses]
    scenario = split(
        protocol, decode=decode, engine=engine, timeline=changes, check_invariants=True,
        gateway={"client_timeout_s": timeout, "retries": {"kind": "backoff", "max_attempts": 2}},
        failures={"detect_s": 0.5},
    )  # fmt: skip
    result = simulate(scenario, trace(60, rate, (10, 1200), (1, 60), seed))
    assert violations(result) == []
    assert result.gateway["unfinished_attempts"] >= 0
    sent, received = (result.replicas[name].sum() for name in ("sent_bytes", "received_bytes"))
    assert sent == pytest.approx(received)


@settings(max_examples=10)
@given(
    protocol=st.sampled_from(PROTOCOLS), seed=st.integers(0, 10_000), rate=st.sampled_from((2.0, 6.0, 20.0)),
    decode=st.integers(1, 2), blocks=st.sampled_from((160, 400, 4000)), policy=st.sampled_from(("fail", "recompute")),
    losses=st.lists(st.tuples(st.sampled_from("pd"), st.floats(1.0, 20.0)), max_size=1), timeout=st.sampled_from((None, 1.5)),
    asynchronous=st.booleans(), gb_per_s=st.sampled_from((0.2, 17.0)),
)  # fmt: skip
def test_skipped_equals_stepped(
    protocol: str, seed: int, rate: float, decode: int, blocks: int, policy: str, losses: list[tuple[str, float]],
    timeout: float | None, asynchronous: bool, gb_per_s: float,
) -> None:  # fmt: skip
    """A load begins, and its news are heard, at the step at which they are when every token is stepped."""
    engine = {
        "num_gpu_blocks_override": blocks, "max_model_len": 2048, "async_scheduling": asynchronous,
        "kv_connector": {"load_failure_policy": policy, "lease_s": 3.0},
    }  # fmt: skip
    changes = [{"kind": "replica_loss", "at_s": at_s, "pool": pool} for pool, at_s in losses]
    found = []
    for skips in (True, False):
        scenario = split(
            protocol, decode=decode, engine=engine | {"skip_decode": skips}, timeline=changes,
            kv_transfer={"nic_gb_per_s": gb_per_s}, gateway={"client_timeout_s": timeout}, failures={"detect_s": 0.5},
        )  # fmt: skip
        found.append(simulate(scenario, trace(80, rate, (10, 1200), (1, 120), seed)))
    columns = ["first_token_s", "finish_s", "outcome", "preemptions", "cached_tokens", "replica", "transfer_s", "handover_s"]
    skipped, stepped = (result.requests[columns] for result in found)
    pd.testing.assert_frame_equal(skipped, stepped, rtol=0, atol=1e-8)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_handover_takes_few_moments_and_leaves_no_cycle(protocol: str) -> None:
    """A whole request takes four moments of the clock. The collector rests during a run: what only it can free piles up."""
    left = []
    gc.collect()
    gc.disable()
    try:
        for n in (300, 900):
            result = simulate(split(protocol), trace(n, 4.0, (200, 1800), (50, 350)))
            assert result.kernel_events <= 9 * n
            del result
            left.append(gc.collect())
    finally:
        gc.enable()
    assert left[1] - left[0] <= 4 * 600  # contents of the prefix caches; each hand-over was 16 objects more


def blocked_decode(heartbeats: bool, policy: str = "fail", lease_s: float = 30.0) -> tuple[Scenario, Trace]:
    """A decode replica with one seat, which the first request holds for more than 50 s."""
    engine = {
        "max_num_seqs": 1, "max_model_len": 8192,
        "kv_connector": {"heartbeats": heartbeats, "load_failure_policy": policy, "lease_s": lease_s},
    }  # fmt: skip
    arrivals = Trace(arrival_s=np.array([0.0, 1.0]), input_tokens=np.array([500, 700]), output_tokens=np.array([3000, 200]))
    return split(engine=engine), arrivals


def test_a_lease_without_heartbeats_ends_while_decode_is_blocked_and_with_them_never() -> None:
    failed = simulate(*blocked_decode(heartbeats=False))
    first, second = failed.requests["outcome"].astype(str)
    assert (first, second) == ("completed", "failed")
    assert failed.requests["finish_s"][0] > 40
    assert failed.requests["reason"].astype(str)[1] == "kv_load_failed"
    assert (failed.gateway["leases_ended"], failed.gateway["not_handed_over"]) == (1, 1)
    ended = next(event for event in failed.events if event["event"] == "kv_lease_ended")
    assert ended["time_s"] == pytest.approx(31.0, abs=0.5)
    held = simulate(*blocked_decode(heartbeats=True))
    assert (held.requests["outcome"] == "completed").all()
    assert held.gateway["leases_ended"] == 0
    series = held.timeseries.set_index("time_s")["kv_pinned"]
    assert series.loc[5.0:35.0].min() > 0  # type: ignore[misc]
    assert series.iloc[-1] == 0


def test_with_recompute_the_decode_replica_computes_what_it_could_not_read() -> None:
    result = simulate(*blocked_decode(heartbeats=False, policy="recompute"))
    assert (result.requests["outcome"] == "completed").all()
    assert result.requests["computed_tokens"][1] == pytest.approx(1400, abs=16)  # at P and again at D


def test_blocks_of_a_decode_replica_that_died_are_free_at_the_end_of_the_lease() -> None:
    scenario, arrivals = blocked_decode(heartbeats=True, lease_s=12.0)
    dead = replace(scenario, timeline=parse_changes([{"kind": "replica_loss", "at_s": 5.0, "pool": "d", "repair": "none"}]))
    result = simulate(dead, arrivals)
    assert (result.requests["outcome"] == "failed").all()
    ends = [event["time_s"] for event in result.events if event["event"] == "kv_lease_ended"]
    assert ends == [] or 12.0 <= ends[0] <= 17.5


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pinned_blocks_are_those_of_prompts_that_nobody_has_read_yet(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def look(self: Sampler, moment: Moment) -> None:
        for server in [server for server in self._servers if server.role == "prefill"]:
            server.replica.view()
            external = server.replica.scheduler.books.external
            assert external is not None
            released = {report.request for report in external.reports if report.good < 0}
            assert len(external.pinned) - len(released) == server.handoffs
            seen.append(server.handoffs)
        sample(self, moment)

    sample = Sampler._sample
    monkeypatch.setattr(Sampler, "_sample", look)
    scenario = split(
        protocol, kv_transfer={"nic_gb_per_s": 0.5}, engine={"num_gpu_blocks_override": 1500, "max_model_len": 4096},
        check_invariants=True,
    )  # fmt: skip
    result = simulate(scenario, trace(120, 6.0, (100, 2000), (5, 60)))
    assert violations(result) == []
    assert max(seen) > 0
    assert (result.requests["outcome"] == "completed").all()
    rate = 0.5e9
    assert (
        result.requests["transfer_bytes"] / result.requests["transfer_s"] <= rate * (1 + 1e-9)
    ).all() or protocol == "push"
    assert result.replicas["received_bytes"].max() <= rate * result.end_s


def test_a_prefill_replica_that_drains_waits_until_its_prompts_are_read() -> None:
    scenario = split(prefill=2, kv_transfer={"nic_gb_per_s": 0.05})
    shrunk = replace(scenario, timeline=parse_changes([{"kind": "pool_size", "at_s": 6.0, "pool": "p", "replicas": 1}]))
    result = simulate(shrunk, trace(40, 4.0, (500, 1500), (5, 30)))
    assert (result.requests["outcome"] == "completed").all()
    assert result.gateway["not_handed_over"] == 0


def test_two_coupled_pools_scale_each_on_its_own_load() -> None:
    """Long prompts and short answers ask for prefill replicas, short prompts and long answers for decode replicas."""
    pools = {
        "p": {"role": "prefill", "replicas": 1, "max_replicas": 6}, "d": {"role": "decode", "replicas": 1, "max_replicas": 6},
    }  # fmt: skip
    planner = {"kind": "sla_planner", "interval_s": 20.0, "scrape_s": 20.0, "ttft_s": 1.0, "itl_s": 0.028}
    scenario = a_scenario(fleet={"pools": pools}, autoscaler=planner)
    most = {}
    for name, prompt, answer in (("prompts", (3500, 3900), (5, 20)), ("answers", (50, 150), (500, 700))):
        series = simulate(scenario, trace(700, 5.0, prompt, answer)).replicas["pool"].value_counts()
        most[name] = (int(series["p"]), int(series["d"]))
    assert most["prompts"][0] > most["prompts"][1]
    assert most["answers"][1] > most["answers"][0]


def test_what_was_handed_over_is_told() -> None:
    result = simulate(split(), trace(50, 3.0, (100, 1000), (5, 50)))
    told = summarize(result)["disaggregation"]
    assert told["handed_over"] == 50 and told["not_handed_over"] == 0
    assert told["bytes"] == pytest.approx(result.replicas["received_bytes"].sum())
    blocks = np.ceil(result.requests["input_tokens"] / 16) * 16
    assert (result.requests["transfer_bytes"] == blocks * 131_072).all()  # 32 layers, 8 heads of 128, keys and values, bf16
    assert (result.requests["handover_s"] >= result.requests["transfer_s"]).all()
    assert summarize(simulate(a_scenario(), trace(5, 3.0, (100, 1000), (5, 50))))["disaggregation"] is None
