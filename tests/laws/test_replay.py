"""The short way that fits use (``replay``) and the whole house (``simulate``) agree on one replica."""

from __future__ import annotations

import numpy as np
import pytest

from sim.perf import front_end_s, memory_plan, resolve_engine, step_time_model
from sim.run import simulate
from sim.spec import EngineSpec, Scenario, WorkloadSpec
from sim.trust.replay import closed_loop, replay
from sim.workload.trace import Trace
from tests.presets import gpu, model


def test_replay_is_simulate_on_one_replica() -> None:
    draw = np.random.default_rng(5)
    n = 150
    # arrivals far enough apart that the front end never queues: the gateway has a fixed delay, ``replay`` a queue
    trace = Trace(np.cumsum(draw.uniform(0.02, 0.4, n)), draw.integers(20, 3000, n), draw.integers(2, 200, n))
    llama, card = model("llama3_8b"), gpu("l40s")
    engine = resolve_engine(EngineSpec(max_num_seqs=16), llama, card)
    scenario = Scenario(model=llama, gpu=card, engine=engine, workload=WorkloadSpec(path="given"))
    whole = simulate(scenario, trace).requests
    time, blocks = step_time_model(llama, card, engine), memory_plan(llama, card, engine).num_gpu_blocks
    short = replay(trace, engine, blocks, time, lambda prompt: front_end_s(prompt, card))
    assert short.ttft_s == pytest.approx(whole["ttft_s"].to_numpy(), abs=1e-9)
    assert short.e2e_s == pytest.approx(whole["e2e_s"].to_numpy(), abs=1e-9)
    assert short.tpot_s == pytest.approx(whole["tpot_s"].to_numpy(), abs=1e-9)


@pytest.mark.parametrize("concurrency", [1, 7])
def test_a_closed_loop_keeps_its_number_in_flight(concurrency: int) -> None:
    """Little's law without waiting: the sum of times in the system is concurrency x duration, ends apart."""
    llama, card = model("llama3_8b"), gpu("h100")
    engine = resolve_engine(EngineSpec(max_model_len=8192), llama, card)
    lengths = [(200 + 13 * i % 400, 20 + 7 * i % 90) for i in range(40 * concurrency)]
    time, blocks = step_time_model(llama, card, engine), memory_plan(llama, card, engine).num_gpu_blocks
    result = closed_loop(lengths, concurrency, engine, blocks, time, front_end_s)
    in_flight = result.e2e_s.sum() / result.end_s
    assert concurrency * 0.9 <= in_flight <= concurrency * (1 + 1e-9)
