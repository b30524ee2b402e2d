"""Laws of calibration: it finds multipliers that were put in, and says what the data cannot tell apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from sim.errors import ConfigError
from sim.fleet.blueprint import Blueprint
from sim.perf import FrontEnd, memory_plan, resolve_engine, step_time_model
from sim.spec import EngineSpec, GpuPrice, GpuSpec
from sim.trust import calibrate, multipliers
from sim.trust.bench import scales_of
from sim.trust.calibration import Calibration
from sim.trust.known_servers import KNOWN, SPREAD
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


def ends_of(found: Calibration) -> dict[str, tuple[float, float]]:
    """The values of each multiplier that are not ruled out."""
    return {**found.interval_95, **found.not_determined}


def test_it_finds_what_was_put_in() -> None:
    runs = [measured(load(1.0, 60, 1)), measured(load(20.0, 200, 2))]
    found = calibrate.fit_multipliers(runs, model("llama3_8b"), gpu("h100"), ENGINE)
    assert found.multipliers == pytest.approx(TRUTH, rel=0.05)
    assert not found.load_goes_on
    for metric, error in found.errors_after.items():
        assert abs(error) < 0.01 < abs(found.errors_before[metric])


def test_one_load_level_has_many_explanations_and_that_is_said() -> None:
    """One request at a time, all alike: every multiplier does the same to all of them. It used to be refused; a range and
    the measurement that would decide help more."""
    n = 30
    trace = Trace(np.arange(n) * 5.0, np.full(n, 500), np.full(n, 50))
    found = calibrate.fit_multipliers([measured(trace)], model("llama3_8b"), gpu("h100"), ENGINE)
    assert found.ambiguous
    assert found.decides is not None
    assert found.decides.streams > 1
    assert any("more than one explanation" in line for line in found.words())
    assert all(low <= TRUTH[name] <= high for name, (low, high) in ends_of(found).items())


def test_a_part_of_a_run_is_read_with_its_company() -> None:
    """The middle of a long run: what came before and after it is not in the file."""
    whole = measured(load(5.0, 240, 5))
    rows = np.arange(80, 160)
    part = whole.trace.take(rows, whole.trace.arrival_s[rows] - whole.trace.arrival_s[80])
    cut = Observations("part", part, whole.ttft_s[rows], whole.e2e_s[rows])
    found = calibrate.fit_multipliers([cut], model("llama3_8b"), gpu("h100"), ENGINE)
    assert found.load_goes_on
    assert found.multipliers["compute"] == pytest.approx(TRUTH["compute"], rel=0.1)
    assert abs(found.errors_after["tpot"]) < 0.03


def test_what_the_data_do_not_contradict_stays_at_1() -> None:
    """A server as the preset has it, but for its front end: the other multipliers stay, and their ranges hold 1."""
    llama, card = model("llama3_8b"), replace(gpu("h100"), step_time_scale={"front_end": 3.0})
    server = Blueprint("x", llama, card, ENGINE)
    trace = load(3.0, 60, 7)
    run = replay(trace, server.engine, server.blocks, server.step_time, FrontEnd(card))
    found = calibrate.fit_multipliers([Observations("made", trace, run.ttft_s, run.e2e_s)], llama, gpu("h100"), ENGINE)
    assert {found.multipliers[name] for name in ("compute", "memory", "host")} == {1.0}
    ranges = {name: ends for name, ends in ends_of(found).items() if name in SPREAD}
    assert all(low < 1 < high for low, high in ranges.values())
    assert found.multipliers["front_end"] == pytest.approx(3.0, rel=0.1)
    assert found.known_kind
    assert all(KNOWN[name][0] - 1e-9 <= low <= high <= KNOWN[name][1] + 1e-9 for name, (low, high) in ranges.items())


def test_what_the_data_do_not_determine_is_told_apart() -> None:
    """At an idle server's load its CPU hardly shows: no interval of it is given, but the values that the data allow."""
    llama, card, trace = model("llama3_8b"), gpu("h100"), load(2.0, 60, 11)
    server = Blueprint("x", llama, card, ENGINE)
    run = replay(trace, server.engine, server.blocks, server.step_time, FrontEnd(card))
    found = calibrate.fit_multipliers([Observations("made", trace, run.ttft_s, run.e2e_s)], llama, card, ENGINE)
    assert "host" in found.not_determined
    assert "memory" in found.interval_95
    assert set(found.interval_95) | set(found.not_determined) == set(scales_of(server.engine)) - {"launch"}
    for name, (low, high) in found.interval_95.items():
        assert not low <= 1.0 <= high or (high - low) / 2 <= 0.2 * found.multipliers[name]
    for name, (low, high) in found.not_determined.items():
        assert low <= 1.0 <= high
        assert (high - low) / 2 > 0.2 * found.multipliers[name]
    assert "not determined" in found.known("host")
    assert found.as_data()["not_determined"]["host"] == list(found.not_determined["host"])


def test_what_is_known_of_servers_narrows_and_can_be_left_out() -> None:
    """One request at a time on the preset's own server: its CPU may be anything by the data alone, not by its kind."""
    llama, card, trace = model("llama3_8b"), gpu("h100"), Trace(np.arange(20) * 2.0, np.full(20, 300), np.full(20, 20))
    server = Blueprint("x", llama, card, ENGINE)
    run = replay(trace, server.engine, server.blocks, server.step_time, FrontEnd(card))
    runs = [Observations("made", trace, run.ttft_s, run.e2e_s)]
    kind, any_server = (calibrate.fit_multipliers(runs, llama, card, ENGINE, any_server=each) for each in (False, True))
    assert (kind.known_kind, any_server.known_kind) == (True, False)
    assert any("of a known kind" in line for line in kind.words())
    anybody = ends_of(any_server)
    for name, (low, high) in ends_of(kind).items():
        assert anybody[name][0] <= low * 1.05
        assert anybody[name][1] >= high / 1.05
    assert anybody["host"][1] > 1.2 * ends_of(kind)["host"][1]
    assert kind.capacity[0].high / kind.capacity[0].low < any_server.capacity[0].high / any_server.capacity[0].low


