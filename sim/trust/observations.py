"""What users have measured on their own server, read into columns.

Recognised by content, not by name:

- ``vllm bench serve --save-result --save-detailed`` JSON (``input_lens output_lens ttfts itls start_times``);
- GuideLLM JSON (``benchmarks[].requests.successful[]``; its TPOT includes the first token and is not used);
- AIPerf ``profile_export.jsonl`` (``metadata.request_start_ns``, ``metrics.*.value``);
- JSON Lines of requests (``arrival_s prompt_len output_len first_token_s finish_s``, as an in-process engine logs
them); - CSV of requests: ``arrival_s,input_tokens,output_tokens,ttft_s,e2e_s`` and, if known,
``prefix_id,prefix_tokens,prompt_id``; - a vLLM ``/metrics`` dump: means since the server started, at the number of
requests running when it was taken.

A folder holds several runs (load levels), each file one. Failed requests are left out. Times are seconds; TTFT and
E2E count from the client's send.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import TraceError
from sim.workload.trace import Trace

_METRICS_REQUESTS = 6
"""Requests a running one, in the closed loop that stands for a ``/metrics`` dump."""


@dataclass(frozen=True)
class Observations:
    """One measured run: its arrivals, and each request's latencies (seconds; NaN = not known)."""

    source: str
    trace: Trace
    ttft_s: np.ndarray
    e2e_s: np.ndarray
    concurrency: int | None = None
    """Not None: closed loop with this many in flight, and only the means of the latencies are known."""

    @property
    def tpot_s(self) -> np.ndarray:
        """(e2e - ttft) / (output tokens - 1); NaN for a single token."""
        gaps = np.where(self.trace.output_tokens > 1, self.trace.output_tokens - 1, np.nan)
        return np.asarray((self.e2e_s - self.ttft_s) / gaps)


def read_observations(path: str | Path) -> list[Observations]:
    """Every run in the file or folder ``path``.

    Raises:
        TraceError: nothing there, or a file is none of the known formats.
    """
    root = Path(path)
    if root.is_dir():
        patterns = ("*.json", "*.jsonl", "*.csv", "*.prom", "*.txt", "*/requests.jsonl", "*/per_request.csv")
        found = sorted({file for pattern in patterns for file in root.glob(pattern)})
        runs = [run for file in found for run in _read_file(file)]
        if not runs:
            raise TraceError(f"{root}: holds no benchmark result, request log or metrics dump")
        return runs
    return _read_file(root)


def _read_file(path: Path) -> list[Observations]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise TraceError(f"{path}: is not text") from None
    try:
        return _parse(path, text)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise TraceError(f"{path}: cannot be read as what it seems to be ({type(error).__name__}: {error})") from None


def _parse(path: Path, text: str) -> list[Observations]:
    if "vllm:time_to_first_token_seconds" in text:
        return [_from_metrics(str(path), text)]
    head = text.lstrip()[:1]
    if head in ("{", "["):
        try:
            data = json.loads(text)
        except json.JSONDecodeError:
            return [_from_rows(str(path), (json.loads(line) for line in text.splitlines() if line.strip()))]
        if isinstance(data, dict) and "benchmarks" in data:
            return _from_guidellm(str(path), data)
        if isinstance(data, dict) and "ttfts" in data:
            return [_from_bench_serve(str(path), data)]
        if isinstance(data, dict):
            return [_from_rows(str(path), [data])]
        return [_from_rows(str(path), data)]
    return [_from_rows(str(path), csv.DictReader(text.splitlines()))]


def _from_bench_serve(source: str, data: dict[str, Any]) -> Observations:
    for name in ("input_lens", "output_lens", "ttfts", "itls"):
        if name not in data:
            raise KeyError(f"{name}; run vllm bench serve with --save-result --save-detailed")
    if "start_times" not in data:
        raise KeyError("start_times; a vLLM that records them (0.11 and later) is needed")
    rows = [
        {"arrival_s": start, "input_tokens": prompt, "output_tokens": output, "ttft_s": ttft, "e2e_s": ttft + sum(gaps)}
        for start, prompt, output, ttft, gaps, error in zip(
            data["start_times"], data["input_lens"], data["output_lens"], data["ttfts"], data["itls"],
            data.get("errors") or [""] * len(data["ttfts"]), strict=True,
        )
        if not error and output > 0
    ]  # fmt: skip
    return _observations(source, rows)


