"""Laws of calibration: it finds multipliers that were put in, and refuses what the data cannot tell apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from sim.errors import ConfigError
from sim.perf import FrontEnd, memory_plan, resolve_engine, step_time_model
from sim.spec import EngineSpec, GpuPrice, GpuSpec
from sim.trust import calibrate
from sim.trust.observations import Observations
from sim.trust.replay import replay
from sim.workload.trace import Trace
from tests.presets import gpu, model

TRUTH = {"compute": 1.25, "memory": 0.9, "host": 1.5, "front_end": 2.0}
ENGINE = EngineSpec(max_model_len=8192, async_scheduling=False)


def measured(trace: Trace) -> Observations:
    """What a server with the multipliers ``TRUTH`` would show."""
    llama, card = model("llama3_8b"), replace(gpu("h100"), step_time_scale=TRUTH)
    engine = resolve_engine(ENGINE, llama, card)
    time, blocks = step_time_model(llama, card, engine), memory_plan(llama, card, engine).num_gpu_blocks
    result = replay(trace, engine, blocks, time, FrontEnd(card))
    return Observations("made", trace, result.ttft_s, result.e2e_s)


def load(rate_per_s: float, n: int, seed: int, longest: int = 4000) -> Trace:
    draw = np.random.default_rng(seed)
    return Trace(
        np.cumsum(draw.exponential(1 / rate_per_s, n)), draw.integers(20, longest, n), draw.integers(20, 200, n)
    )  # fmt: skip


def test_it_finds_what_was_put_in() -> None:
    runs = [measured(load(1.0, 60, 1)), measured(load(20.0, 200, 2))]
    found = calibrate.fit_multipliers(runs, model("llama3_8b"), gpu("h100"), ENGINE)
    assert found.multipliers == pytest.approx(TRUTH, rel=0.05)
    assert not found.load_goes_on
    for metric, error in found.errors_after.items():
        assert abs(error) < 0.01 < abs(found.errors_before[metric])


def test_one_load_level_is_refused() -> None:
    """One request at a time, all alike: every multiplier does the same to all of them."""
    n = 30
    trace = Trace(np.arange(n) * 5.0, np.full(n, 500), np.full(n, 50))
    with pytest.raises(ConfigError, match=r"cannot be told apart.*--fix"):
        calibrate.fit_multipliers([measured(trace)], model("llama3_8b"), gpu("h100"), ENGINE)


def test_what_is_written_is_a_gpu_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    idle, busy = load(1.0, 40, 3), load(20.0, 160, 4)
    run = measured(Trace(
        np.concatenate([idle.arrival_s, idle.arrival_s[-1] + busy.arrival_s]),
        np.concatenate([idle.input_tokens, busy.input_tokens]),
        np.concatenate([idle.output_tokens, busy.output_tokens]),
    ))  # fmt: skip
    rows = zip(run.trace.arrival_s, run.trace.input_tokens, run.trace.output_tokens, run.ttft_s, run.e2e_s, strict=True)
    file = tmp_path / "bench.csv"
    lines = "\n".join(",".join(str(value) for value in row) for row in rows)
    file.write_text("arrival_s,input_tokens,output_tokens,ttft_s,e2e_s\n" + lines)
    words = [
        str(file), "--out", str(tmp_path / "out"), "--fix", "front_end=2", "gpu=h100", "model=llama3_8b",
        "engine.max_model_len=8192", "engine.async_scheduling=false",
    ]  # fmt: skip
    assert calibrate.main(words) == 0
    assert "gpu=mine" in capsys.readouterr().out
    data = yaml.safe_load((tmp_path / "out" / "gpu" / "mine.yaml").read_text())
    spec = GpuSpec(**{**data, "price": GpuPrice(**data["price"])})
    assert spec.name == "h100"
    assert spec.step_time_scale == pytest.approx(TRUTH, rel=0.1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.csv"], "nowhere.csv"),
        (["x.csv", "gpu=h1000"], "h1000"),
        (["x.csv", "engine.max_num_seq=1"], "engine.max_num_seq: unknown key"),
        (["x.csv", "--fix", "host=-1"], "host=-1"),
    ],
)
def test_bad_words_end_with_exit_code_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate.main(words) == 2
    assert message in capsys.readouterr().err
