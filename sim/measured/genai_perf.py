"""genai-perf and AIPerf summaries: ``{"time_to_first_token": {"unit": "ms", "avg": ...}, ...}``, and their table.

The load is in ``input_config`` (AIPerf: ``loadgen.concurrency`` or ``request_rate``; genai-perf:
``perf_analyzer.stimulus``), which AIPerf does not promise and users cut out: then Little's law gives it. A summary
without ``input_sequence_length`` (AIPerf without a tokenizer) takes the mean from ``total_isl``, or what was asked for.

Source: ai-dynamo/aiperf docs/tutorials/working-with-profile-exports.md; triton perf_analyzer's genai-perf.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sim.errors import TraceError
from sim.measured.aggregate import Aggregate, Load
from sim.measured.fields import Fields

_SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_IN_TABLES = {
    "request_latency", "time_to_first_token", "inter_token_latency", "input_sequence_length", "output_sequence_length",
    "request_throughput", "request_count", "benchmark_duration", "total_isl", "total_osl",
}  # fmt: skip
_CLOSED = ("concurrency",)
_OPEN = ("request_rate", "request-rate")


def matches(entry: Mapping[str, Any]) -> bool:
    """By metrics that carry unit and average."""
    latency = entry.get("request_latency")
    return isinstance(latency, Mapping) and {"unit", "avg"} <= latency.keys()


def read(source: str, entry: Mapping[str, Any]) -> Aggregate:
    """The run's means."""
    fields = Fields(source, entry)
    producer = "AIPerf" if "aiperf_version" in entry or "loadgen" in (entry.get("input_config") or {}) else "genai-perf"
    requests = fields.number("request_count.avg", "request_latency.count")
    tokens = {
        name: fields.number(f"{name}.avg") if fields.value(f"{name}.avg") is not None
        else fields.number(f"{total}.avg") / requests
        for name, total in (("input_sequence_length", "total_isl"), ("output_sequence_length", "total_osl"))
    }  # fmt: skip
    notes = ["the run was cancelled"] if entry.get("was_cancelled") is True else []
    if math.isnan(tokens["input_sequence_length"]):
        asked = fields.number("input_config.input.prompt.input_tokens.mean", "input_config.synthetic_input_tokens_mean")
        tokens["input_sequence_length"] = asked
        notes.append("input length as it was asked for")
    if math.isnan(tokens["input_sequence_length"]):
        raise TraceError(
            f"{source}: {producer} summary holds no input_sequence_length; profile_export.jsonl beside it has each request's"
        )
    throughput = fields.number("request_throughput.avg")
    if math.isnan(requests):
        requests = fields.required("benchmark_duration.avg") * throughput
    return Aggregate(
        source, producer, round(requests), _load(fields), tokens["input_sequence_length"], tokens["output_sequence_length"],
        ttft_s=_seconds(fields, "time_to_first_token"), tpot_s=_seconds(fields, "inter_token_latency"),
        e2e_s=_seconds(fields, "request_latency"), throughput_per_s=throughput, notes=tuple(notes),
    )  # fmt: skip


def is_table(names: Sequence[str]) -> bool:
    """Whether these head a table of metrics, as both tools write beside their JSON."""
    return list(names[:2]) == ["Metric", "avg"]


def from_table(rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The table of metrics, and that of single values after it, as the JSON has them."""
    found: dict[str, Any] = {}
    if any(row[0].startswith("Effective Concurrency") for row in rows):
        found["aiperf_version"] = "unknown"
    for row in rows:
        name, _, unit = row[0].rstrip(")").partition(" (")
        key = name.strip().lower().replace(" ", "_")
        if key in _IN_TABLES and len(row) > 1 and row[1] != "":
            found[key] = {"unit": unit or "count", "avg": row[1].replace(",", "")}
    return found


def _seconds(fields: Fields, name: str) -> float:
    if fields.value(f"{name}.avg") is None:
        return math.nan
    unit = str(fields.value(f"{name}.unit"))
    if unit not in _SECONDS:
        raise TraceError(f"{fields.source}: {name}.unit is {unit!r}; legal are {', '.join(_SECONDS)}")
    return fields.number(f"{name}.avg", unit=_SECONDS[unit])


def _load(fields: Fields) -> Load:
    where = ("input_config.loadgen", "input_config.perf_analyzer.stimulus", "input_config")
    users = fields.rate(*(f"{place}.{name}" for place in where for name in _CLOSED))
    rate = fields.rate(*(f"{place}.{name}" for place in where for name in _OPEN))
    return Load(rate_per_s=rate) if rate is not None else Load(in_flight=users)