def _from_guidellm(source: str, data: dict[str, Any]) -> list[Observations]:
    runs = []
    for number, benchmark in enumerate(data["benchmarks"]):
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
    "arrival_s": ("arrival_s", "start_time", "request_start_time", "timestamp"),
    "input_tokens": ("input_tokens", "prompt_len", "prompt_tokens", "input_sequence_length"),
    "output_tokens": ("output_tokens", "output_len", "output_sequence_length"),
    "ttft_s": ("ttft_s", "ttft"),
    "e2e_s": ("e2e_s", "e2e", "latency", "request_latency"),
}


def _from_rows(source: str, rows: Iterable[dict[str, Any]]) -> Observations:
    """CSV rows and JSON Lines, AIPerf's nested records included."""
    out = []
    for row in rows:
        if "metrics" in row and "metadata" in row:
            record = _from_aiperf(row)
        else:
            record = {name: _first(row, *spellings, missing=None) for name, spellings in _SPELLINGS.items()}
            arrival = float(record["arrival_s"]) if record["arrival_s"] is not None else np.nan
            if record["ttft_s"] is None and row.get("first_token_s") is not None:
                record["ttft_s"] = float(row["first_token_s"]) - arrival
            if record["e2e_s"] is None and row.get("finish_s") is not None:
                record["e2e_s"] = float(row["finish_s"]) - arrival
            missing = [name for name, value in record.items() if value is None]
            if missing:
                raise KeyError(f"{', '.join(missing)} (columns found: {', '.join(row)})")
            shared = row.get("shared")
            if isinstance(shared, list):
                record.update(prefix_id=str(shared[0]), prefix_tokens=int(shared[1]))
            for name in ("prefix_id", "prefix_tokens", "prompt_id"):
                if row.get(name) not in (None, ""):
                    record[name] = row[name]
        if record.get("e2e_s") not in (None, ""):
            out.append(record)
    return _observations(source, out)


def _from_aiperf(row: dict[str, Any]) -> dict[str, Any]:
    if row.get("error"):
        return {}

    def value(name: str) -> float:
        metric = row["metrics"][name]
        per_second = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "us": 1e-6, "ns": 1e-9}
        return float(metric["value"]) * per_second.get(str(metric.get("unit", "")), 1.0)

    return {
        "arrival_s": float(row["metadata"]["request_start_ns"]) * 1e-9,
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
    arrival = column("arrival_s")
    labels: dict[str, np.ndarray] = {}
    for name in ("prefix_id", "prompt_id"):
        if any(name in row for row in rows):
            labels[name] = np.array([str(row.get(name, "")) for row in rows], dtype=object)
    if "prefix_id" in labels:
        labels["prefix_tokens"] = np.array([int(float(row.get("prefix_tokens", 0) or 0)) for row in rows])
    trace = Trace(
        arrival_s=arrival - arrival[0],
        input_tokens=np.maximum(1, column("input_tokens").astype(np.int64)),
        output_tokens=np.maximum(1, column("output_tokens").astype(np.int64)),
        labels=labels,
    )
    return Observations(source, trace, column("ttft_s"), column("e2e_s"))


def _from_metrics(source: str, text: str) -> Observations:
    def total(name: str) -> float:
        found = re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})?\s+([0-9.eE+-]+)\s*$", text, re.MULTILINE)
        if not found:
            raise KeyError(name)
        return sum(float(value) for value in found)

    def mean(name: str) -> float:
        return total(f"vllm:{name}_sum") / total(f"vllm:{name}_count")

    running = max(1, round(total("vllm:num_requests_running") + total("vllm:num_requests_waiting")))
    answered = total("vllm:e2e_request_latency_seconds_count")
    prompt = max(1, round(total("vllm:prompt_tokens_total") / answered))
    output = max(1, round(total("vllm:generation_tokens_total") / answered))
    n = running * _METRICS_REQUESTS
    trace = Trace(np.zeros(n), np.full(n, prompt), np.full(n, output))
    ttft, e2e = mean("time_to_first_token_seconds"), mean("e2e_request_latency_seconds")
    return Observations(source, trace, np.full(n, ttft), np.full(n, e2e), concurrency=running)


def _first(row: dict[str, Any], *names: str, missing: Any = KeyError) -> Any:
    for name in names:
        if row.get(name) not in (None, ""):
            return row[name]
    if missing is KeyError:
        raise KeyError(" or ".join(names))
    return missing
