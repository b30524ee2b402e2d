"""A gateway's own logs: OpenTelemetry GenAI spans and LiteLLM spend logs.

OpenTelemetry (GenAI semantic conventions): JSON lines of OTLP (``resourceSpans``), of spans by themselves, or as a
console exporter prints them. A span counts when it has ``gen_ai.usage.input_tokens`` (older: ``prompt_tokens``) and
an operation that generates text; other spans, embeddings among them, are passed over. ``gen_ai.conversation.id``
becomes the session, the request's model the feature, ``service.name`` of the resource the tenant. Spans come as they
ended: they are sorted.

LiteLLM: objects of ``LiteLLM_SpendLogs``, JSON lines or a list. The call type becomes the route, the model group the
feature, the team the tenant. Sessions are labels only for routing: whether a turn re-sent its history is not
recorded, so turns are cut as for BurstGPT. Failures are left out and counted.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sim.workload.formats.records import Record, as_number, json_lines, record_chunks
from sim.workload.formats.tables import with_resent_sessions
from sim.workload.rows import Chunk, Reading
from sim.workload.source import json_keys
from sim.workload.trace import Trace

_EPOCH_S = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC).timestamp()
"""Stamps are counted from here: float64 keeps microseconds apart for decades around it."""
_GENERATES = ("", "chat", "text_completion", "completion", "generate_content", "invoke_agent_model")


class OpenTelemetryFormat:
    """OpenTelemetry spans of GenAI clients or servers."""

    name = "otel"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """OTLP's resource spans, or span attributes of GenAI."""
        return "resourceSpans" in json_keys(head) or (bool(json_keys(head)) and b"gen_ai." in head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The spans that generated text."""
        return record_chunks(self._records(reading), ("session_id", "feature", "tenant"))

    def finish(self, trace: Trace) -> Trace:
        """Sessions cut where the history was not sent again, and turns numbered."""
        return with_resent_sessions(trace)

    def _records(self, reading: Reading) -> Iterator[Record]:
        for line, entry in json_lines(reading):
            for span, tenant in _spans(entry):
                attributes = _attributes(span.get("attributes"))
                tokens = attributes.get("gen_ai.usage.input_tokens", attributes.get("gen_ai.usage.prompt_tokens"))
                if tokens is None or str(attributes.get("gen_ai.operation.name", "")) not in _GENERATES:
                    continue
                answer = attributes.get(
                    "gen_ai.usage.output_tokens", attributes.get("gen_ai.usage.completion_tokens", 0)
                )
                labels = {
                    "session_id": attributes.get("gen_ai.conversation.id", ""),
                    "feature": attributes.get("gen_ai.request.model", ""), "tenant": tenant,
                }  # fmt: skip
                failed = "error.type" in attributes or not as_number(answer)
                yield Record(line, _span_start_s(span), tokens, answer, labels, failed)


def _spans(entry: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The spans of one line, with the service they came from."""
    if "resourceSpans" not in entry:
        yield entry, str(_attributes((entry.get("resource") or {}).get("attributes")).get("service.name", ""))
        return
    for resource in entry["resourceSpans"]:
        tenant = str(_attributes((resource.get("resource") or {}).get("attributes")).get("service.name", ""))
        for scope in resource.get("scopeSpans") or []:
            for span in scope.get("spans") or []:
                yield span, tenant


def _attributes(found: Any) -> dict[str, Any]:
    """Attributes as a mapping, from a mapping or from OTLP's list of typed values."""
    if isinstance(found, dict):
        return found
    values = {}
    for item in found or []:
        typed = item.get("value") or {}
        values[item.get("key")] = next(iter(typed.values()), None) if isinstance(typed, dict) else typed
    return values


def _span_start_s(span: dict[str, Any]) -> float:
    nanoseconds = span.get("startTimeUnixNano", span.get("start_time_unix_nano"))
    if nanoseconds is not None:
        try:
            return (int(nanoseconds) - int(_EPOCH_S) * 1_000_000_000) / 1e9
        except ValueError:
            return np.nan
    return stamp_s(span.get("start_time", span.get("startTime")))


def stamp_s(value: Any) -> float:
    """Seconds since 2020 of an ISO 8601 stamp (no offset: UTC) or of Unix seconds; NaN when it is neither."""
    if isinstance(value, int | float):
        return float(value) - _EPOCH_S
    try:
        moment = datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return np.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp() - _EPOCH_S


class LiteLlmFormat:
    """LiteLLM's spend logs as JSON."""

    name = "litellm"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By the table's names."""
        return {"startTime", "prompt_tokens", "completion_tokens"} <= json_keys(head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The requests of the log."""
        return record_chunks(self._records(reading), ("route", "feature", "tenant", "session_id"))

    def finish(self, trace: Trace) -> Trace:
        """Sessions cut where the history was not sent again, and turns numbered."""
        return with_resent_sessions(trace)

    def _records(self, reading: Reading) -> Iterator[Record]:
        for line, entry in json_lines(reading):
            labels = {
                label: entry.get(key) or ""
                for label, key in (
                    ("route", "call_type"), ("feature", "model_group"), ("tenant", "team_id"),
                    ("session_id", "session_id"),
                )
            }  # fmt: skip
            answer = entry.get("completion_tokens")
            failed = entry.get("status", "success") not in ("success", None) or as_number(answer) == 0
            yield Record(line, stamp_s(entry.get("startTime")), entry.get("prompt_tokens"), answer, labels, failed)
