"""What users have measured on their own server, as runs to fit: requests with latencies, or means under a load.

Per request, recognised by content, not by name:

- ``vllm bench serve --save-result --save-detailed`` JSON with ``start_times``;
- GuideLLM JSON (``benchmarks[].requests.successful[]``, where all were kept; its TPOT includes the first token and is
  not used);
- AIPerf ``profile_export.jsonl`` (warm-up and cancelled requests left out);
- LLMServingSim's measured ``requests.jsonl``;
- inference-perf's ``per_request_lifecycle_metrics.json``;
- JSON Lines of requests (``arrival_s prompt_len output_len first_token_s finish_s``, as an in-process engine logs them);
- CSV of requests: ``arrival_s,input_tokens,output_tokens,ttft_s,e2e_s`` and, if known,
  ``prefix_id,prefix_tokens,prompt_id``.

Means (``sim.measured``): benchmark summaries and ``/metrics`` dumps. Times are seconds; TTFT and E2E count from the
client's send. Failed requests are left out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from sim.errors import TraceError
from sim.measured import aggregates_in, guidellm
from sim.measured.json_keys import TwiceError, each_key_once
from sim.trust.measured_run import Observations, standing_for
from sim.workload.trace import Trace


def names_requests(head: str) -> bool:
    """Whether a file that begins with ``head`` can hold requests with their latencies."""
    return any(mark in head for mark in ("ttft", "first_token", "output_token_times", "finish_s"))


def runs_in(source: str, text: str, concurrency: float | None = None) -> list[Observations]:
    """Every run in one file's ``text``; ``concurrency`` is the requests in flight where the file does not state them.

    Raises:
        TraceError: it is no known format, or cannot be used as what it seems to be.
    """
    try:
        return _parsed(source, text, concurrency)
    except TwiceError as error:
        raise TraceError(f"{source}: {error}") from None
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, TraceError):
            raise
        raise TraceError(f"{source}: cannot be read as what it seems to be ({type(error).__name__}: {error})") from None


def _parsed(source: str, text: str, concurrency: float | None) -> list[Observations]:
    head = text.lstrip("\ufeff \t\r\n")[:1]
    if head not in ("{", "["):
        points = aggregates_in(source, text)
        if points:
            return [standing_for(point, concurrency) for point in points]
        return [_from_rows(source, csv.DictReader(text.splitlines()))]
    try:
        data = json.loads(text, object_pairs_hook=each_key_once)
    except json.JSONDecodeError:
        data = None
    if isinstance(data, dict) and guidellm.matches(data):
        return _from_guidellm(source, data, concurrency)
    if isinstance(data, dict) and "ttfts" in data and "start_times" in data:
        return [_from_bench_serve(source, data)]
    points = aggregates_in(source, text)
    if points:
        return [standing_for(point, concurrency) for point in points]
    if isinstance(data, dict) and "ttfts" in data:
        names = "start_times (or completed and total_input_tokens)"
        raise KeyError(f"{names}; run vllm bench serve with --save-result --save-detailed")
    if data is not None and not data:
        raise TraceError(f"{source}: is empty ({text.strip()[:20]}); legal is at least one run or request")
    if data is None:
        data = (_line(source, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip())
    return [_from_rows(source, [data] if isinstance(data, dict) else data)]


def _line(source: str, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=each_key_once)
    except ValueError as error:
        raise TraceError(f"{source}, line {number}: is no JSON ({error})") from None
    if not isinstance(row, dict):
        raise TraceError(f"{source}, line {number}: is {line[:60]!r}; legal is an object")
    return row


def _from_bench_serve(source: str, data: dict[str, Any]) -> Observations:
    for name in ("input_lens", "output_lens", "ttfts", "itls"):
        if name not in data:
            raise KeyError(f"{name}; run vllm bench serve with --save-result --save-detailed")
    rows = [
        {"arrival_s": start, "input_tokens": prompt, "output_tokens": output, "ttft_s": ttft, "e2e_s": ttft + sum(gaps)}
        for start, prompt, output, ttft, gaps, error in zip(
            data["start_times"], data["input_lens"], data["output_lens"], data["ttfts"], data["itls"],
            data.get("errors") or [""] * len(data["ttfts"]), strict=True,
        )
        if not error and output > 0
    ]  # fmt: skip
    return _observations(source, rows)


def _from_guidellm(source: str, data: dict[str, Any], concurrency: float | None) -> list[Observations]:
    runs = []
    for number, benchmark in enumerate(data["benchmarks"]):
        if guidellm.is_sample(benchmark):
            points = aggregates_in(source, json.dumps({"benchmarks": [benchmark]}))
            runs += [standing_for(point, concurrency) for point in points]
            continue
        requests = benchmark["requests"]
        requests = requests["successful"] if isinstance(requests, dict) else requests
        rows = [
            {
                "arrival_s": _first(r, "request_start_time", "start_time"),
                "input_tokens": _first(r, "prompt_tokens", "input_tokens"),
                "output_tokens": _first(r, "output_tokens"),
                "ttft_s": _first(r, "time_to_first_token_ms") / 1e3,
                "e2e_s": _first(r, "request_latency"),
            }
            for r in requests
        ]
        runs.append(_observations(f"{source}#{number}", rows))
    return runs


_SPELLINGS: dict[str, tuple[str, ...]] = {
    "arrival_s": ("arrival_s", "arrival_time", "start_time", "request_start_time", "timestamp"),
    "input_tokens": ("input_tokens", "input_toks", "prompt_len", "prompt_tokens", "input_sequence_length"),
    "output_tokens": ("output_tokens", "output_toks", "output_len", "output_sequence_length"),
    "ttft_s": ("ttft_s", "ttft"),
    "e2e_s": ("e2e_s", "e2e", "latency", "request_latency"),
}
_ANOTHER_CLOCK_S = 1e6
_MOMENTS = {"ttft_s": ("first_token_s", "first_token_ts"), "e2e_s": ("finish_s", "last_token_ts")}
"""Moments on the clock of the arrival, where no time since then is given."""


def _from_rows(source: str, rows: Iterable[dict[str, Any]]) -> Observations:
    """CSV rows and JSON Lines, AIPerf's nested records included."""
    out = []
    for number, row in enumerate(rows, start=1):
        try:
            record = _record(row)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            if isinstance(error, TraceError):
                raise
            raise TraceError(f"{source}, request {number}: {_named(error)}") from None
        if record.get("e2e_s") not in (None, ""):
            out.append(record)
    return _observations(source, out)


