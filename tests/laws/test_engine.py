"""Laws of the engine inside whole simulations, with the real step-time tables and float seconds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.record.result import Result
from sim.run import simulate
from sim.spec import FleetSpec, GpuSpec, Scenario, WorkloadSpec
from sim.spec.engine import EngineSpec
from sim.trust.conformance import Recording
from sim.workload import Trace
from tests.conformance.random_cases import random_case
from tests.presets import gpu, model


def asked(on: str = "h100", replicas: int = 1, **engine: Any) -> Scenario:
    return Scenario(
        model=model("llama3_8b"),
        gpu=gpu(on),
        engine=EngineSpec(**engine),
        fleet=FleetSpec(replicas=replicas),
        workload=WorkloadSpec(packaged="unused"),
    )


def chat(requests: int, rate: float, seed: int, sessions: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1 / rate, requests))
    inputs = np.clip(rng.lognormal(6.0, 1.0, requests), 1, 4000).astype(int)
    outputs = np.clip(rng.lognormal(4.5, 0.8, requests), 1, 800).astype(int)
    labels = {}
    if sessions:
        labels["session_id"] = np.array([f"s{i}" for i in rng.integers(0, sessions, requests)], dtype=object)
    return Trace(arrival_s, inputs, outputs, labels)


TIMES = ["first_token_s", "finish_s"]


def assert_same(a: Result, b: Result) -> None:
    pd.testing.assert_frame_equal(a.requests[TIMES], b.requests[TIMES], rtol=0, atol=1e-9)
    counts = ["output_tokens", "cached_tokens", "preemptions", "outcome", "replica"]
    pd.testing.assert_frame_equal(a.requests[counts], b.requests[counts])
    assert a.engine_steps == b.engine_steps


@settings(max_examples=10)
@given(
    st.integers(0, 10_000),
    st.sampled_from([(6.0, 310), (9.0, 1000), (20.0, None)]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 20),
)
def test_skipped_equals_stepped_on_real_tables(
    seed: int, load: tuple[float, int | None], asynchronous: bool, caching: bool, sessions: int
) -> None:
    rate, blocks = load
    scenario = asked(
        async_scheduling=asynchronous, enable_prefix_caching=caching, num_gpu_blocks_override=blocks, max_model_len=4800
    )
    trace = chat(60, rate, seed, sessions)
    stepping = replace(scenario, engine=replace(scenario.engine, skip_decode=False))
    assert_same(simulate(scenario, trace), simulate(stepping, trace))


def test_both_pools_agree_when_nothing_is_shared() -> None:
    """Without a preemption nobody can hit anything, so caching changes nothing."""
    trace = chat(150, 10.0, 3)
    with_cache, without = (simulate(asked(enable_prefix_caching=caching), trace) for caching in (True, False))
    assert with_cache.requests["preemptions"].sum() == 0
    assert_same(with_cache, without)


def test_blocks_are_conserved_on_shared_prefixes_under_pressure() -> None:
    trace = chat(80, 20.0, 5, sessions=6)
    plain = asked(num_gpu_blocks_override=600, max_model_len=4800)
    watched = replace(plain, check_invariants=True)
    result = simulate(watched, trace)
    assert result.requests["cached_tokens"].sum() > 0
    assert result.requests["preemptions"].sum() > 0
    assert_same(result, simulate(plain, trace))


def goodput(result: Result) -> float:
    requests = result.requests
    return float(((requests["ttft_s"] <= 1.0) & ~(requests["tpot_s"] > 0.05)).mean())


def test_more_replicas_never_lower_goodput() -> None:
    trace = chat(400, 25.0, 7)
    met = [goodput(simulate(asked("l40s", replicas=n), trace)) for n in (1, 2, 3, 4)]
    assert met[-1] > met[0]
    assert all(after >= before - 0.02 for before, after in pairwise(met)), met


def faster(spec: GpuSpec, times: float) -> GpuSpec:
    return replace(spec, name="faster", bandwidth_gb_s=spec.bandwidth_gb_s * times, tflops_bf16=spec.tflops_bf16 * times)


def test_a_faster_gpu_never_raises_p95() -> None:
    trace = chat(300, 12.0, 9)
    base = asked(step_time="roofline")
    results = [simulate(replace(base, gpu=faster(base.gpu, times)), trace).requests for times in (1.0, 1.5, 2.0)]
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        p95 = [float(r[metric].quantile(0.95)) for r in results]
        assert all(after <= before * 1.02 for before, after in pairwise(p95)), (metric, p95)


@pytest.mark.parametrize("seed", [11, 12])
def test_same_seed_same_bytes(seed: int) -> None:
    trace = chat(100, 15.0, seed, sessions=5)
    first, second = (simulate(asked(), trace).requests for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_skipping_is_exact_on_prefix_trees_under_pressure() -> None:
    """Turns, duplicates, answers asked for while they are written: integer times are equal, ties included."""
    for seed in range(1000, 1150):
        case = random_case(seed)
        if not case["requests"] or "arrival_step" in case["requests"][0]:
            continue
        outcomes = []
        for skip in (False, True):
            recording = Recording(case, skip_decode=skip)
            recording.run(3000)
            if len(recording.rows) == 3000 or recording.stalled:
                break
            rows = recording.answered.items()
            outcomes.append(
                [(i, r.first_token_at, r.finished_at, r.cached_tokens, r.preemptions, r.recomputed) for i, r in rows]
            )
        assert all(outcome == outcomes[0] for outcome in outcomes), seed
