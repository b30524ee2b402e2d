"""Importers on hand-written files: one for each trap that the public formats set."""

import gzip
import json

import numpy as np
import pytest

from sim.errors import ConfigError, TraceError
from sim.workload import read_trace


def text_file(tmp_path, text, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def lines_file(tmp_path, objects, name="t.jsonl"):
    return text_file(tmp_path, "".join(json.dumps(entry) + "\n" for entry in objects), name)


AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"


def test_azure_2023_has_windows_line_ends_and_seven_digits(tmp_path):
    rows = "2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:46.6805901,396,109\r\n"
    trace = read_trace(text_file(tmp_path, AZURE + rows, "t.csv"))
    assert trace.arrival_s.tolist() == [0.0, 1e-7]
    assert trace.output_tokens.tolist() == [44, 109]


def test_azure_2024_mixes_precision_and_has_an_offset(tmp_path):
    rows = "2024-05-10 00:00:00.009930+00:00,1,2\n2024-05-10 00:00:01+00:00,3,4\n2024-05-10 02:00:01.5+02:00,5,6\n"
    trace = read_trace(text_file(tmp_path, AZURE.replace("\r", "") + rows, "t.csv"))
    assert trace.arrival_s == pytest.approx([0.0, 0.99007, 1.49007], abs=1e-9)


def test_azure_2025_is_gzip_iso_with_z_and_image_counts(tmp_path):
    text = (
        "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2024-10-15T12:00:00.269Z,0,770,491\n"
        "2024-10-15T12:00:05.819Z,1,949,126\n"
    )
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    trace = read_trace(path)
    assert trace.arrival_s == pytest.approx([0.0, 5.55])
    assert trace.input_tokens.tolist() == [770, 949]


def test_a_wrong_stamp_is_named(tmp_path):
    path = text_file(tmp_path, AZURE + "2023-11-16 18:15:46.1,1,1\r\nyesterday,1,1\r\n", "t.csv")
    with pytest.raises(TraceError, match=r"data row 2 \(line 3\): arrival_s is 'yesterday'"):
        read_trace(path)


def test_burstgpt_is_not_zero_based_and_marks_failures_by_no_answer(tmp_path):
    text = (
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5270414,ChatGPT,472,18,490,Conversation log\n5270414,GPT-4,10,0,10,API log\n5270420,GPT-4,11,7,18,API log\n"
    )
    trace = read_trace(text_file(tmp_path, text, "t.csv"))
    assert trace.arrival_s.tolist() == [0.0, 6.0]
    assert trace.labels["route"].tolist() == ["conversation", "api"]
    assert trace.labels["feature"].tolist() == ["ChatGPT", "GPT-4"]
    assert trace.provenance["dropped"] == {"request marked as failed": 1}


def test_burstgpt_v3_sessions_are_cut_where_history_was_not_sent_again(tmp_path):
    head = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    rows = [
        ("19440110.0", "u1", 100, 50), ("19440120.0", "", 30, 5), ("19440130.0", "u1", 160, 20),
        ("19440140.0", "u1", 40, 5),
    ]  # fmt: skip
    body = "".join(
        f"{at},{who},3,GPT-4,{tokens},{answer},0,{'Conversation' if who else 'API'} log\n"
        for at, who, tokens, answer in rows
    )
    trace = read_trace(text_file(tmp_path, head + body, "t.csv"))
    assert trace.labels["session_id"].tolist() == ["u1", "", "u1", "u1/1"]
    assert trace.labels["turn"].tolist() == [1, -1, 2, 1]


def mooncake(at_ms, tokens, hashes):
    return {"timestamp": at_ms, "input_length": tokens, "output_length": 5, "hash_ids": hashes}


def test_mooncake_is_in_milliseconds_with_chained_blocks_and_ties(tmp_path):
    path = lines_file(tmp_path, [mooncake(0, 600, [0, 1]), mooncake(0, 512, [0]), mooncake(3000, 513, [0, 2])])
    trace = read_trace(path)
    assert trace.arrival_s.tolist() == [0.0, 0.0, 3.0]
    assert trace.labels["block_hashes"].tolist() == [(0, 1), (0,), (0, 2)]
    assert trace.block_tokens == 512


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", r"line 2: is no JSON"),
        ("[1]", r"line 2: is \[1\]; legal is an object"),
        (json.dumps(mooncake(1, 600, [0, 1, 2])), r"line 2: hash_ids has 3 ids; legal are at most 2"),
        (json.dumps(mooncake(1, 600, ["a"])), r"line 2: hash_ids is \['a'\]"),
        (json.dumps(mooncake(1, 0, [])), r"line 2: input_tokens is 0"),
        (json.dumps(mooncake("soon", 5, [])), r"line 2: arrival_s"),
        (json.dumps(mooncake(-5, 5, [])), r"line 2: arrival_s"),
    ],
)
def test_json_lines_name_the_line_and_lenient_counts_it(tmp_path, line, message):
    good = json.dumps(mooncake(0, 600, [0, 1]))
    path = text_file(tmp_path, f"{good}\n{line}\n\n{good}\n", "t.jsonl")
    with pytest.raises(TraceError, match=message):
        read_trace(path)
    trace = read_trace(path, lenient=True, lenient_max_loss=0.4)
    assert len(trace) == 2
    assert sum(trace.provenance["dropped"].values()) == 1


