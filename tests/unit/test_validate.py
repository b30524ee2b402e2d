"""``validate``: a case folder is read, predicted and compared; what cannot be used ends with exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sim.errors import SimError
from sim.presets.read import preset_model
from sim.trust.cases import read_case
from sim.trust.knee import band
from sim.trust.presets import engine_of_version, find_preset
from sim.trust.validate import main, predict, validate


def case(folder: Path, ttft_ms: float, failures: int = 0, **stated: dict[str, object]) -> Path:
    """Forty requests, ten a second, on one H100; every second prompt is the same one. ``stated`` goes into the parts."""
    folder.mkdir()
    stage = {"ttft_ms": {"mean": ttft_ms}, "e2e_ms": {"mean": 200.0, "max": 61_000.0}, "failures": failures}
    data = {
        "model": "meta-llama/Llama-3.1-8B-Instruct", "dtype": "bfloat16", "level": "aggregate",
        "hardware": {"gpu": "NVIDIA H100 80GB HBM3 SXM"}, "parallelism": {"tp": 1},
        "engine": {"version": "0.15.1", "flags": {"max_model_len": 4096, "max_num_seqs": 128}},
        "workload": {"csv": "workload.csv"}, "metrics": stage, "stages": [stage],
    }  # fmt: skip
    for part, values in stated.items():
        data[part] = {**data[part], **values} if isinstance(data.get(part), dict) else values  # type: ignore[dict-item]
    (folder / "measured.json").write_text(json.dumps(data))
    rows = [f"{i / 10},512,20,{'same' if i % 2 else f'own{i}'}" for i in range(40)]
    (folder / "workload.csv").write_text("arrival_s,input_tokens,output_tokens,prompt_id\n" + "\n".join(rows) + "\n")
    return folder


def test_errors_are_predicted_over_measured(tmp_path: Path) -> None:
    first = {r.metric: r for r in validate(case(tmp_path / "a", 50.0)) if r.stage == "all"}
    again = {r.metric: r for r in validate(case(tmp_path / "b", first["ttft"].predicted)) if r.stage == "all"}
    assert first["ttft"].predicted > 0
    assert again["ttft"].error == pytest.approx(0.0, abs=1e-9)
    assert again["e2e"].error == pytest.approx(first["e2e"].predicted / 200.0 - 1)
    assert (first["ttft"].regime, first["ttft"].step_time) == ("idle", "interpolated")


def test_the_version_decides_what_the_file_leaves_open(tmp_path: Path) -> None:
    found = read_case(case(tmp_path / "a", 50.0))
    assert found.engine.async_scheduling
    assert not found.engine.scheduler_reserve_full_isl
    assert found.engine.gpu_memory_utilization == 0.90
    assert not engine_of_version((0, 12)).async_scheduling
    newest = engine_of_version((0, 33, 0))
    assert (newest.gpu_memory_utilization, newest.estimate_cudagraph_memory) == (0.92, True)


def test_failures_make_a_case_overloaded_and_give_the_client_a_patience(tmp_path: Path) -> None:
    folder = case(tmp_path / "a", 50.0, failures=7)
    assert read_case(folder).client_timeout_s == 120.0  # the minute after the slowest answer, 61 s
    rows = validate(folder)
    assert {r.regime for r in rows} == {"overloaded"}
    assert [(r.measured, r.predicted) for r in rows if r.metric == "failures"] == [(7, 0)]


@pytest.mark.parametrize(
    ("name", "kind", "preset"),
    [
        ("RedHatAI/Llama-4-Scout-17B-16E-Instruct-FP8-dynamic", "model", "llama4_scout"),
        ("codellama/CodeLlama-34b-Instruct-hf", "model", "codellama_34b"),
        ("meta-llama/Llama-3.3-70B-Instruct", "model", "llama3_70b"),
        ("NVIDIA RTX PRO 6000 Blackwell 96GB", "gpu", "rtx_pro_6000"),
        ("NVIDIA L40S", "gpu", "l40s"),
        ("NVIDIA L4", "gpu", "l4"),
    ],
)
def test_published_names_find_their_preset(name: str, kind: str, preset: str) -> None:
    assert find_preset(name, kind) == preset  # type: ignore[arg-type]


def test_the_command_prints_tables_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case(tmp_path / "a", 50.0)
    assert main([str(tmp_path), "--json", str(tmp_path / "rows.json")]) == 0
    shown = capsys.readouterr().out
    assert "TTFT mean" in shown
    assert "median abs error" in shown
    assert json.loads((tmp_path / "rows.json").read_text())[0]["case"] == "a"


def test_bad_folders_end_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "measured.json" in capsys.readouterr().err
    broken = case(tmp_path / "a", 50.0)
    (broken / "workload.csv").unlink()
    assert main([str(tmp_path)]) == 2
    assert "workload.csv" in capsys.readouterr().err
    (broken / "measured.json").write_text("{")
    assert main([str(tmp_path)]) == 2
    assert "not a measured case" in capsys.readouterr().err


def test_a_case_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case(tmp_path / "good", 50.0)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "measured.json").write_text("{}")
    assert main([str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert "good" in shown.out
    assert "not run: broken: " in shown.err
    with pytest.raises(SimError):
        validate(tmp_path)


def test_what_a_case_states_is_honoured(tmp_path: Path) -> None:
    flags = {"num_gpu_blocks_override": 900, "max_num_seqs": 16, "max_model_len": 4096}
    found = read_case(case(tmp_path / "blocks", 50.0, engine={"version": "0.26.0", "flags": flags}))
    assert (found.num_gpu_blocks, found.engine.max_num_seqs) == (900, 16)
    closed = read_case(case(tmp_path / "closed", 50.0, workload={"kind": "closed", "users": 8}))
    assert closed.users is not None
    assert closed.users.users == 8
    patient = read_case(case(tmp_path / "patient", 50.0, failures=3, workload={"client_timeout_s": 45.0}))
    assert (patient.client_timeout_s, patient.notes) == (45.0, [])
    guessed = read_case(case(tmp_path / "guessed", 50.0, failures=3))
    assert any("not recorded" in note for note in guessed.notes)
    described = read_case(case(tmp_path / "words", 50.0, engine={"version": "0.26.0", "sampling": "temperature 0", "flags": {}}))
    assert described.engine == read_case(case(tmp_path / "silent", 50.0, engine={"version": "0.26.0", "flags": {}})).engine
    sglang = read_case(case(tmp_path / "sglang", 50.0, engine={"name": "SGLang", "version": "0.5.4"}))
    assert not sglang.engine.decides_as_vllm


def test_any_geometry_may_be_stated(tmp_path: Path) -> None:
    facts = {
        "model_type": "llama", "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2,
        "intermediate_size": 1024, "vocab_size": 32_000, "max_position_embeddings": 4096,
    }  # fmt: skip
    inline = read_case(case(tmp_path / "inline", 50.0, hf_config=facts))
    folder = case(tmp_path / "beside", 50.0)
    (folder / "config.json").write_text(json.dumps(facts))
    assert [group.count for group in inline.model.stack] == [4]
    assert read_case(folder).model.stack == inline.model.stack


@pytest.mark.parametrize(
    ("part", "values", "word"),
    [
        ("parallelism", {"tp": 1, "cp": 2}, "context_parallel_size"),
        ("engine", {"version": "0.26.0", "flags": {"--speculative-config": "{...}"}}, "speculative_config"),
    ],
)
def test_what_is_not_modelled_is_refused_by_name(tmp_path: Path, part: str, values: dict[str, object], word: str) -> None:
    with pytest.raises(SimError, match=word):
        read_case(case(tmp_path / "a", 50.0, **{part: values}))


def test_recorded_steps_are_compared(tmp_path: Path) -> None:
    folder = case(tmp_path / "a", 50.0, workload={"kind": "micro"})
    steps = [
        {"sched_s": 0.007 * i, "out_s": 0.007 * (i + 1), "decodes": 8, "decode_context": 4096, "prefill": []}
        for i in range(20)
    ]  # fmt: skip
    (folder / "steps.jsonl").write_text("\n".join(json.dumps(step) for step in steps))
    (row,) = validate(folder)
    assert (row.group, row.stage) == ("steps", "up to 8 decodes")
    assert row.measured == pytest.approx(7.0)
    assert abs(row.error) < 0.2


def test_how_near_to_the_knee_a_run_was(tmp_path: Path) -> None:
    loads = {r.load for r in validate(case(tmp_path / "a", 50.0)) if r.metric == "ttft"}
    assert all(0.0 < load < 0.5 for load in loads)
    assert [band(x) for x in (0.1, 0.9, 3.0, float("nan"))] == ["idle, below 20 %", "80 to 95 %", "at or past the knee", ""]


@pytest.mark.parametrize(
    ("part", "values", "said"),
    [
        ("parallelism", {"tp": "two"}, "engine.tensor_parallel_size: .* but got 'two'"),
        ("parallelism", {"tp": 1, "sp": 2}, "parallelism.sp=2 is not modelled"),
        ("parallelism", {"tp": 1, "ep": 4}, "parallelism.ep: must be 1 or all tp x dp = 1 ranks, but got 4"),
        ("engine", {"version": "0.26", "flags": {"num_gpu_blocks_override": 0}}, "engine.num_gpu_blocks_override: .* but got 0"),
        ("engine", {"version": "0.26", "flags": "--max-num-seqs 16"}, "engine.flags: .* but got '--max-num-seqs 16'"),
        ("engine", {"version": "0.26", "speculative_config": {"method": "eagle3"}}, "engine.speculative_config"),
        ("workload", {"client_timeout_s": 0}, "workload.client_timeout_s: .* but got 0"),
        ("workload", {"kind": "closed"}, "workload.users: a closed loop must say how many"),
        ("workload", {"kind": "closed", "users": 4, "think_s": -1}, "workload.think_s: .* but got -1"),
        ("metrics", {"ttft_ms": {"mean": "fast"}}, "metrics.ttft_ms.mean: .* but got 'fast'"),
        ("dtype", "float7", "dtype: .* but got 'float7'"),
        ("hardware", {"gpu": "NVIDIA H100 PCIe"}, "gpu: no preset for 'NVIDIA H100 PCIe'"),
        ("hf_config", [1, 2], "hf_config"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(tmp_path: Path, part: str, values: object, said: str) -> None:
    with pytest.raises(SimError, match=said):
        read_case(case(tmp_path / "a", 50.0, **{part: values}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("0,5", "row 1: output_tokens must be a number, but got ''"),
        ("0,5,3\n1,five,3", "row 2: input_tokens must be a number, but got 'five'"),
        ("0,-5,3", "row 1: input_tokens must be a number of at least 1, but got '-5'"),
        ("nan,5,3", "row 1: arrival_s must be a number of at least 0, but got 'nan'"),
        ("2,5,3\n1,5,3", "row 2: arrival_s must be at least that of the row before, 2, but got '1'"),
        ("0,5,2.5", "row 1: output_tokens must be a whole number, but got '2.5'"),
        ("0,5,3,sys,99", "row 1: prefix_tokens must be at most input_tokens, 5, but got '99'"),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_its_place(tmp_path: Path, rows: str, said: str) -> None:
    folder = case(tmp_path / "a", 50.0)
    (folder / "workload.csv").write_text(f"arrival_s,input_tokens,output_tokens,prefix_id,prefix_tokens\n{rows}\n")
    with pytest.raises(SimError, match=said):
        read_case(folder)


def test_weights_are_in_the_type_that_the_case_or_the_name_says(tmp_path: Path) -> None:
    def dtype(number: int, **stated: object) -> str:
        return read_case(case(tmp_path / str(number), 50.0, **stated)).model.weight_dtype  # type: ignore[arg-type]

    assert dtype(1) == "bf16"
    assert dtype(2, dtype="nvfp4") == "fp4"
    assert dtype(3, model="hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", dtype="float16") == "int4"
    assert dtype(4, model="openai/gpt-oss-20b", dtype="bfloat16") == preset_model("gpt_oss_20b").weight_dtype


def test_what_prompts_share_is_taken_together(tmp_path: Path) -> None:
    """Turns of sessions hold what came before; of a prompt beside a prefix both are found again."""
    folder = case(tmp_path / "sessions", 50.0)
    rows = sorted((s + 9 * turn, 1000 * (turn + 1), 20, f"s{s}", turn) for s in range(4) for turn in range(3))
    lines = [",".join(map(str, row)) for row in rows]
    (folder / "workload.csv").write_text("arrival_s,input_tokens,output_tokens,session_id,turn\n" + "\n".join(lines) + "\n")
    computed = predict(read_case(folder)).computed_tokens
    later = np.array([row[4] > 0 for row in rows])
    assert (computed[~later] == 1000).all()
    assert (computed[later] < 1100).all()
    both = case(tmp_path / "both", 50.0)
    lines = [f"{i},1000,20,p{i % 4},g,512" for i in range(8)]
    head = "arrival_s,input_tokens,output_tokens,prompt_id,prefix_id,prefix_tokens\n"
    (both / "workload.csv").write_text(head + "\n".join(lines) + "\n")
    computed = predict(read_case(both)).computed_tokens
    assert computed[0] == 1000
    assert (computed[1:4] == 1000 - 512).all()
    assert (computed[4:] <= 16).all()


def test_ranks_that_share_nothing_share_the_load(tmp_path: Path) -> None:
    alone, shared = (predict(read_case(case(tmp_path / str(dp), 50.0, parallelism={"tp": 1, "dp": dp}))) for dp in (1, 2))
    assert shared.e2e_s.mean() < alone.e2e_s.mean()