def _record(row: dict[str, Any]) -> dict[str, Any]:
    if "metrics" in row and "metadata" in row:
        return _from_aiperf(row)
    return _from_inference_perf(row) if isinstance(row.get("info"), dict) and "end_time" in row else _from_row(row)


def _from_inference_perf(row: dict[str, Any]) -> dict[str, Any]:
    """One request with the moments of its tokens; empty for failed ones."""
    info, start = row["info"], float(row["start_time"])
    moments = info.get("output_token_times") or []
    if row.get("error") or not moments:
        return {}
    return {
        "arrival_s": start, "input_tokens": info["input_tokens"], "output_tokens": info["output_tokens"],
        "ttft_s": float(moments[0]) - start, "e2e_s": float(row["end_time"]) - start,
    }  # fmt: skip


def _named(error: Exception) -> str:
    return f"lacks {error.args[0]}" if isinstance(error, KeyError) and error.args else str(error)


def _from_row(row: dict[str, Any]) -> dict[str, Any]:
    record = {name: _first(row, *spellings, missing=None) for name, spellings in _SPELLINGS.items()}
    arrival = float(record["arrival_s"]) if record["arrival_s"] is not None else np.nan
    for name, moments in _MOMENTS.items():
        moment = _first(row, *moments, missing=None)
        if record[name] is None and moment is not None:
            # an engine's moments may be of a clock of its own: then they count from when it queued the request
            queued = float(row["queued_ts"]) if row.get("queued_ts") is not None else arrival
            record[name] = float(moment) - (queued if abs(queued - arrival) > _ANOTHER_CLOCK_S else arrival)
    missing = [name for name, value in record.items() if value is None]
    if missing:
        raise KeyError(f"{', '.join(missing)} (columns found: {', '.join(row)})")
    shared = row.get("shared")
    if isinstance(shared, list):
        record.update(prefix_id=str(shared[0]), prefix_tokens=int(shared[1]))
    for name in ("prefix_id", "prefix_tokens", "prompt_id"):
        if row.get(name) not in (None, ""):
            record[name] = row[name]
    return record


