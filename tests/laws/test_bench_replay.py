"""Law of the replay that calibration runs: it answers as ``simulate`` does on one replica, whatever the engine decides."""

from __future__ import annotations

import numpy as np
import pytest

from sim.fleet.blueprint import Blueprint
from sim.perf import FrontEnd
from sim.presets.read import preset
from sim.run import simulate
from sim.spec import EngineSpec, OutputSpec, Scenario, WorkloadSpec
from sim.trust.replay import replay
from sim.workload.trace import Trace
from tests.presets import gpu, model


@pytest.mark.parametrize(
    ("engine", "served"),
    [("vllm", "llama3_8b"), ("sglang", "llama3_8b"), ("tensorrt_llm", "llama3_8b"), ("vllm", "gpt_oss_20b")],
)
def test_it_is_a_run_on_one_replica(engine: str, served: str) -> None:
    draw = np.random.default_rng(3)
    n = 120
    labels = {
        "prefix_id": np.array([f"g{i % 3}" for i in range(n)], dtype=object), "prefix_tokens": np.full(n, 64),
        "prompt_id": np.array([f"p{i % 30}" if i % 2 else "" for i in range(n)], dtype=object),
    }  # fmt: skip
    inputs = np.array([200 + 37 * (i % 30) for i in range(n)])
    trace = Trace(np.cumsum(draw.exponential(0.04, n)), inputs, draw.integers(5, 120, n), labels)
    stated = preset("engine", engine)
    spec = EngineSpec(**{**stated, "max_model_len": 8192, "num_gpu_blocks_override": 48_000 // stated["block_size"]})
    scenario = Scenario(
        model=model(served), gpu=gpu("h100"), engine=spec, workload=WorkloadSpec(name="x", path="x"),
        output=OutputSpec(requests=False, timeseries=False, report=False),
    )  # fmt: skip
    whole = simulate(scenario, trace).requests
    server = Blueprint("x", scenario.model, scenario.gpu, spec)
    found = replay(trace, server.engine, server.blocks, server.step_time, FrontEnd(scenario.gpu), server.groups)
    assert np.allclose(found.ttft_s, whole["ttft_s"], rtol=0, atol=1e-9)
    assert np.allclose(found.e2e_s, whole["e2e_s"], rtol=0, atol=1e-9)
