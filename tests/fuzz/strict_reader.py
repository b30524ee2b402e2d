"""An independent reader of the trace formats, slow and strict, of the standard library alone (Parquet apart).

Written from the formats' descriptions, not from ``sim.workload``: whatever that accepts must be what stands here. A file
gives its requests ``(arrival_s from the first, input tokens, output tokens)`` in order of time, or ``Refused``; where
this reader knows too little of a format to judge (a provider's name, a span's parent), ``NoOpinion``.
"""

from __future__ import annotations

import codecs
import csv
import datetime
import gzip
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pyarrow.parquet

Request = tuple[float, int, int]
_MOST_TOKENS = 10**9
_TEN_YEARS_S = 3653 * 86_400
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ISO = re.compile(
    r"(\d{4})(-?)(\d\d)\2(\d\d)(?:[ T](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?)? ?(Z|UTC|[+-]\d{1,2}(?::?\d\d)?)?"
)


class Refused(Exception):
    """No trace, or a row that is none."""


class NoOpinion(Exception):
    """Beyond what this reader knows."""


def strict(kind: str, content: bytes) -> list[Request]:
    """The requests of a file of the format of the seed ``kind``."""
    if kind == "native_gzip":
        kind, content = "native", _gunzipped(content)
    if kind in ("native_parquet", "native_parquet_lists"):
        return _ordered(_parquet(content), ordered=True, zero_based=True)
    if not content.strip():
        raise Refused("empty")
    rows, ordered, zero_based = _READERS[kind](_text(content))
    return _ordered(rows, ordered=ordered, zero_based=zero_based)


def _ordered(rows: Iterator[tuple[float, float, float]], *, ordered: bool, zero_based: bool) -> list[Request]:
    found = []
    for at, tokens, answer in rows:
        if not math.isfinite(at) or (zero_based and at < 0):
            raise Refused(f"time {at}")
        for count in (tokens, answer):
            if not (1 <= count <= _MOST_TOKENS and count == int(count)):
                raise Refused(f"tokens {count}")
        if ordered and found and at < found[-1][0]:
            raise Refused("steps back")
        found.append((at, int(tokens), int(answer)))
    if not found:
        raise Refused("no request")
    found.sort(key=lambda row: row[0])
    first, last = found[0][0], found[-1][0]
    if last - first > _TEN_YEARS_S or first >= 1e10:
        raise Refused("spans too long")
    zero = 0.0 if zero_based and first < 1e8 else first
    return [(at - zero, tokens, answer) for at, tokens, answer in found]