def _from_aiperf(row: dict[str, Any]) -> dict[str, Any]:
    """One record; empty for warm-up, cancelled and failed requests."""
    metadata = row["metadata"]
    if row.get("error") or metadata.get("was_cancelled") or metadata.get("benchmark_phase", "profiling") != "profiling":
        return {}

    def value(name: str) -> float:
        metric = row["metrics"][name]
        per_second = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "us": 1e-6, "ns": 1e-9}
        return float(metric["value"]) * per_second.get(str(metric.get("unit", "")), 1.0)

    return {
        "arrival_s": float(metadata["request_start_ns"]) * 1e-9,
        "input_tokens": value("input_sequence_length"),
        "output_tokens": value("output_sequence_length"),
        "ttft_s": value("time_to_first_token"),
        "e2e_s": value("request_latency"),
    }


def _observations(source: str, rows: list[dict[str, Any]]) -> Observations:
    if not rows:
        raise ValueError("no successful request")
    rows = sorted(rows, key=lambda row: float(row["arrival_s"]))
    column: Callable[[str], np.ndarray] = lambda name: np.array([float(row[name]) for row in rows])  # noqa: E731
    arrival, ttft_s, e2e_s = column("arrival_s"), column("ttft_s"), column("e2e_s")
    inputs, outputs = column("input_tokens"), column("output_tokens")
    _check_requests(source, {"arrival_s": arrival, "ttft_s": ttft_s, "e2e_s": e2e_s, "input_tokens": inputs,
                             "output_tokens": outputs})  # fmt: skip
    labels: dict[str, np.ndarray] = {}
    for name in ("prefix_id", "prompt_id"):
        if any(name in row for row in rows):
            labels[name] = np.array([str(row.get(name, "")) for row in rows], dtype=object)
    if "prefix_id" in labels:
        labels["prefix_tokens"] = np.array([int(float(row.get("prefix_tokens", 0) or 0)) for row in rows])
    trace = Trace(
        arrival_s=arrival - arrival[0],
        input_tokens=np.maximum(1, inputs.astype(np.int64)),
        output_tokens=np.maximum(1, outputs.astype(np.int64)),
        labels=labels,
    )
    return Observations(source, trace, ttft_s, e2e_s)


def _check_requests(source: str, columns: Mapping[str, np.ndarray]) -> None:
    """Times and lengths that can be, or an error that names the first that cannot."""
    for name, values in columns.items():
        wrong = ~(np.isfinite(values) & (values >= 0))
        if name in ("input_tokens", "output_tokens"):
            wrong |= values > 1e9
        if wrong.any():
            raise TraceError(f"{source}: {name} is {values[np.argmax(wrong)]!r:.40}; legal is a finite number, at least 0")
    late = columns["ttft_s"] > columns["e2e_s"] * (1 + 1e-6) + 1e-6
    if late.any():
        place = int(np.argmax(late))
        ttft_s, e2e_s = columns["ttft_s"][place], columns["e2e_s"][place]
        raise TraceError(
            f"{source}: a request's first token ({ttft_s:.6g} s) comes after its last ({e2e_s:.6g} s), which cannot be"
        )


def _first(row: dict[str, Any], *names: str, missing: Any = KeyError) -> Any:
    for name in names:
        if row.get(name) not in (None, ""):
            return row[name]
    if missing is KeyError:
        raise KeyError(" or ".join(names))
    return missing
