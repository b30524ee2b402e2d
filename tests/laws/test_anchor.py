"""An anchor brings the simulator to the measured point, and a server's own means give its multiplier back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sim.errors import ConfigError
from sim.measured import aggregates_in
from sim.perf import FrontEnd, memory_plan, resolve_engine, step_time_model
from sim.spec import EngineSpec
from sim.trust import calibrate
from sim.trust.measured_run import standing_for
from sim.trust.replay import closed_loop
from tests.presets import gpu, model
from tests.unit.measured import reports

ENGINE = EngineSpec(max_model_len=8192, async_scheduling=False)


def measured_report(multiplier: float, users: int) -> str:
    """What ``vllm bench serve`` would report of a server whose steps take ``multiplier`` times as long."""
    llama = model("llama3_8b")
    scale = {"compute": multiplier, "memory": multiplier, "host": multiplier, "front_end": 1.0}
    card = replace(gpu("h100"), step_time_scale=scale)
    engine = resolve_engine(ENGINE, llama, card)
    blocks = memory_plan(llama, card, engine).num_gpu_blocks
    lengths = [(reports.INPUT, reports.OUTPUT)] * (6 * users)
    run = closed_loop(lengths, users, engine, blocks, step_time_model(llama, card, engine), FrontEnd(card))
    return json.dumps({
        **reports.VLLM, "completed": len(lengths), "max_concurrency": users, "duration": run.end_s,
        "total_input_tokens": reports.INPUT * len(lengths), "total_output_tokens": reports.OUTPUT * len(lengths),
        "request_throughput": len(lengths) / run.end_s, "mean_ttft_ms": 1e3 * float(run.ttft_s.mean()),
        "mean_tpot_ms": 1e3 * float(run.tpot_s.mean()), "mean_e2el_ms": 1e3 * float(run.e2e_s.mean()),
    })  # fmt: skip


@pytest.mark.parametrize(("multiplier", "users"), [(0.6, 4), (1.0, 32), (7.0, 1)])
def test_it_finds_what_was_put_in(multiplier: float, users: int) -> None:
    (point,) = aggregates_in("report", measured_report(multiplier, users))
    found = calibrate.fit_multipliers([standing_for(point)], model("llama3_8b"), gpu("h100"), ENGINE)
    assert found.anchored
    assert found.interval_95 == {}
    assert found.multipliers["memory"] == pytest.approx(multiplier, rel=0.01)
    assert all(abs(error) < 0.02 for error in found.errors_after.values())


def test_a_model_that_was_not_measured_is_refused() -> None:
    point = aggregates_in("report", json.dumps({**reports.VLLM, "total_input_tokens": 9_000 * reports.REQUESTS}))
    with pytest.raises(ConfigError, match="fit the engine"):
        calibrate.fit_multipliers([standing_for(point[0])], model("llama3_8b"), gpu("h100"), ENGINE)
    point = aggregates_in("report", json.dumps({**reports.VLLM, "mean_ttft_ms": None, "mean_tpot_ms": None}))
    with pytest.raises(ConfigError, match="--fix holds"):
        calibrate.fit_multipliers(
            [standing_for(point[0])], model("llama3_8b"), gpu("h100"), ENGINE, {"compute": 1, "memory": 1, "host": 1}
        )


def test_the_verb_says_what_an_anchor_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.json").write_text(measured_report(2.0, 4))
    words = [str(tmp_path / "report.json"), "gpu=h100", "--out", str(tmp_path / "out"), "engine.max_model_len=8192"]
    assert calibrate.main(words) == 0
    shown = capsys.readouterr().out
    assert "closed loop of 4 requests in flight" in shown
    assert "anchored to means" in shown
    text = (tmp_path / "out" / "gpu" / "mine.yaml").read_text()
    assert "anchored to means" in text
    assert "anchored to report.json" in yaml.safe_load(text)["source"]
    assert calibrate.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["anchored"]
    assert found["runs"][0]["in_flight"] == 4
    assert calibrate.main([*words, "--concurrency", "-1"]) == 2
