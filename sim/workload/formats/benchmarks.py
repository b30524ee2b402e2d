"""Load generators' result files, read back as the traffic that they sent.

``vllm bench serve --save-result --save-detailed``: one JSON object with parallel lists ``input_lens``, ``output_lens``,
``start_times`` (seconds of a monotonic clock; files of versions before it was written hold no times and are refused)
and ``errors``. guidellm: ``benchmarks[].requests.successful[]``, token counts and start times by version; several
benchmarks of one file follow each other as recorded. AIPerf: ``profile_export.jsonl``, one record a line, ns stamps.
LLMServingSim: JSON lines in ns, token ids ignored, or agentic sessions of ``sub_requests``, which follow each other
after their tool times (the time an answer takes is not in the file and not added); what its bench measured, in seconds.
inference-perf: ``per_request_lifecycle_metrics.json``. Failed requests are left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import TraceError
from sim.measured import guidellm
from sim.workload.formats.aggregates import not_a_trace
from sim.workload.formats.records import Record, as_number, json_document, json_lines, record_chunks
from sim.workload.rows import Chunk, Reading
from sim.workload.source import json_keys


class VllmBenchFormat:
    """Detailed results of ``vllm bench serve``."""

    name = "vllm-bench"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By what its summary always holds."""
        return {"request_throughput", "total_input_tokens", "completed"} <= json_keys(head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The requests of the run."""
        reading.row_name = "request"
        document = json_document(reading)
        if not isinstance(document, dict):
            raise not_a_trace(reading.path)
        found = [document.get(name) for name in ("start_times", "input_lens", "output_lens")]
        lists = [values for values in found if isinstance(values, list)]
        if len(lists) < len(found):
            raise TraceError(
                f"{not_a_trace(reading.path)}. To replay a run: `vllm bench serve` with --save-result --save-detailed, in a "
                "version that writes start_times"
            )
        starts_s, inputs, outputs = lists
        if not len(starts_s) == len(inputs) == len(outputs):
            raise TraceError(f"{reading.path}: start_times, input_lens and output_lens differ in length")
        errors = document.get("errors") or [""] * len(inputs)
        records = (
            Record(row, start_s, tokens, answer, failed=bool(error) or not answer)
            for row, (start_s, tokens, answer, error) in enumerate(
                zip(starts_s, inputs, outputs, errors, strict=True), start=1
            )
        )
        return record_chunks(records, ())


class GuideLlmFormat:
    """guidellm's JSON report."""

    name = "guidellm"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By its list of benchmarks."""
        return "benchmarks" in json_keys(head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The requests of all its benchmarks."""
        reading.row_name = "request"
        return record_chunks(self._records(reading.path, json_document(reading)), ("feature",))

    def _records(self, path: Path, document: dict[str, Any]) -> Iterator[Record]:
        row = 0
        for number, benchmark in enumerate(document.get("benchmarks", [])):
            if guidellm.is_sample(benchmark):
                answered, kept = guidellm.answered_and_kept(benchmark)
                lacks = (
                    f"{kept} requests, as many as its sample size, and does not say of how many, so its rate may be too low"
                    if answered is None
                    else f"{kept} of the {answered} requests that it answered, so its rate would be "
                    f"{answered / max(kept, 1):.2g} times too low"
                )
                raise TraceError(
                    f"{path}: benchmark {number} kept {lacks}; run guidellm without a sample size to replay a run. Its "
                    f"means can be used: servecap calibrate {path} model=... gpu=..."
                )
            requests = benchmark.get("requests", {})
            for status in ("successful", "incomplete", "errored"):
                for request in requests.get(status) or []:
                    row += 1
                    yield Record(
                        row, _first(request, _START), _first(request, _INPUT), _first(request, _OUTPUT),
                        {"feature": f"benchmark {number}"}, failed=status != "successful",
                    )  # fmt: skip


_START = (
    "start_time", "request_start_time", "scheduler_info.request_timings.request_start", "info.timings.request_start",
)  # fmt: skip
_INPUT = ("prompt_tokens", "input_metrics.total_tokens", "input_metrics.text_tokens")
_OUTPUT = ("output_tokens", "output_metrics.total_tokens", "output_metrics.text_tokens")


def _first(entry: dict[str, Any], paths: tuple[str, ...]) -> Any:
    """The first value that ``entry`` has at one of the dotted ``paths``."""
    for path in paths:
        value: Any = entry
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None


class AiperfFormat:
    """AIPerf's per-request records."""

    name = "aiperf"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By its stamps."""
        return {"metadata", "request_start_ns"} <= json_keys(head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The requests of the profiling phase; warm-up is left out and counted."""
        return record_chunks(self._records(reading), ("session_id", "turn"))

    def _records(self, reading: Reading) -> Iterator[Record]:
        origin_ns: int | None = None
        for line, entry in json_lines(reading):
            metadata, metrics = entry.get("metadata") or {}, entry.get("metrics") or {}
            if metadata.get("benchmark_phase", "profiling") != "profiling":
                reading.dropped["request of the warm-up"] += 1
                continue
            start_ns = metadata.get("request_start_ns")
            if origin_ns is None and isinstance(start_ns, int):
                origin_ns = start_ns
            arrival_s = (start_ns - (origin_ns or 0)) / 1e9 if isinstance(start_ns, int) else np.nan
            labels: dict[str, Any] = {}
            if metadata.get("turn_index") is not None and metadata.get("x_correlation_id"):
                labels = {"session_id": metadata["x_correlation_id"], "turn": int(metadata["turn_index"]) + 1}
            yield Record(
                line, arrival_s, _value(metrics, "input_sequence_length"), _value(metrics, "output_sequence_length"),
                labels, failed=bool(entry.get("error")) or bool(metadata.get("was_cancelled")),
            )  # fmt: skip


def _value(metrics: dict[str, Any], name: str) -> Any:
    metric = metrics.get(name)
    return metric.get("value") if isinstance(metric, dict) else metric


class LlmServingSimFormat:
    """LLMServingSim's request files."""

    name = "llmservingsim"
    zero_based = True
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By its stamps and token counts."""
        keys = json_keys(head)
        return "arrival_time_ns" in keys and bool(keys & {"input_toks", "sub_requests"})

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The requests, agentic sessions unfolded."""
        return record_chunks(self._records(reading), ("session_id", "turn"))

    def _records(self, reading: Reading) -> Iterator[Record]:
        for line, entry in json_lines(reading):
            at_s = as_number(entry.get("arrival_time_ns")) / 1e9
            if "sub_requests" not in entry:
                yield Record(line, at_s, entry.get("input_toks"), entry.get("output_toks"))
                continue
            for turn, part in enumerate(entry["sub_requests"], start=1):
                labels = {"session_id": entry.get("session_id", line), "turn": turn}
                yield Record(line, at_s, part.get("input_toks"), part.get("output_toks"), labels)
                at_s += np.nan_to_num(as_number(part.get("tool_duration_ns"))) / 1e9


class LlmServingSimMeasuredFormat:
    """What LLMServingSim's bench measured of a real server."""

    name = "llmservingsim-measured"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By its moments."""
        return {"input_toks", "output_toks", "arrival_time"} <= json_keys(head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The requests of the run."""
        return record_chunks(self._records(reading), ())

    def _records(self, reading: Reading) -> Iterator[Record]:
        for line, entry in json_lines(reading):
            yield Record(line, entry.get("arrival_time"), entry.get("input_toks"), entry.get("output_toks"))


class InferencePerfFormat:
    """inference-perf's record of every request."""

    name = "inference-perf"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By a request's moments and lengths."""
        return {"start_time", "end_time", "info", "input_tokens"} <= json_keys(head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The requests of all stages; failed ones marked."""
        return record_chunks(self._records(reading), ())

    def _records(self, reading: Reading) -> Iterator[Record]:
        for line, entry in json_lines(reading):
            answer = _first(entry, ("info.output_tokens",))
            failed = bool(entry.get("error")) or not as_number(answer)
            yield Record(line, entry.get("start_time"), _first(entry, ("info.input_tokens",)), answer, {}, failed)
