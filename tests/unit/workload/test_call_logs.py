"""Logs of calls: every call once, whatever tool wrote it, and what is no load of one's GPUs counted."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from sim.errors import TraceError
from sim.workload import Trace, read_trace

CASES = Path(__file__).parents[4] / "shared" / "cases" / "files"
T0 = 1_770_131_992


def read(tmp_path: Path, text: str, name: str = "log.json", **options: Any) -> Trace:
    (tmp_path / name).write_text(text)
    return read_trace(tmp_path / name, **options)


def lines(*entries: Any) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def typed(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in attributes.items()
    ]


def span(name: str, parent: str = "", at_s: float = 0.0, **attributes: Any) -> dict[str, Any]:
    """An OTLP span; attribute names have ``__`` for dots."""
    start = int((T0 + at_s) * 1e9)
    return {
        "traceId": "t", "spanId": name, "parentSpanId": parent, "name": name, "kind": 3, "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + 10**9), "status": {},
        "attributes": typed({key.replace("__", "."): value for key, value in attributes.items()}),
    }  # fmt: skip


def otlp(*spans: dict[str, Any], service: str = "app") -> dict[str, Any]:
    resource = {"attributes": typed({"service.name": service})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {}, "spans": list(spans)}]}]}


CALL = {"gen_ai__usage__input_tokens": 100, "gen_ai__usage__output_tokens": 20, "gen_ai__request__model": "m"}
OLD = {"gen_ai__usage__prompt_tokens": 100, "gen_ai__usage__completion_tokens": 20}


def test_client_and_server_spans_of_one_call_are_one_request(tmp_path: Path) -> None:
    spans = (
        span("a", **CALL), span("http", parent="a"), span("a2", parent="http", at_s=0.01, **OLD),
        span("b", at_s=2.0, gen_ai__request__model="m", gen_ai__conversation__id="s"),
        span("b2", parent="b", at_s=2.01, **OLD), span("c", at_s=4.0, **CALL),
    )  # fmt: skip
    trace = read(tmp_path, json.dumps(otlp(*spans), indent=2))
    assert trace.arrival_s == pytest.approx([0.0, 2.0, 3.99])
    assert trace.labels["feature"].tolist() == ["m", "m", "m"]
    assert trace.labels["session_id"].tolist() == ["", "s", ""]
    assert trace.provenance["dropped"] == {"span around the span of the same call": 1}


@pytest.mark.parametrize("same", ["ids", "moments", "response"])
def test_a_call_that_is_there_twice_counts_once(same: str, tmp_path: Path) -> None:
    answer = {**CALL, "gen_ai__response__id": "r"} if same == "response" else CALL
    first, again = span("a", **answer), span("a", **answer)
    if same != "ids":
        again["spanId"] = "b"
    if same == "response":
        again["startTimeUnixNano"] = str(int(again["startTimeUnixNano"]) + 5000)
    other = span("c", at_s=1.0, **CALL)
    trace = read(tmp_path, lines(otlp(first), otlp(again), otlp(other)))
    assert len(trace) == 2
    assert trace.provenance["dropped"] == {"span of a call that is there already": 1}


@pytest.mark.parametrize("client_first", [True, False])
def test_services_that_write_their_own_files_are_one_log(client_first: bool, tmp_path: Path) -> None:
    client = lines(otlp(span("a", **CALL), span("http", parent="a"), span("c", at_s=4.0, **CALL)))
    server = lines(
        otlp(span("asgi", parent="http"), span("a2", parent="asgi", at_s=0.01, **OLD), span("d", at_s=9.0, **CALL))
    )
    for number, text in enumerate((client, server, client) if client_first else (server, client, client)):
        (tmp_path / f"{number}.jsonl").write_text(text)
    trace = read_trace(tmp_path)
    assert trace.arrival_s - trace.arrival_s[-1] == pytest.approx([-9.0, -5.0, 0.0], abs=0.02)
    assert sum(trace.provenance["dropped"].values()) == 3


def test_every_span_twice_is_every_call_once(tmp_path: Path) -> None:
    client_and_server = (span("a", **CALL), span("http", parent="a"), span("a2", parent="http", at_s=0.01, **OLD))
    log = lines(otlp(*client_and_server), otlp(span("b", at_s=4.0, **CALL)))
    assert len(read(tmp_path, log + log)) == 2
    assert len(read(tmp_path, lines(otlp(*client_and_server, *client_and_server)))) == 1
    generations = [
        generation(0, id="outer"), generation(0, id="inner", parentObservationId="outer"), generation(1, id="other"),
    ]  # fmt: skip
    assert len(read(tmp_path, json.dumps(generations * 2))) == 2
    folder = tmp_path / "rotated"
    folder.mkdir()
    (folder / "1.jsonl").write_text(log)
    (folder / "2.jsonl").write_text(lines(otlp(span("a", **CALL))))
    assert len(read_trace(folder)) == 2


@pytest.mark.parametrize("name", ["gen_ai__response__id", "gen_ai__request__id"])
@pytest.mark.parametrize("tokens", [100, 101])
def test_client_and_server_of_two_traces_meet_by_the_response(name: str, tokens: int, tmp_path: Path) -> None:
    client = span("a", **CALL, gen_ai__response__id="chatcmpl-0")
    server = span("b", at_s=0.01, **{**CALL, "gen_ai__usage__input_tokens": tokens}, **{name: "chatcmpl-0"})
    server["traceId"] = "u"
    trace = read(tmp_path, lines(otlp(client), otlp(server), otlp(span("c", at_s=5.0, **CALL))))
    assert len(trace) == 2
    assert trace.provenance["dropped"] == {"span of a call that is there already": 1}


def test_spans_that_go_round_in_a_circle_end(tmp_path: Path) -> None:
    circle = [span(str(n), parent=str((n + 1) % 50), at_s=n, **CALL) for n in range(50)]
    assert len(read(tmp_path, lines(otlp(*circle, span("x", at_s=99.0, **CALL))))) >= 1


def test_two_calls_alike_at_other_moments_stay_two(tmp_path: Path) -> None:
    assert len(read(tmp_path, lines(otlp(span("a", **CALL), span("b", at_s=0.5, **CALL))))) == 2


VERCEL = [
    {"name": name, "spanContext": {"traceId": "t", "spanId": own}, "parentSpanId": parent,
     "attributes": {f"{prefix}.usage.{old}": 14, f"{prefix}.usage.{new}": 20},
     "startTime": [T0, 242_000_000], "endTime": [T0 + 2, 0], "status": {"code": 0}}
    for name, own, parent, prefix, old, new in [
        ("ai.generateText", "outer", None, "ai", "promptTokens", "completionTokens"),
        ("ai.generateText.doGenerate", "inner", "outer", "gen_ai", "input_tokens", "output_tokens"),
    ]
]  # fmt: skip
OPENINFERENCE = [
    {"name": "chat", "context": {"trace_id": "t", "span_id": "1"}, "parent_id": "0", "start_time": "2026-01-01T00:00:00Z",
     "end_time": "2026-01-01T00:00:01Z", "attributes": {
         "openinference": {"span": {"kind": "LLM"}}, "llm": {
             "token_count": {"prompt": 14, "completion": 20}, "model_name": "m",
             "invocation_parameters": '{"max_tokens": 64}'}, "session": {"id": "s"}}},
    {"name": "agent", "context": {"trace_id": "t", "span_id": "0"}, "parent_id": None, "start_time": "2026-01-01T00:00:00Z",
     "attributes": {"openinference": {"span": {"kind": "AGENT"}}, "llm": {"token_count": {"prompt": 14, "completion": 20}}}},
]  # fmt: skip
OPENLLMETRY = [span(
    "openai.chat", llm__request__type="chat", llm__usage__prompt_tokens=14, llm__usage__completion_tokens=20
)]  # fmt: skip
JAEGER = {"data": [{"traceID": "t", "spans": [{
    "traceID": "t", "spanID": "1", "operationName": "chat", "references": [], "startTime": T0 * 1_000_000, "duration": 10,
    "tags": [{"key": "gen_ai.usage.input_tokens", "type": "int64", "value": 14},
             {"key": "gen_ai.usage.output_tokens", "type": "int64", "value": 20}]}]}]}  # fmt: skip
CONSOLE = {"name": "chat", "context": {"trace_id": "0x1", "span_id": "0x2"}, "parent_id": None,
           "start_time": "2026-01-01T00:00:00.5Z", "end_time": "2026-01-01T00:00:01Z", "status": {"status_code": "UNSET"},
           "attributes": {"gen_ai.usage.input_tokens": 14, "gen_ai.usage.output_tokens": 20}}  # fmt: skip
DIALECTS = {
    "vercel": json.dumps(VERCEL), "openinference": lines(*OPENINFERENCE), "openllmetry": lines(otlp(*OPENLLMETRY)),
    "jaeger": json.dumps(JAEGER), "console": json.dumps(CONSOLE, indent=4) + "\n" + json.dumps(otlp(), indent=4),
    "spans": json.dumps({"spans": OPENLLMETRY}), "list_of_documents": json.dumps([otlp(*OPENLLMETRY)], indent=1),
    "snake": json.dumps({"resource_spans": [{"scope_spans": [{"spans": OPENLLMETRY}]}]}),
    "dataframe": lines({
        "context.span_id": "1", "context.trace_id": "t", "start_time": 1_767_225_600_000, "name": "ChatCompletion",
        "attributes.llm.token_count.prompt": 14, "attributes.llm.token_count.completion": 20,
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_tells_the_same_call(name: str, tmp_path: Path) -> None:
    trace = read(tmp_path, DIALECTS[name])
    assert (trace.input_tokens.tolist(), trace.output_tokens.tolist()) == ([14], [20])
    assert trace.provenance["format"] == "otel"
    if name == "openinference":
        assert trace.labels["session_id"].tolist() == ["s"]
        assert trace.labels["max_output_tokens"].tolist() == [64]


def test_what_generates_no_text_and_what_failed_is_left_out(tmp_path: Path) -> None:
    embedding = span("e", at_s=1.0, gen_ai__operation__name="embeddings", gen_ai__usage__input_tokens=9)
    failed = span("f", at_s=2.0, **{**CALL, "error__type": "timeout"})
    stopped = span("g", at_s=3.0, **{**CALL, "gen_ai__usage__output_tokens": 0})
    wrong = {**span("h", at_s=4.0, **CALL), "status": {"code": 2}}
    trace = read(tmp_path, lines(otlp(span("a", **CALL), embedding, failed, stopped, wrong)))
    assert len(trace) == 1
    assert trace.provenance["dropped"] == {"request marked as failed": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n "resourceSpans": [\n', "line 1: is no JSON"),
        (lines(otlp(span("a", **{**CALL, "gen_ai__usage__input_tokens": "many"}))), "input_tokens is 'many'"),
        (lines({**otlp(span("a", **CALL)), "resourceSpans": [{"scopeSpans": [{"spans": 5}]}]}), "spans is 5"),
        (lines(otlp({**span("a", **CALL), "startTimeUnixNano": "soon"})), "arrival_s is nan"),
        (lines(otlp(span("a"))), "holds no usable request"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=message):
        read(tmp_path, text, "spans.jsonl")


def spend(place: int, **changes: Any) -> dict[str, Any]:
    return {
        "request_id": f"r{place}", "call_type": "acompletion", "prompt_tokens": 120, "completion_tokens": 37,
        "startTime": f"2026-09-14T08:00:0{place}.250000Z", "model_group": "llama", "team_id": "t1", "session_id": "s1",
        "custom_llm_provider": "hosted_vllm", "api_base": "http://vllm:8000/v1", "cache_hit": "False", "status": "success",
        "metadata": {"status": "success"}, **changes,
    }  # fmt: skip


SPENT = [
    spend(0, proxy_server_request={"body": {"max_tokens": 64}}), spend(1, cache_hit="True"), spend(2, call_type="aembedding"),
    spend(3, custom_llm_provider="openai", api_base="https://api.openai.com/v1"), spend(4, status="failure"),
    spend(5, custom_llm_provider="openai", api_base="http://10.0.0.7:8000/v1", prompt_tokens=300),
    spend(6, custom_llm_provider="bedrock", api_base=""), spend(7, metadata={"status": "cancelled"}),
]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, sorted({name for row in rows for name in row}))
    writer.writeheader()
    writer.writerows([
        {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()} for row in rows
    ])  # fmt: skip
    return out.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(SPENT), lines(*SPENT), table(SPENT), json.dumps({"data": SPENT, "total": 8, "page": 1}),
        lines(*({"standard_logging_object": row} for row in SPENT)),
    ],
    ids=["list", "lines", "table", "page", "callback"],
)  # fmt: skip
def test_litellm_counts_what_is_no_load_of_ones_gpus(text: str, tmp_path: Path) -> None:
    trace = read(tmp_path, text)
    assert trace.arrival_s == pytest.approx([0.0, 5.0])
    assert trace.labels["session_id"].tolist() == ["s1", "s1"]
    assert trace.labels["turn"].tolist() == [1, 2]
    assert trace.labels["max_output_tokens"].tolist() == [64, -1]
    dropped = trace.provenance["dropped"]
    assert dropped["answered from LiteLLM's cache"] == 1
    assert dropped["call that generates no text"] == 1
    assert dropped["request marked as failed"] == 2
    assert [count for reason, count in dropped.items() if "external provider" in reason] == [2]


def test_litellm_keeps_external_calls_where_that_is_asked(tmp_path: Path) -> None:
    trace = read(tmp_path, json.dumps(SPENT), format="litellm-all")
    assert len(trace) == 4
    external = [row for row in SPENT if row["request_id"] in ("r3", "r6")]
    with pytest.raises(TraceError, match="litellm-all"):
        read(tmp_path, json.dumps(external), "apis.json")


def test_litellm_unix_times_and_pages_that_are_missing(tmp_path: Path) -> None:
    rows = [spend(0, startTime=1_700_000_000.25), spend(0, startTime=1_700_000_001.75)]
    trace = read(tmp_path, json.dumps({"data": rows, "total": 5, "total_pages": 3}))
    assert trace.arrival_s == pytest.approx([0.0, 1.5])
    assert read(tmp_path, table(rows), "times.csv").arrival_s == pytest.approx([0.0, 1.5])
    assert trace.provenance["dropped"] == {"row on a page that is not in the file": 3}


def test_a_litellm_row_that_is_there_again_counts_once(tmp_path: Path) -> None:
    rows = [spend(0), spend(0), spend(1)]
    for number, text in enumerate((json.dumps(rows), table(rows), lines(*({"payload": row} for row in rows)))):
        trace = read(tmp_path, text, f"{number}.json")
        assert len(trace) == 2
        assert trace.provenance["dropped"] == {"row that is there already": 1}
    nameless = [{**spend(0), "request_id": ""}] * 2
    assert len(read(tmp_path, json.dumps(nameless))) == 2


def generation(place: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"o{place}", "traceId": "t", "type": "GENERATION", "startTime": f"2026-06-26T06:16:{10 + place}.504Z",
        "endTime": f"2026-06-26T06:16:{12 + place}.275Z", "model": "qwen3", "level": "DEFAULT", "sessionId": "s",
        "usageDetails": {"input": 10, "input_cached_tokens": 4, "output": 20, "output_reasoning_tokens": 5, "total": 39},
        "modelParameters": {"max_tokens": 64}, **changes,
    }  # fmt: skip


def test_langfuse_generations_once_with_all_their_tokens(tmp_path: Path) -> None:
    rows = [
        generation(0), generation(0), {**generation(1), "type": "SPAN"},
        generation(2, usageDetails={}, usage={"input": 13, "output": 353, "unit": "TOKENS"}),
        generation(3, usageDetails=None, promptTokens=7, completionTokens=8), generation(4, level="ERROR"),
        generation(5, usage={"input": 100, "output": 5, "unit": "CHARACTERS"}),
        generation(6, parentObservationId="o7"), generation(7),
    ]  # fmt: skip
    for text in (json.dumps(rows), json.dumps({"data": rows, "meta": {"page": 1, "totalItems": 9}}), table(rows)):
        trace = read(tmp_path, text)
        assert trace.input_tokens.tolist() == [14, 13, 7, 14]
        assert trace.output_tokens.tolist() == [25, 353, 8, 25]
        assert trace.labels["max_output_tokens"].tolist() == [64] * 4
        assert trace.provenance["dropped"] == {
            "span of a call that is there already": 1, "usage in characters, not tokens": 1,
            "span around the span of the same call": 1, "request marked as failed": 1,
        }  # fmt: skip
    whole = {"message": "ok", "data": {"id": "t", "sessionId": "s", "observations": [generation(0, sessionId=None)]}}
    assert read(tmp_path, json.dumps(whole)).input_tokens.tolist() == [14]


def test_helicone_and_openrouter(tmp_path: Path) -> None:
    helicone = [
        {"request_created_at": f"2026-01-01T00:00:0{place}Z", "prompt_tokens": 10, "completion_tokens": 5, "model": "m",
         "status": status, "user_id": "u", "properties": {"Helicone-Session-Id": "s"}, "cache_hit": hit}
        for place, (status, hit) in enumerate([(200, False), (500, False), (200, True)])
    ]  # fmt: skip
    for text in (lines(*helicone), table(helicone)):
        trace = read(tmp_path, text)
        assert (len(trace), trace.labels["session_id"][0], trace.labels["tenant"][0]) == (1, "s", "u")
        assert trace.provenance["dropped"] == {"answered from Helicone's cache": 1, "request marked as failed": 1}
    openrouter = [
        {"id": "g", "created_at": f"2026-01-01T00:00:0{place}Z", "tokens_prompt": 10, "tokens_completion": 5,
         "native_tokens_prompt": native, "native_tokens_completion": 6, "cancelled": cancelled, "model": "m"}
        for place, (native, cancelled) in enumerate([(12, False), (None, False), (12, True)])
    ]  # fmt: skip
    for text in (lines(*openrouter), table(openrouter), lines(*({"data": row} for row in openrouter))):
        trace = read(tmp_path, text)
        assert trace.input_tokens.tolist() == [12, 10]
        assert trace.provenance["dropped"] == {"cancelled generation": 1}


def test_what_a_prefix_cache_found_is_told(tmp_path: Path) -> None:
    inclusive = span("a", **CALL, gen_ai__usage__cache_read__input_tokens=50)
    beside = span("b", at_s=1.0, **CALL, gen_ai__usage__cache_read_input_tokens=900)
    trace = read(tmp_path, lines(otlp(inclusive, beside)))
    assert trace.input_tokens.tolist() == [100, 1000]
    assert any("86.4 % of the prompt tokens came from a prefix cache" in note for note in trace.left_out()["notes"])
    row = spend(0, metadata={"usage_object": {"prompt_tokens_details": {"cached_tokens": 60}}})
    assert any("50 % of the prompt" in note for note in read(tmp_path, json.dumps([row])).left_out()["notes"])


def test_a_log_with_two_ways_to_count_cached_tokens_is_told(tmp_path: Path) -> None:
    short = {**CALL, "gen_ai__usage__input_tokens": 10}
    calls = [
        span(str(n), at_s=n, **usage, gen_ai__usage__cache_read_input_tokens=50)
        for n, usage in enumerate((short, CALL, CALL))
    ]
    notes = read(tmp_path, lines(otlp(*calls))).left_out()["notes"]
    assert any("1 prompts are shorter" in note and "in 2 the cached tokens" in note for note in notes)
    assert not any("are shorter" in note for note in read(tmp_path, lines(otlp(*calls[1:]))).left_out()["notes"])


def test_an_attribute_with_two_values_is_refused(tmp_path: Path) -> None:
    twice = span("a", **CALL)
    twice["attributes"] += typed({"gen_ai.usage.input_tokens": 900})
    with pytest.raises(TraceError, match=r"line 1: a span has the attribute 'gen_ai\.usage\.input_tokens' twice"):
        read(tmp_path, lines(otlp(twice)))
    same = span("a", **CALL)
    same["attributes"] += typed({"gen_ai.usage.input_tokens": 100})
    assert len(read(tmp_path, lines(otlp(same)))) == 1


def test_sisters_that_differ_by_a_microsecond_are_told(tmp_path: Path) -> None:
    first, again = span("a", parent="p", **CALL), span("b", parent="p", at_s=1e-6, **CALL)
    trace = read(tmp_path, lines(otlp(first, again, span("c", parent="p", at_s=1.0, **CALL))))
    assert len(trace) == 3
    assert any("1 calls began and ended within 1 ms" in note for note in trace.left_out()["notes"])


def test_a_quote_that_does_not_close_swallows_nothing(tmp_path: Path) -> None:
    text = table([spend(0), spend(1)]).replace('"{', '"{"', 1)
    with pytest.raises(TraceError, match=r"line \d+: is no readable row"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "requests"),
    [
        ("otel_client_and_server.jsonl", 3), ("otel_duplicate_spans.jsonl", 2), ("otlp_pretty.json", 3),
        ("otel_js_hrtime.json", 4), ("litellm_spend_logs.csv", 2), ("litellm_cache_hits_and_apis.json", 2),
    ],
)  # fmt: skip
def test_shared_logs(name: str, requests: int) -> None:
    if not CASES.is_dir():
        pytest.skip("the shared cases are not here")
    assert len(read_trace(CASES / name)) == requests
