"""One small, sound file of each trace format, made here: what the fuzz mutates."""

from __future__ import annotations

import datetime
import gzip
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

_ROWS = 24
_UNIX_S = 1_760_000_000


def seeds() -> dict[str, tuple[str, bytes]]:
    """Kind -> (file name, content)."""
    rng = np.random.default_rng(11)
    times = np.round(np.cumsum(rng.exponential(2.0, _ROWS)) - 0.5, 3).tolist()
    times[0] = 0.0
    rows = list(zip(times, rng.integers(20, 5000, _ROWS).tolist(), rng.integers(2, 400, _ROWS).tolist(), strict=True))
    found: dict[str, tuple[str, bytes]] = {}

    def table(kind: str, header: str, lines: list[list[Any]], separator: str = ",", end: str = "\n") -> None:
        text = end.join([header, *(separator.join(map(str, line)) for line in lines)]) + end
        found[kind] = (f"{kind}.csv", text.encode())

    def lines(kind: str, entries: list[Any]) -> None:
        found[kind] = (f"{kind}.jsonl", "".join(json.dumps(entry) + "\n" for entry in entries).encode())

    def document(kind: str, entry: Any) -> None:
        found[kind] = (f"{kind}.json", json.dumps(entry, indent=1).encode())

    table(
        "native",
        "arrival_s,input_tokens,output_tokens,route,priority",
        [[*row, "chat", n % 3] for n, row in enumerate(rows)],
    )
    table("native_quoted", 'arrival_s,input_tokens,output_tokens,"route"', [[*row, '"a, ""b"""'] for row in rows])
    table("azure", "TIMESTAMP,ContextTokens,GeneratedTokens", [[_stamp(t, 7), i, o] for t, i, o in rows], end="\r\n")
    table("azure_zone", "TIMESTAMP,ContextTokens,GeneratedTokens", [[_stamp(t, 6) + "+00:00", i, o] for t, i, o in rows])
    table(
        "burstgpt", "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type",
        [[f"{int(t) + 500}.0", "", 3, "GPT-4", i, 0 if n == 5 else o, i + o, "API log"] for n, (t, i, o) in enumerate(rows)],
    )  # fmt: skip
    table("vidur", "arrived_at,num_prefill_tokens,num_decode_tokens", [list(row) for row in rows])
    table(
        "splitwise", "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size",
        [[n, 2, 0, t + 1, 1, i, o] for n, (t, i, o) in enumerate(rows)],
    )  # fmt: skip
    table("mapped_semicolon", "ts;in;out", [[str(t).replace(".", ","), i, o] for t, i, o in rows], separator=";")
    table("mapped_dates", "ts\tin\tout", [[_us_date(t), i, o] for t, i, o in rows], separator="\t")
    lines("native_lines", [{"arrival_s": t, "input_tokens": i, "output_tokens": o} for t, i, o in rows])
    lines("mapped_lines", [{"at": {"ts": t * 1000}, "in": i, "out": str(o)} for t, i, o in rows])
    lines("mooncake", [_mooncake(int(t * 1000), i, o) for t, i, o in rows])
    lines("turns", [
        {"session_id": f"s{n % 4}", **_mooncake(0, i, o)} | ({"timestamp": n * 100} if n < 4 else {"timestamp": None, "delay": 500})
        for n, (t, i, o) in enumerate(rows)
    ])  # fmt: skip
    lines("bailian", [
        {"chat_id": n, "parent_chat_id": -1, "timestamp": t, "input_length": i, "output_length": o, "type": "text", "turn": 1,
         "hash_ids": list(range(-(-i // 16)))}
        for n, (t, i, o) in enumerate(rows)
    ])  # fmt: skip
    lines("llmservingsim", [{"input_toks": i, "output_toks": o, "arrival_time_ns": int(t * 1e9)} for t, i, o in rows])
    lines("aibrix", [
        {"timestamp": int(t * 1000), "requests": [{"prompt_length": i, "output_length": o, "session_id": 1}]} for t, i, o in rows
    ])  # fmt: skip
    lines("aiperf", [
        {"metadata": {"request_start_ns": _UNIX_S * 10**9 + int(t * 1e9), "benchmark_phase": "profiling", "was_cancelled": False},
         "metrics": {"input_sequence_length": {"value": i, "unit": "tokens"}, "output_sequence_length": {"value": o}},
         "error": None}
        for t, i, o in rows
    ])  # fmt: skip
    spend = [
        {"request_id": f"r{n}", "call_type": "acompletion", "prompt_tokens": i, "completion_tokens": o,
         "startTime": _stamp(t, 6) + "Z", "model": "hosted_vllm/llama", "custom_llm_provider": "hosted_vllm", "status": "success"}
        for n, (t, i, o) in enumerate(rows)
    ]  # fmt: skip
    document("litellm", spend)
    table("litellm_table", ",".join(spend[0]), [list(entry.values()) for entry in spend])
    lines("helicone", [
        {"request_created_at": _stamp(t, 3) + "Z", "prompt_tokens": i, "completion_tokens": o, "status": 200, "model": "llama"}
        for t, i, o in rows
    ])  # fmt: skip
    lines("openrouter", [
        {"id": n, "created_at": _stamp(t, 3) + "Z", "model": "m", "tokens_prompt": i - 1, "tokens_completion": o,
         "native_tokens_prompt": i, "native_tokens_completion": o, "cancelled": False}
        for n, (t, i, o) in enumerate(rows)
    ])  # fmt: skip
    document("langfuse", [
        {"id": f"o{n}", "traceId": f"t{n}", "type": "GENERATION", "startTime": _stamp(t, 3) + "Z", "endTime": _stamp(t + 9, 3) + "Z",
         "model": "m", "usage": {"input": i, "output": o, "unit": "TOKENS"}}
        for n, (t, i, o) in enumerate(rows)
    ])  # fmt: skip
    lines("batch_api", [
        {"custom_id": f"r{n}", "url": "/v1/chat/completions", "body": {"model": "m"}, "error": None,
         "response": {"status_code": 200, "body": {"usage": {"prompt_tokens": i, "completion_tokens": o}}}}
        for n, (_, i, o) in enumerate(rows)
    ])  # fmt: skip
    lines("otel", [_resource_span(n, *row) for n, row in enumerate(rows)])
    document("vllm_bench", {
        "completed": _ROWS, "total_input_tokens": sum(row[1] for row in rows), "request_throughput": 0.5,
        "input_lens": [row[1] for row in rows], "output_lens": [row[2] for row in rows],
        "start_times": [81234.5 + row[0] for row in rows], "errors": [""] * _ROWS,
    })  # fmt: skip
    document("guidellm", {"benchmarks": [{"requests": {"successful": [
        {"request_start_time": _UNIX_S + t, "prompt_tokens": i, "output_tokens": o} for t, i, o in rows
    ], "incomplete": [], "errored": []}}]})  # fmt: skip
    document("agentic", {
        "id": "s", "models": ["m"], "block_size": 64, "hash_id_scope": "local", "tool_tokens": 1, "system_tokens": 1,
        "requests": [
            {"t": t, "type": "n", "model": "m", "in": i, "out": o, "hash_ids": list(range(-(-i // 64)))} for t, i, o in rows
        ],
    })  # fmt: skip
    found["native_gzip"] = ("native.csv.gz", gzip.compress(found["native"][1], mtime=0))
    packed = io.BytesIO()
    columns = dict(zip(("arrival_s", "input_tokens", "output_tokens"), zip(*rows, strict=True), strict=True))
    pyarrow.parquet.write_table(pa.table({name: list(column) for name, column in columns.items()}), packed)
    found["native_parquet"] = ("native.parquet", packed.getvalue())
    packed = io.BytesIO()
    lists = {"block_hashes": [list(range(n % 5)) for n in range(_ROWS)], "route": ["chat", None] * (_ROWS // 2)}
    pyarrow.parquet.write_table(pa.table({**{name: list(column) for name, column in columns.items()}, **lists}), packed)
    found["native_parquet_lists"] = ("native.parquet", packed.getvalue())
    return found


def folders() -> dict[str, tuple[str, dict[str, bytes]]]:
    """Kind -> (the file to read, empty for the folder; the folder's files)."""
    window = {"input_tokens": "{143: 0.5, 20: 0.5}", "output_tokens": "{5: 1.0}"}
    servegen = {
        "chunk-0-trace.csv": b"0,0.5,1.2,Gamma,0.7,2.8\n600,0.3,1.1,Weibull,0.9,3\n1200,0,0,,0,0\n",
        "chunk-0-dataset.json": json.dumps({"0": window, "21600": {"input_tokens": "{}", "output_tokens": "{}"}}).encode(),
        "chunk-1-trace.csv": b"0,0.2,1,Gamma,1,5\n600,0.2,1,Gamma,1,5\n",
        "chunk-1-dataset.json": json.dumps({"0": window}).encode(),
    }
    segments = {"sys_prompt": [1], "passages_ids": [10], "history": [], "web_search": [], "user_input": [30]}
    asked = [
        {"timestamp": str(n * 10), "input_length": 60, "output_length": 20, "session_id": n % 3, "hash_ids": segments}
        for n in range(10)
    ]
    ragpulse = {"0_trace.jsonl": "".join(json.dumps(entry) + "\n" for entry in asked).encode()} | {
        f"{place}_{name}.jsonl": json.dumps({f"{key}_id": number, "token_length": 16}).encode() + b"\n"
        for place, name, key, number in (
            (1, "sys_prompt", "sys_prompt", 1), (2, "passages", "passage", 10), (3, "history", "history", 20),
            (4, "user_input", "user_input", 30), (5, "web_search", "web_search", 40),
        )
    }  # fmt: skip
    said = [{"from": "human", "value": "hello"}, {"from": "gpt", "value": "hi there you"}] * 2
    chats = {"c.jsonl": "".join(json.dumps({"id": n, "conversations": said}) + "\n" for n in range(10)).encode()}
    turns = [{"t": 2.0 * n, "type": "n", "model": "m", "in": 100, "out": 5, "hash_ids": [1, 2]} for n in range(4)]
    inner = [{"t": 1, "in": 70, "out": 5, "hash_ids": [1, 2]}]
    session = {
        "models": ["m"], "block_size": 64, "hash_id_scope": "local", "tool_tokens": 1, "system_tokens": 1,
        "requests": [*turns, {"t": 9, "type": "subagent", "agent_id": "x", "requests": inner}],
    }  # fmt: skip
    agentic = {f"s{n}.json": json.dumps({"id": f"s{n}", **session}).encode() for n in range(3)}
    return {
        "servegen": ("", servegen), "ragpulse": ("0_trace.jsonl", ragpulse), "chats": ("c.jsonl", chats), "agentic": ("", agentic),
    }  # fmt: skip


def _stamp(t: float, digits: int) -> str:
    moment = datetime.datetime.fromtimestamp(_UNIX_S, datetime.UTC) + datetime.timedelta(seconds=t)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond:06d}0"[:digits]


def _us_date(t: float) -> str:
    moment = datetime.datetime.fromtimestamp(_UNIX_S + 86_400 * 10, datetime.UTC) + datetime.timedelta(seconds=int(t))
    return moment.strftime("%m/%d/%Y %I:%M:%S %p")


def _mooncake(ms: int, tokens: int, answer: int) -> dict[str, Any]:
    return {"timestamp": ms, "input_length": tokens, "output_length": answer, "hash_ids": list(range(-(-tokens // 512)))}


def _resource_span(number: int, t: float, tokens: int, answer: int) -> dict[str, Any]:
    start_ns = _UNIX_S * 10**9 + int(t * 1e9)
    values = {
        "gen_ai.operation.name": {"stringValue": "chat"}, "gen_ai.usage.input_tokens": {"intValue": str(tokens)},
        "gen_ai.usage.output_tokens": {"intValue": str(answer)},
    }  # fmt: skip
    span = {
        "traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": "chat", "startTimeUnixNano": str(start_ns),
        "endTimeUnixNano": str(start_ns + 10**9), "attributes": [{"key": key, "value": value} for key, value in values.items()],
    }  # fmt: skip
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {}, "spans": [span]}]}]}