def _gunzipped(content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except Exception as error:
        raise Refused(str(error)) from None


def _text(content: bytes) -> str:
    start = content[:64]
    encoding = "utf-8"
    if start.startswith(codecs.BOM_UTF8):
        content = content[3:]
    elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif len(start) >= 8 and len(start) % 2 == 0:
        if set(start[1::2]) == {0} and 0 not in start[0::2]:
            encoding = "utf-16-le"
        elif set(start[0::2]) == {0} and 0 not in start[1::2]:
            encoding = "utf-16-be"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise Refused(str(error)) from None


def _number(value: Any, decimal: str = ".") -> float:
    """A number as a log writes it; NaN otherwise."""
    if isinstance(value, bool) or value is None:
        return math.nan
    if isinstance(value, int | float):
        return math.inf if abs(value) >= 10**300 else float(value)
    if not isinstance(value, str):
        return math.nan
    text = value.strip()
    other = "," if decimal == "." else "."
    for sign in (other, " ", "'", "\u00a0", "\u202f"):
        if re.fullmatch(rf"[+-]?\d{{1,3}}({re.escape(sign)}\d{{3}})+({re.escape(decimal)}\d+)?", text, re.ASCII):
            text = text.replace(sign, "")
    if decimal == ",":
        text = text.replace(".", "?").replace(",", ".")
    if not _NUMBER.fullmatch(text):
        return math.nan
    return float(Decimal(text)) if len(text) < 300 else math.inf


def _instant(text: str | None) -> float:
    """Unix seconds of an ISO 8601 stamp; NaN when it is none."""
    found = _ISO.fullmatch((text or "").strip())
    if not found:
        return math.nan
    year, _, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        moment = datetime.datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=datetime.UTC
        )
    except ValueError:
        return math.nan
    offset_s = 0
    if zone and zone not in ("Z", "UTC"):
        hours, colon, minutes = zone[1:].partition(":")
        digits = (
            (hours if len(hours) > 2 else hours.zfill(2) + (minutes if colon else ""))
            .zfill(4 if len(hours) > 2 else 2)
            .ljust(4, "0")
        )
        if int(digits[:2]) > 23 or int(digits[2:]) > 59:
            return math.nan
        offset_s = (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * (-1 if zone[0] == "-" else 1)
    return moment.timestamp() - offset_s + float(f"0.{fraction or 0}")


def _table(text: str, separator: str = ",") -> list[dict[str, str]]:
    """The rows of a delimited table by the header's names."""
    if "\0" in text or re.search(r"\r(?!\n|\Z)", text):
        raise Refused("NUL or bare carriage return")
    text = text.lstrip("\ufeff")
    lines = [line[:-1] if line.endswith("\r") else line for line in text.split("\n")]
    try:
        parsed = [next(csv.reader([line], delimiter=separator, strict=True)) for line in lines if line]
    except (csv.Error, StopIteration) as error:
        raise Refused(str(error)) from None
    if not lines or not lines[0] or not parsed:
        raise Refused("no header")
    names = [name.strip() for name in parsed[0]]
    if len(set(filter(None, names))) < len([name for name in names if name]):
        raise Refused("a column twice")
    if any(len(fields) != len(names) for fields in parsed[1:]):
        raise Refused("another number of fields")
    return [dict(zip(names, fields, strict=True)) for fields in parsed[1:]]


def _columns(rows: list[dict[str, str]], *names: str) -> Iterator[tuple[str, ...]]:
    if not rows or any(name not in rows[0] for name in names):
        raise Refused(f"lacks one of {names}")
    return (tuple(row[name] for name in names) for row in rows)


def _json(text: str, *, where: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise Refused("a key twice")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{where}: {error}") from None


def _entries(text: str) -> list[dict[str, Any]]:
    """The objects of JSON lines, or of one list."""
    if text.lstrip()[:1] == "[":
        found = _json(text, where="list")
    else:
        found = [_json(line, where="line") for line in text.split("\n") if line.strip()]
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise Refused("no objects")
    return found


Read = tuple[Iterator[tuple[float, float, float]], bool, bool]


def _native(text: str) -> Read:
    rows = _table(text)
    return _checked_labels(rows), True, True


def _checked_labels(rows: list[dict[str, str]]) -> Iterator[tuple[float, float, float]]:
    for row, (at, tokens, answer) in zip(rows, _columns(rows, "arrival_s", "input_tokens", "output_tokens"), strict=True):
        priority = row.get("priority") or "0"
        value = _number(priority)
        if not (math.isfinite(value) and value == int(value) and abs(value) <= 2**53):
            raise Refused(f"priority {priority}")
        yield _number(at), _number(tokens), _number(answer)


def _plain_table(
    at: str, tokens: str, answer: str, time: Callable[[str], float], *, ordered: bool, zero_based: bool, separator: str = ",",
    decimal: str = ".", failed: Callable[[float], bool] = lambda answer: False,
) -> Callable[[str], Read]:  # fmt: skip
    def read(text: str) -> Read:
        rows = (
            (time(a), _number(b, decimal), _number(c, decimal))
            for a, b, c in _columns(_table(text, separator), at, tokens, answer)
        )
        return (row for row in rows if not failed(row[2])), ordered, zero_based

    return read


def _us_date(text: str) -> float:
    if not re.fullmatch(r"\s*\d{1,2}/\d{1,2}/\d{4}\s+\d{1,2}:\d{1,2}:\d{1,2}(\.\d{1,9})? [AaPp][Mm]\s*", text, re.ASCII):
        return math.nan
    try:
        whole, dot, fraction = re.sub(r" (?=[AaPp][Mm]$)", "", text.strip()).partition(".")
        whole = re.sub(r"\s+", " ", whole)
        half, fraction = (fraction or whole)[-2:], fraction[:-2]
        moment = datetime.datetime.strptime((whole if dot else whole[:-2]) + half, "%m/%d/%Y %I:%M:%S%p")
        return moment.replace(tzinfo=datetime.UTC).timestamp() + float(f"0.{fraction or 0}")
    except ValueError:
        return math.nan


def _comma(text: str) -> float:
    return _number(text, ",")


def _burstgpt(text: str) -> Read:
    read = _plain_table(
        "Timestamp", "Request tokens", "Response tokens", _number, ordered=True, zero_based=False,
        failed=lambda answer: answer == 0,
    )  # fmt: skip
    if any(not {"Model", "Log Type"} <= set(row) for row in _table(text)):
        raise Refused("lacks a column")
    return read(text)


def _lines_of(
    take: Callable[[dict[str, Any]], tuple[float, float, float] | None], *, ordered: bool = False, zero_based: bool = False
) -> Callable[[str], Read]:
    def read(text: str) -> Read:
        return (row for entry in _entries(text) if (row := take(entry)) is not None), ordered, zero_based

    return read


def _hashed(entry: dict[str, Any], size: int) -> None:
    hashes, tokens = entry.get("hash_ids", []), _number(entry.get("input_length"))
    if not isinstance(hashes, list) or not all(type(block) is int for block in hashes):
        raise Refused("hash_ids")
    if 0 < tokens < math.inf and len(hashes) > math.ceil(int(tokens) / size):
        raise Refused("more hash_ids than blocks")


def _mooncake(entry: dict[str, Any]) -> tuple[float, float, float]:
    _hashed(entry, 512)
    return _number(entry.get("timestamp")) / 1e3, _number(entry.get("input_length")), _number(entry.get("output_length"))


def _bailian(entry: dict[str, Any]) -> tuple[float, float, float]:
    _hashed(entry, 16)
    return _number(entry.get("timestamp")), _number(entry.get("input_length")), _number(entry.get("output_length"))


def _turns(text: str) -> Read:
    def rows() -> Iterator[tuple[float, float, float]]:
        ready: dict[str, float] = {}
        for number, entry in enumerate(_entries(text)):
            _hashed(entry, 512)
            session = str(entry.get("session_id") or f"line {number}")
            at, delay = entry.get("timestamp"), entry.get("delay")
            if at is None and delay is None and session in ready:
                at_s = ready[session]
            elif at is not None:
                at_s = _number(at) / 1e3
            else:
                at_s = ready.get(session, 0.0) + (0.0 if delay is None else _number(delay) / 1e3)
            tokens, answer = _number(entry.get("input_length")), _number(entry.get("output_length"))
            ready[session] = at_s + 0.02 * answer
            yield at_s, tokens, answer

    return rows(), False, True


def _llmservingsim(entry: dict[str, Any]) -> tuple[float, float, float]:
    if "sub_requests" in entry:
        raise NoOpinion
    return _number(entry.get("arrival_time_ns")) / 1e9, _number(entry.get("input_toks")), _number(entry.get("output_toks"))


def _aibrix(text: str) -> Read:
    def rows() -> Iterator[tuple[float, float, float]]:
        for entry in _entries(text):
            requests = entry.get("requests")
            if not isinstance(requests, list) or not all(isinstance(request, dict) for request in requests):
                raise Refused("requests")
            for request in requests:
                yield (
                    _number(entry.get("timestamp")) / 1e3,
                    _number(request.get("prompt_length")),
                    _number(request.get("output_length")),
                )

    return rows(), False, True


def _value(metric: Any) -> float:
    return _number(metric.get("value") if isinstance(metric, dict) else metric)


def _aiperf(entry: dict[str, Any]) -> tuple[float, float, float] | None:
    metadata, metrics = entry.get("metadata") or {}, entry.get("metrics") or {}
    if not isinstance(metadata, dict) or not isinstance(metrics, dict):
        raise Refused("no objects")
    if metadata.get("benchmark_phase", "profiling") != "profiling" or entry.get("error") or metadata.get("was_cancelled"):
        return None
    start = metadata.get("request_start_ns")
    if type(start) is not int:
        raise Refused("request_start_ns")
    return (
        (start - 1_760_000_000 * 10**9) / 1e9, _value(metrics.get("input_sequence_length")),
        _value(metrics.get("output_sequence_length")),
    )  # fmt: skip


_KNOWN = {"call_type": "acompletion", "custom_llm_provider": "hosted_vllm", "status": "success"}


def _moment(value: Any) -> float:
    """A log's stamp: ISO text, or a Unix number, of which only seconds are judged here."""
    if isinstance(value, str) and not re.fullmatch(r"\s*-?\d+\s*", value, re.ASCII):
        if not _ISO.fullmatch(value.strip()):
            raise NoOpinion  # the standard library's fromisoformat knows more shapes (weeks, ordinal days)
        return _instant(value) - 1.5e9
    raise NoOpinion


def _litellm(entry: dict[str, Any]) -> tuple[float, float, float] | None:
    if any(entry.get(name) != value for name, value in _KNOWN.items()) or set(entry) - _LITELLM:
        raise NoOpinion
    answer = _number(entry.get("completion_tokens"))
    return None if answer == 0 else (_moment(entry.get("startTime")), _number(entry.get("prompt_tokens")), answer)


_LITELLM = {
    "request_id",
    "call_type",
    "prompt_tokens",
    "completion_tokens",
    "startTime",
    "model",
    "custom_llm_provider",
    "status",
}


def _litellm_table(text: str) -> Read:
    return (row for entry in _table(text) if (row := _litellm(entry)) is not None), False, False


def _helicone(entry: dict[str, Any]) -> tuple[float, float, float] | None:
    if entry.get("status") != 200 or set(entry) - {
        "request_created_at",
        "prompt_tokens",
        "completion_tokens",
        "status",
        "model",
    }:
        raise NoOpinion
    answer = _number(entry.get("completion_tokens"))
    return None if answer == 0 else (_moment(entry.get("request_created_at")), _number(entry.get("prompt_tokens")), answer)


def _openrouter(entry: dict[str, Any]) -> tuple[float, float, float] | None:
    if set(entry) != _OPENROUTER or entry["cancelled"] is not False or not _number(entry["native_tokens_prompt"]) > 0:
        raise NoOpinion
    answer = _number(entry["native_tokens_completion"])
    if not answer > 0:
        raise NoOpinion
    return _moment(entry["created_at"]), _number(entry["native_tokens_prompt"]), answer


_OPENROUTER = {
    "id", "created_at", "model", "tokens_prompt", "tokens_completion", "native_tokens_prompt", "native_tokens_completion",
    "cancelled",
}  # fmt: skip


def _langfuse(text: str) -> Read:
    def rows() -> Iterator[tuple[float, float, float]]:
        seen = set()
        for entry in _entries(text):
            usage = entry.get("usage")
            if set(entry) != _LANGFUSE or not isinstance(usage, dict) or set(usage) != {"input", "output", "unit"}:
                raise NoOpinion
            if entry["type"] != "GENERATION" or usage["unit"] != "TOKENS" or entry["id"] in seen or not usage["output"]:
                raise NoOpinion
            if math.isnan(_number(usage["output"])) or _number(usage["output"]) == 0 or usage["input"] in (None, ""):
                raise NoOpinion
            seen.add(entry["id"])
            yield _moment(entry["startTime"]), _number(usage["input"]), _number(usage["output"])

    return rows(), False, False


_LANGFUSE = {"id", "traceId", "type", "startTime", "endTime", "model", "usage"}


def _batch_api(entry: dict[str, Any]) -> tuple[float, float, float] | None:
    try:
        response = entry["response"]
        usage = response["body"]["usage"]
        if set(entry) != {"custom_id", "url", "body", "error", "response"} or entry["error"] or set(usage) != _USAGE:
            raise NoOpinion
        if response["status_code"] != 200 or set(response) != {"status_code", "body"} or set(response["body"]) != {"usage"}:
            raise NoOpinion
    except (KeyError, TypeError):
        raise NoOpinion from None
    answer = _number(usage["completion_tokens"])
    return None if answer == 0 else (0.0, _number(usage["prompt_tokens"]), answer)


_USAGE = {"prompt_tokens", "completion_tokens"}


def _otel(text: str) -> Read:
    def rows() -> Iterator[tuple[float, float, float]]:
        seen = set()
        for entry in _entries(text):
            try:
                (span,) = entry["resourceSpans"][0]["scopeSpans"][0]["spans"]
                values = {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}
                start, end, names = span["startTimeUnixNano"], span["endTimeUnixNano"], set(span)
                ids = (span["traceId"], span["spanId"])
            except (KeyError, TypeError, IndexError, ValueError, AttributeError, StopIteration):
                raise NoOpinion from None
            if set(values) != _OTEL or values["gen_ai.operation.name"] != "chat" or ids in seen or len(names) != 6:
                raise NoOpinion
            if not all(re.fullmatch(r"\d{19}", str(stamp), re.ASCII) for stamp in (start, end)):
                raise NoOpinion
            seen.add(ids)
            answer = _number(values["gen_ai.usage.output_tokens"])
            if math.isnan(answer) or answer == 0:
                raise NoOpinion
            yield (int(start) - 1_760_000_000 * 10**9) / 1e9, _number(values["gen_ai.usage.input_tokens"]), answer

    return rows(), False, False


_OTEL = {"gen_ai.operation.name", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"}


def _vllm_bench(text: str) -> Read:
    held = _json(text, where="document")
    if not isinstance(held, dict):
        raise Refused("no object")
    if not {"completed", "total_input_tokens", "request_throughput"} <= set(held):
        raise Refused("no result of vllm bench serve")
    lists = [held.get(name) for name in ("start_times", "input_lens", "output_lens")]
    if not all(isinstance(values, list) for values in lists) or len({len(values) for values in lists}) > 1:
        raise Refused("lists")
    errors = held.get("errors") or [""] * len(lists[0])
    if not isinstance(errors, list) or len(errors) != len(lists[0]):
        raise Refused("errors")
    rows = zip(*lists, errors, strict=True)
    return ((_number(a), _number(b), _number(c)) for a, b, c, error in rows if not error and c), False, False


def _guidellm(text: str) -> Read:
    held = _json(text, where="document")
    try:
        (benchmark,) = held["benchmarks"]
        requests = benchmark["requests"]["successful"]
        if set(benchmark) != {"requests"} or set(benchmark["requests"]) != {"successful", "incomplete", "errored"}:
            raise NoOpinion
    except (KeyError, TypeError, ValueError):
        raise NoOpinion from None
    if not isinstance(requests, list) or not all(isinstance(request, dict) for request in requests):
        raise Refused("requests")
    names = ("request_start_time", "prompt_tokens", "output_tokens")
    if any(set(request) - {*names, "xrequest_start_time", "xprompt_tokens", "xoutput_tokens"} for request in requests):
        raise NoOpinion
    return (tuple(_number(request.get(name)) for name in names) for request in requests), False, False  # type: ignore[misc]


def _agentic(text: str) -> Read:
    held = _json(text, where="document")
    if not isinstance(held, dict) or not isinstance(held.get("requests"), list):
        raise Refused("requests")

    def rows() -> Iterator[tuple[float, float, float]]:
        for request in held["requests"]:
            if not isinstance(request, dict):
                raise Refused("request")
            hashes = request.get("hash_ids", [])
            if (
                request.get("type") == "subagent"
                or not isinstance(hashes, list)
                or any(type(block) is not int for block in hashes)
            ):
                raise NoOpinion
            if request.get("out"):
                yield _number(request.get("t")), _number(request.get("in")), _number(request.get("out"))

    return rows(), False, True


def _parquet(content: bytes) -> Iterator[tuple[float, float, float]]:
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
        if len(set(table.column_names)) < len(table.column_names):
            raise Refused("a column twice")
        columns = [table.column(name).to_pylist() for name in ("arrival_s", "input_tokens", "output_tokens")]
    except Refused:
        raise
    except Exception as error:
        raise Refused(str(error)) from None
    for at, tokens, answer in zip(*columns, strict=True):
        yield _number(at), _number(tokens), _number(answer)


_READERS: dict[str, Callable[[str], Read]] = {
    "native": _native,
    "native_quoted": _native,
    "azure": _plain_table("TIMESTAMP", "ContextTokens", "GeneratedTokens", _instant, ordered=True, zero_based=False),
    "azure_zone": _plain_table("TIMESTAMP", "ContextTokens", "GeneratedTokens", _instant, ordered=True, zero_based=False),
    "burstgpt": _burstgpt,
    "vidur": _plain_table("arrived_at", "num_prefill_tokens", "num_decode_tokens", _number, ordered=True, zero_based=True),
    "splitwise": _plain_table("arrival_timestamp", "prompt_size", "token_size", _number, ordered=False, zero_based=False),
    "mapped_semicolon": _plain_table(
        "ts", "in", "out", _comma, ordered=False, zero_based=False, separator=";", decimal=","
    ),
    "mapped_dates": _plain_table("ts", "in", "out", _us_date, ordered=False, zero_based=False, separator="\t"),
    "native_lines": _lines_of(
        lambda entry: (_number(entry.get("arrival_s")), _number(entry.get("input_tokens")), _number(entry.get("output_tokens"))),
        ordered=True, zero_based=True,
    ),
    "mapped_lines": _lines_of(
        lambda entry: (
            _number(entry["at"].get("ts") if isinstance(entry.get("at"), dict) else None) / 1e3, _number(entry.get("in")),
            _number(entry.get("out")),
        )
    ),
    "mooncake": _lines_of(_mooncake, ordered=True, zero_based=True),
    "turns": _turns,
    "bailian": _lines_of(_bailian),
    "llmservingsim": _lines_of(_llmservingsim, zero_based=True),
    "aibrix": _aibrix,
    "aiperf": _lines_of(_aiperf),
    "litellm": _lines_of(_litellm),
    "litellm_table": _litellm_table,
    "helicone": _lines_of(_helicone),
    "openrouter": _lines_of(_openrouter),
    "langfuse": _langfuse,
    "batch_api": _lines_of(_batch_api, zero_based=True),
    "otel": _otel,
    "vllm_bench": _vllm_bench,
    "guidellm": _guidellm,
    "agentic": _agentic,
}  # fmt: skip
