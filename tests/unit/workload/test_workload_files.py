"""Workloads of simulators, load generators, batch APIs, and conversations as text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from sim.errors import ConfigError, SimError, TraceError
from sim.workload import Trace, read_trace
from tests.unit.measured import reports

CASES = Path(__file__).parents[4] / "shared" / "cases" / "files"


def read(tmp_path: Path, text: str, name: str = "t.jsonl", **options: Any) -> Trace:
    (tmp_path / name).write_text(text)
    return read_trace(tmp_path / name, **options)


def lines(*entries: Any) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def test_splitwise_sim(tmp_path: Path) -> None:
    text = "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size\n0,2,7,1.5,1,40,8\n"
    trace = read(tmp_path, text + "1,2,7,3,1,20,4\n", "t.csv")
    assert (trace.arrival_s.tolist(), trace.input_tokens.tolist()) == ([0.0, 1.5], [40, 20])
    assert trace.labels["tenant"].tolist() == ["7", "7"]


def test_aibrix_unfolds_the_requests_of_a_moment(tmp_path: Path) -> None:
    requests = [{"prompt_length": 10, "output_length": 5, "session_id": 0}, {"prompt": "x" * 41, "output_length": 6}]
    trace = read(tmp_path, lines({"timestamp": 0, "requests": requests}, {"timestamp": 1000, "requests": requests[:1]}))
    assert trace.arrival_s.tolist() == [0.0, 0.0, 1.0]
    assert trace.input_tokens.tolist() == [10, 11, 10]
    assert trace.labels["session_id"].tolist() == ["0", "", "0"]
    with pytest.raises(TraceError, match="line 1: output_tokens is None"):
        read(tmp_path, lines({"timestamp": 0, "requests": [{"prompt_length": 10, "output_length": None}]}))


def test_batches_are_there_at_once(tmp_path: Path) -> None:
    asked = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {
        "model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "x" * 40}]}}  # fmt: skip
    trace = read(tmp_path, lines(asked, asked))
    assert (trace.arrival_s.tolist(), trace.input_tokens.tolist(), trace.output_tokens.tolist()) == (
        [0, 0],
        [10, 10],
        [64, 64],
    )
    assert any("max_tokens stands for" in note for note in trace.left_out()["notes"])
    answered = {"id": "b", "custom_id": "a", "response": {"status_code": 200, "body": {
        "model": "m", "usage": {"prompt_tokens": 12, "completion_tokens": 7}}}, "error": None}  # fmt: skip
    failed = {"id": "c", "custom_id": "b", "response": {"status_code": 500, "body": {}}, "error": None}
    trace = read(tmp_path, lines(answered, failed))
    assert (trace.input_tokens.tolist(), trace.output_tokens.tolist()) == ([12], [7])
    with pytest.raises(TraceError, match="has no max_tokens"):
        read(tmp_path, lines({**asked, "body": {"messages": []}}))


def test_turns_wait_for_the_answer_before_them(tmp_path: Path) -> None:
    rows = [
        {"session_id": "a", "timestamp": 1000, "input_length": 100, "output_length": 50},
        {"session_id": "b", "input_length": 10, "output_length": 5},
        {"session_id": "a", "delay": 500, "input_length": 200, "output_length": 10},
    ]  # fmt: skip
    trace = read(tmp_path, lines(*rows))
    assert trace.arrival_s == pytest.approx([0.0, 1.0, 1.0 + 50 * 0.02 + 0.5])
    assert trace.labels["session_id"].tolist() == ["b", "a", "a"]
    assert trace.labels["turn"].tolist() == [1, 1, 2]
    assert any("waiting_sessions" in note for note in trace.left_out()["notes"])
    stamped = [{**row, "timestamp": 1000 * place} for place, row in enumerate(rows)]
    kept = read(tmp_path, lines(*({key: value for key, value in row.items() if key != "delay"} for row in stamped)))
    assert (kept.arrival_s.tolist(), kept.left_out()["notes"]) == ([0.0, 1.0, 2.0], [])
    with pytest.raises(TraceError, match=r"line 3: timestamp or delay is no time .*'soon'"):
        read(tmp_path, lines(*rows[:2], {**rows[2], "delay": "soon"}))


WILDCHAT = {
    "conversation_hash": "h", "model": "gpt-4", "conversation": [
        {"role": "user", "content": "x" * 40, "timestamp": "2024-01-01T00:00:00Z"},
        {"role": "assistant", "content": "y" * 20, "timestamp": "2024-01-01T00:00:05Z"},
        {"role": "user", "content": "z" * 4, "timestamp": "2024-01-01T00:01:00Z"},
        {"role": "assistant", "content": "w" * 8, "timestamp": "2024-01-01T00:01:05Z"},
    ],
}  # fmt: skip


def without_times(chat: dict[str, Any]) -> dict[str, Any]:
    messages = [{"role": message["role"], "content": message["content"]} for message in chat["conversation"]]
    return {"conversation_id": "c", "model": "vicuna", "conversation": messages, "turn": 2}


SHAREGPT = [{"id": "c", "conversations": [
    {"from": {"user": "human", "assistant": "gpt"}[message["role"]], "value": message["content"]}
    for message in WILDCHAT["conversation"]
]}]  # fmt: skip


@pytest.mark.parametrize("kind", ["wildchat", "lmsys", "sharegpt", "parquet"])
def test_conversations_are_requests_that_grow(kind: str, tmp_path: Path) -> None:
    if kind == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist([without_times(WILDCHAT)]), tmp_path / "t.parquet")
        trace = read_trace(tmp_path / "t.parquet")
    elif kind == "sharegpt":
        trace = read(tmp_path, json.dumps(SHAREGPT, indent=1), "t.json")
    else:
        trace = read(tmp_path, lines(WILDCHAT if kind == "wildchat" else without_times(WILDCHAT)))
    assert trace.output_tokens.tolist() == [5, 2]
    assert trace.input_tokens.tolist() == [10, 16]
    assert trace.labels["turn"].tolist() == [1, 2]
    assert trace.arrival_s[1] == pytest.approx(60.0 if kind == "wildchat" else 5 * 0.02 + 30.0)
    notes = " ".join(trace.left_out()["notes"])
    assert "4 characters a token" in notes
    assert ("no times" in notes) == (kind != "wildchat")


def test_conversations_with_times_do_not_mix_with_such_without(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="line 2: is no conversation with times"):
        read(tmp_path, lines(WILDCHAT, without_times(WILDCHAT)))


def test_a_tokenizer_counts_where_one_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = SimpleNamespace(encode=lambda text, disallowed_special: text.split("x"))
    monkeypatch.setitem(sys.modules, "tiktoken", SimpleNamespace(get_encoding=lambda name: encoding))
    trace = read(tmp_path, lines(WILDCHAT), tokenizer="cl100k_base")
    assert trace.input_tokens[0] == 41
    with pytest.raises(ConfigError, match="no such file"):
        read(tmp_path, lines(WILDCHAT), tokenizer=str(tmp_path / "tokenizer.json"))
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(ConfigError, match="needs the package tiktoken"):
        read(tmp_path, lines(WILDCHAT), tokenizer="cl100k_base")
    assert read(tmp_path, lines(WILDCHAT), characters_per_token=2.0).input_tokens[0] == 20


def test_measured_requests_are_traffic_too(tmp_path: Path) -> None:
    sent = read(tmp_path, json.dumps(reports.INFERENCE_PERF_REQUESTS))
    assert (sent.arrival_s.tolist(), sent.input_tokens.tolist()) == ([0.0, 0.5], [reports.INPUT] * 2)
    rows = [{"request_id": "a", "input_toks": 10, "output_toks": 5, "arrival_time": 1.7e9 + at_s} for at_s in (0, 2.5)]
    assert read(tmp_path, lines(*rows)).arrival_s == pytest.approx([0.0, 2.5])


def test_alibabas_means_are_named(tmp_path: Path) -> None:
    text = "time_s,app_id,gpu_type,series_id,pd_role,metric,value\n12096000,a,g,s,prefill,qps_norm,0.5\n"
    with pytest.raises(TraceError, match="hourly means of applications"):
        read(tmp_path, text, "app_metrics.csv")


def test_servegen_windows_begin_where_the_file_says(tmp_path: Path) -> None:
    histogram = str({5: 1.0})
    (tmp_path / "chunk-1-dataset.json").write_text(
        json.dumps({"0": {"input_tokens": histogram, "output_tokens": histogram}})
    )
    arrivals = tmp_path / "chunk-1-trace.csv"
    arrivals.write_text("43200,1,1,Gamma,1,1\n45000,1,1,Gamma,1,1\n")
    trace = read_trace(tmp_path)
    assert not ((trace.arrival_s > 600) & (trace.arrival_s < 1800)).any()
    assert trace.duration_s > 1800
    assert any("begins at 43200 s" in note for note in trace.left_out()["notes"])
    for text, message in [
        ("0,1,1,Gamma,1,1\n300,1,1,Gamma,1,1\n", "line 2: the window begins at 300"), ("x,1,1,Gamma,1,1\n", "line 1: found"),
        ("1,1,Gamma,1,1\n", "line 1: found"), ("0,7,0,1,1,Gamma\n", "line 1: found"), ("0,nan,1,Gamma,1,1\n", "line 1: found"),
        ("0,999999,1,Gamma,1,1\n", "legal are at most"),
    ]:  # fmt: skip
        arrivals.write_text(text)
        with pytest.raises(TraceError, match=message):
            read_trace(tmp_path)


def test_agentic_sessions_without_tool_tokens(tmp_path: Path) -> None:
    session = {"id": "s", "hash_id_scope": "local", "block_size": 64, "requests": [
        {"t": 0.0, "type": "n", "model": "m", "in": 100, "out": 5, "hash_ids": [1, 2]}]}  # fmt: skip
    assert len(read(tmp_path, json.dumps(session), "session.json")) == 1


@pytest.mark.parametrize(
    ("name", "requests", "block_tokens"),
    [("mooncake_64_token_blocks.jsonl", 40, 64), ("mooncake_sessions_with_delay.jsonl", 60, 512),
     ("mooncake_ticks_of_3s.jsonl", 150, 512), ("splitwise_sim_trace.csv", 3, 512)],
)  # fmt: skip
def test_shared_workloads(name: str, requests: int, block_tokens: int) -> None:
    if not CASES.is_dir():
        pytest.skip("the shared cases are not here")
    trace = read_trace(CASES / name)
    assert (len(trace), trace.block_tokens) == (requests, block_tokens)


def test_a_sampled_guidellm_report_is_no_trace() -> None:
    if not CASES.is_dir():
        pytest.skip("the shared cases are not here")
    with pytest.raises(SimError, match="kept 10 of the 37 requests"):
        read_trace(CASES / "guidellm_0_8_sampled.json")