def test_a_server_of_a_known_kind_goes_no_further_from_its_preset_than_the_data_ask() -> None:
    """A run's own noise pulls a fit: of explanations that are as good, the one nearest to the preset is taken."""
    llama, card = model("llama3_8b"), gpu("h100")
    server = Blueprint("x", llama, replace(card, step_time_scale={"compute": 1.08}), ENGINE)
    trace, draw = load(8.0, 100, 12), np.random.default_rng(3)
    run = replay(trace, server.engine, server.blocks, server.step_time, FrontEnd(card))
    ttft_s, rest_s = (seconds * draw.lognormal(0.0, 0.06, 100) for seconds in (run.ttft_s, run.e2e_s - run.ttft_s))
    runs = [Observations("made", trace, ttft_s, ttft_s + rest_s)]
    kind, any_server = (calibrate.fit_multipliers(runs, llama, card, ENGINE, any_server=each) for each in (False, True))
    assert kind.known_kind
    near, far = (np.abs(np.log(list(found.multipliers.values()))).sum() for found in (kind, any_server))
    assert near <= far
    assert all(abs(error) < 0.03 for error in kind.errors_after.values())


def test_a_link_shows_in_tensor_parallel_runs_only() -> None:
    llama, slow = model("llama3_8b"), replace(gpu("l40s"), step_time_scale={"link": 2.0})
    two = replace(ENGINE, tensor_parallel_size=2)
    trace = load(3.0, 60, 8)
    server = Blueprint("x", llama, slow, two)
    run = replay(trace, server.engine, server.blocks, server.step_time, FrontEnd(slow))
    found = calibrate.fit_multipliers([Observations("made", trace, run.ttft_s, run.e2e_s)], llama, gpu("l40s"), two)
    low, high = ends_of(found)["link"]
    assert low <= 2.0 <= high
    assert "link" not in scales_of(ENGINE)


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


@pytest.mark.parametrize("share", ["compute", "memory", "link", "host"])
def test_no_multiplier_makes_a_step_shorter_than_nothing(share: str) -> None:
    """Kernels of a split model are shorter beside others: compute x 64 once gave steps of 33 tokens -7 ms."""
    card = replace(gpu("l40s"), step_time_scale={share: 64.0})
    engine = resolve_engine(replace(ENGINE, tensor_parallel_size=2), model("llama3_8b"), card)
    time = step_time_model(model("llama3_8b"), card, engine)
    plain = step_time_model(model("llama3_8b"), gpu("l40s"), engine)
    for new in (1, 8, 16, 33, 64, 96, 200, 512, 2000):
        assert time.step([(new, 0)], 0, 0) >= plain.step([(new, 0)], 0, 0) > 0.0


def test_a_device_that_is_no_gpu_launches_nothing() -> None:
    """A CPU runs a kernel where it is called. Fitted from a GPU's preset, what launching costs that GPU's CPU does not stay
    in the steps: it is said, and other batches are predicted right."""
    truth = replace(gpu("l4"), step_time_scale={"compute": 300.0, "memory": 5.0, "host": 6.0, "launch": 0.01})
    tiny = replace(model("llama3_8b"), stack=tuple(replace(group, count=2) for group in model("llama3_8b").stack))
    server = Blueprint("x", tiny, truth, replace(ENGINE, enforce_eager=True, max_num_seqs=32))
    runs = []
    for rate, seed in ((0.02, 1), (0.1, 2)):
        trace = load(rate, 40, seed, longest=300)
        run = replay(trace, server.engine, server.blocks, server.step_time, FrontEnd(truth))
        runs.append(Observations("made", trace, run.ttft_s, run.e2e_s))
    found = calibrate.fit_multipliers(runs, tiny, gpu("l4"), replace(ENGINE, enforce_eager=True, max_num_seqs=32))
    assert found.launches_nothing
    assert found.multipliers["launch"] == pytest.approx(0.01)
    assert any("launches no kernels" in line for line in found.words())
    fitted = replace(gpu("l4"), step_time_scale=found.multipliers)
    time = Blueprint("x", tiny, fitted, server.engine).step_time
    for decodes in (1, 8, 32):
        assert time.step((), decodes, 200 * decodes) == pytest.approx(server.step_time.step((), decodes, 200 * decodes), rel=0.05)


def test_a_fit_that_is_worse_than_the_preset_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written then. No data at hand end so; what makes a fit worse is lowered until every fit is."""
    run = measured(load(2.0, 30, 9))
    rows = zip(run.trace.arrival_s, run.trace.input_tokens, run.trace.output_tokens, run.ttft_s, run.e2e_s, strict=True)
    file = tmp_path / "bench.csv"
    lines = "\n".join(",".join(str(value) for value in row) for row in rows)
    file.write_text("arrival_s,input_tokens,output_tokens,ttft_s,e2e_s\n" + lines)
    monkeypatch.setattr(multipliers, "_WORSE", -100.0)
    with pytest.raises(ConfigError, match=r"the fit is worse than the preset .*TTFT"):
        calibrate.calibrate([file], model("llama3_8b"), gpu("h100"), ENGINE, tmp_path / "out", fixed={"front_end": 2.0})
    assert not (tmp_path / "out").exists()