RAG_LENGTHS = {
    "1_sys_prompt.jsonl": ("sys_prompt_id", {1: 32, 2: 10}), "2_passages.jsonl": ("passage_id", {10: 40, 11: 40}),
    "3_history.jsonl": ("history_id", {20: 8}), "4_user_input.jsonl": ("user_input_id", {30: 8, 31: 8}),
    "5_web_search.jsonl": ("web_search_id", {40: 9}),
}  # fmt: skip


def rag_request(at, passages, user, tokens):
    segments = {
        "sys_prompt": [1], "passages_ids": passages, "history": [20], "web_search": [], "user_input": [user],
    }  # fmt: skip
    return {"timestamp": at, "input_length": tokens, "output_length": 3, "hash_ids": segments, "session_id": "s"}


def test_ragpulse_has_text_stamps_segments_and_rows_out_of_order(tmp_path):
    for name, (key, lengths) in RAG_LENGTHS.items():
        lines_file(tmp_path, [{key: place, "token_length": length} for place, length in lengths.items()], name)
    entries = [
        rag_request("82", [10, 11], 30, 140), rag_request("95", [11, 10], 30, 140),
        rag_request("90", [10, 11], 31, 140), rag_request("99", [10, 11], 30, 140),
    ]  # fmt: skip
    path = text_file(tmp_path, "".join(json.dumps(entry) + "\n" for entry in entries) + "\n", "0_trace.jsonl")
    trace = read_trace(path)
    assert trace.arrival_s.tolist() == [0.0, 8.0, 13.0, 17.0]
    first, other_user, other_order, again = trace.labels["block_hashes"]
    shared = lambda one, two: next((i for i, (a, b) in enumerate(zip(one, two, strict=True)) if a != b), len(one))  # noqa: E731
    assert len(first) == -(-140 // 16)
    assert shared(first, other_order) == 2  # 32 tokens of system prompt, then passages in another order
    assert shared(first, other_user) == 7  # 32 + 80 tokens; the next block reaches into the user's input
    assert shared(first, again) == 8  # 140 tokens, of which the last 4 belong to no segment: unique


def test_ragpulse_without_its_length_files_is_refused(tmp_path):
    path = lines_file(tmp_path, [rag_request("82", [10], 30, 90)], "0_trace.jsonl")
    with pytest.raises(TraceError, match=r"needs 1_sys_prompt\.jsonl beside it"):
        read_trace(path)


def agentic_session(name):
    request = {"t": 0.0, "type": "n", "model": "m", "in": 130, "out": 10, "hash_ids": [1, 2, 3]}
    nested = {"t": 5.0, "type": "subagent", "agent_id": "a", "requests": [dict(request, t=1.0, hash_ids=[1, 2, 9])]}
    return {
        "id": name, "block_size": 64, "hash_id_scope": "local", "tool_tokens": 1, "requests": [request, nested],
    }  # fmt: skip


def test_agentic_sessions_keep_their_ids_apart_and_subagents_their_time(tmp_path):
    for name in ("a", "b"):
        text_file(tmp_path, json.dumps(agentic_session(name)), f"s/{name}.json")
    trace = read_trace(tmp_path / "s", session_rate_per_s=0.01, seed=1)
    assert sorted(trace.labels["session_id"].tolist()) == ["a", "a", "b", "b"]
    of_a = trace.arrival_s[trace.labels["session_id"] == "a"]
    assert of_a.tolist() == [0.0, 6.0]
    blocks = [set(ids) for ids in trace.labels["block_hashes"]]
    assert not any(blocks[i] & blocks[j] for i in range(4) for j in range(i))
    assert trace.block_tokens == 64


def servegen_pool(tmp_path, dataset):
    windows = "".join(f"{600 * place},{rate},1.0,Gamma,1,1\n" for place, rate in enumerate((0.5, 0, 0.5)))
    text_file(tmp_path, windows, "pool/chunk-7-trace.csv")
    text_file(tmp_path, windows, "pool/chunk-8-trace.csv")
    text_file(tmp_path, json.dumps(dataset), "pool/chunk-7-dataset.json")
    return tmp_path / "pool"


def test_servegen_draws_lengths_independently_and_loses_no_request(tmp_path):
    histogram = str(dict.fromkeys(range(1, 101), 0.01))
    pool = servegen_pool(tmp_path, {"0": {"input_tokens": histogram, "output_tokens": histogram}})
    counts = [len(read_trace(pool, seed=seed)) for seed in range(20)]
    assert np.mean(counts) == pytest.approx(600, rel=0.04)
    trace = read_trace(pool, pool_rate_per_s=4.0)
    assert trace.provenance["dropped"] == {"client without lengths": 1}
    assert len(trace) == pytest.approx(7200, rel=0.05)
    assert not ((trace.arrival_s > 600) & (trace.arrival_s < 1200)).any()
    assert abs(np.corrcoef(trace.input_tokens, trace.output_tokens)[0, 1]) < 0.1


def test_servegen_histograms_are_literals_and_never_code(tmp_path):
    pool = servegen_pool(tmp_path, {"0": {"input_tokens": "__import__('os').getcwd()", "output_tokens": "{1: 1.0}"}})
    with pytest.raises(TraceError, match="legal is a dict literal"):
        read_trace(pool)


def test_vidur_and_its_length_only_file(tmp_path):
    path = text_file(tmp_path, "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,374,44\n4.3,396,109\n", "v.csv")
    assert read_trace(path).arrival_s.tolist() == [0.0, 4.3]
    lengths = text_file(tmp_path, "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n1,2,3,0.5\n", "l.csv")
    with pytest.raises(TraceError, match="no arrival times"):
        read_trace(lengths)


def test_llmservingsim_is_in_nanoseconds_and_unfolds_sessions(tmp_path):
    flat = lines_file(tmp_path, [{"input_toks": 10, "output_toks": 70, "arrival_time_ns": 1_500_000_000}])
    assert read_trace(flat).arrival_s.tolist() == [1.5]
    part = {"input_toks": 5, "output_toks": 6, "tool_duration_ns": 2_000_000_000}
    nested = lines_file(tmp_path, [{"session_id": "q", "arrival_time_ns": 0, "sub_requests": [part, part]}], "n.jsonl")
    trace = read_trace(nested)
    assert trace.arrival_s.tolist() == [0.0, 2.0]
    assert trace.labels["turn"].tolist() == [1, 2]


BENCH = {"completed": 2, "total_input_tokens": 30, "request_throughput": 1.0}


def test_vllm_bench_results(tmp_path):
    detailed = BENCH | {
        "input_lens": [10, 20, 30], "output_lens": [5, 6, 0], "start_times": [100.5, 100.0, 101.0],
        "errors": ["", "", "timeout"],
    }  # fmt: skip
    trace = read_trace(text_file(tmp_path, json.dumps(detailed), "b.json"))
    assert trace.arrival_s.tolist() == [0.0, 0.5]
    assert trace.input_tokens.tolist() == [20, 10]
    assert trace.provenance["dropped"] == {"request marked as failed": 1}
    with pytest.raises(TraceError, match="--save-detailed"):
        read_trace(text_file(tmp_path, json.dumps(BENCH), "c.json"))


def test_guidellm_reports_of_two_versions(tmp_path):
    old = {"prompt_tokens": 10, "output_tokens": 5, "start_time": 1000.0}
    new = {
        "input_metrics": {"text_tokens": 11}, "output_metrics": {"text_tokens": 6},
        "info": {"timings": {"request_start": 1002.0}},
    }  # fmt: skip
    requests = {"successful": [old, new], "incomplete": [], "errored": [dict(old, start_time=1001.0)]}
    trace = read_trace(text_file(tmp_path, json.dumps({"benchmarks": [{"requests": requests}]}), "g.json"))
    assert trace.arrival_s.tolist() == [0.0, 2.0]
    assert trace.input_tokens.tolist() == [10, 11]
    assert trace.provenance["dropped"] == {"request marked as failed": 1}


def test_aiperf_records(tmp_path):
    def record(start_ns, phase="profiling", error=None):
        return {
            "metadata": {"request_start_ns": start_ns, "benchmark_phase": phase, "turn_index": 0, "x_correlation_id": "c"},
            "metrics": {"input_sequence_length": {"value": 9, "unit": "tokens"},
                        "output_sequence_length": {"value": 4, "unit": "tokens"}},
            "error": error,
        }  # fmt: skip

    start = 1_700_000_000_000_000_000
    path = lines_file(tmp_path, [
        record(start, "warmup"), record(start + 1), record(start + 500_000_001), record(start + 2, error={"code": 500}),
    ])  # fmt: skip
    trace = read_trace(path)
    assert trace.arrival_s.tolist() == [0.0, 0.5]
    assert trace.provenance["dropped"] == {"request of the warm-up": 1, "request marked as failed": 1}


def test_open_telemetry_spans_in_otlp_and_alone(tmp_path):
    def attribute(key, **value):
        return {"key": key, "value": value}

    def span(start_ns, tokens, answer, operation="chat"):
        return {"startTimeUnixNano": str(start_ns), "attributes": [
            attribute("gen_ai.operation.name", stringValue=operation),
            attribute("gen_ai.usage.input_tokens", intValue=str(tokens)),
            attribute("gen_ai.usage.output_tokens", intValue=str(answer)),
        ]}  # fmt: skip

    start = 1_790_000_000_000_000_000
    resource = {"attributes": [attribute("service.name", stringValue="shop")]}
    spans = [span(start + 2_000_000_000, 20, 2), span(start, 10, 1), span(start + 5, 7, 1, "embeddings")]
    otlp = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
    trace = read_trace(lines_file(tmp_path, [otlp]))
    assert trace.arrival_s.tolist() == [0.0, 2.0]
    assert trace.input_tokens.tolist() == [10, 20]
    assert set(trace.labels["tenant"]) == {"shop"}
    alone = {
        "name": "chat m", "start_time": "2026-09-21T10:00:00.250000Z",
        "attributes": {"gen_ai.usage.prompt_tokens": 3, "gen_ai.usage.completion_tokens": 4, "gen_ai.request.model": "m"},
    }  # fmt: skip
    trace = read_trace(lines_file(tmp_path, [alone, dict(alone, start_time="2026-09-21T10:00:01.750Z")], "s.jsonl"))
    assert trace.arrival_s == pytest.approx([0.0, 1.5])
    assert trace.labels["feature"].tolist() == ["m", "m"]


def litellm_log(start, tokens, answer, status="success"):
    return {
        "request_id": "r", "call_type": "acompletion", "startTime": start, "prompt_tokens": tokens,
        "completion_tokens": answer, "model_group": "g", "team_id": "t", "status": status,
    }  # fmt: skip


def test_litellm_spend_logs_as_list_lines_and_table(tmp_path):
    logs = [
        litellm_log("2026-01-02T00:00:05.500Z", 20, 3), litellm_log("2026-01-02T00:00:00Z", 10, 2),
        litellm_log("2026-01-02T00:00:01Z", 10, 0, "failure"),
    ]  # fmt: skip
    for path in (lines_file(tmp_path, logs), text_file(tmp_path, json.dumps(logs, indent=1), "l.json")):
        trace = read_trace(path)
        assert trace.arrival_s == pytest.approx([0.0, 5.5])
        assert trace.labels["feature"].tolist() == ["g", "g"]
        assert trace.provenance["dropped"] == {"request marked as failed": 1}
    table = "startTime,prompt_tokens,completion_tokens,team_id\n" + "".join(
        f"{log['startTime']},{log['prompt_tokens']},{log['completion_tokens']},t\n" for log in logs
    )
    assert read_trace(text_file(tmp_path, table, "l.csv")).arrival_s == pytest.approx([0.0, 5.5])


def test_any_csv_by_a_column_map(tmp_path):
    path = text_file(tmp_path, "ts,in,out,who,x\n2000,5,6,a,1\n1000,7,8,b,1\n", "c.csv")
    columns = {"arrival_ms": "ts", "input_tokens": "in", "output_tokens": "out", "tenant": "who"}
    trace = read_trace(path, columns=columns)
    assert trace.arrival_s.tolist() == [0.0, 1.0]
    assert trace.labels["tenant"].tolist() == ["b", "a"]
    with pytest.raises(TraceError, match="lacks column nope; found ts, in, out, who, x"):
        read_trace(path, columns=columns | {"tenant": "nope"})
    with pytest.raises(ConfigError, match=r"workload\.columns is"):
        read_trace(path, columns={"arrival": "ts"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("cut.csv.gz", gzip.compress(b"arrival_s,input_tokens,output_tokens\n" + b"0,1,1\n" * 9999)[:90], "damaged gzip"),
        ("g.json", b'{"benchmarks": 5}', "has not the shape of the format guidellm"),
        ("o.jsonl", b'{"resourceSpans": [{"scopeSpans": 5}]}\n', "has not the shape of the format otel"),
        ("l.jsonl", b'{"arrival_time_ns": 1, "sub_requests": [5]}\n', "has not the shape of the format llmservingsim"),
        ("i.jsonl", b'{"timestamp": 0, "input_length": 1e400, "output_length": 5}\n', "input_tokens is inf"),
        ("n.jsonl", b'{"timestamp": 0, "input_length": NaN, "output_length": 5}\n', "input_tokens is nan"),
        ("e.json", b"[]", "of no known format"),
    ],
)
def test_a_file_of_the_wrong_shape_is_refused_in_one_message(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(TraceError, match=message):
        read_trace(tmp_path / name)
