"""Langfuse exports: observations from its API (pages, a trace with its observations), its interface (JSON), or a table.

Only generations are calls of a model. Tokens: ``usageDetails`` (every key with "input" adds up to the prompt, every key
with "output" to the answer: cached and reasoning tokens are split off there), ``inputUsage`` / ``outputUsage``,
``promptTokens`` / ``completionTokens``, or ``usage``. Usage in characters is refused. The trace's session becomes the
session, the model the feature, the environment the tenant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.workload.formats.calls import Call, max_tokens_of, one_each
from sim.workload.formats.csv_rows import csv_columns, csv_dicts
from sim.workload.formats.documents import mapping_of, paged
from sim.workload.formats.records import as_number, record_chunks
from sim.workload.formats.stamps import stamp_s
from sim.workload.formats.tables import with_resent_sessions
from sim.workload.rows import Chunk, Reading
from sim.workload.source import json_keys
from sim.workload.trace import Trace

_TOKENS = {"usageDetails", "promptTokens", "inputUsage", "usage"}


class LangfuseFormat:
    """Langfuse observations."""

    name = "langfuse"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By an observation's names."""
        for keys in (json_keys(head), set(csv_columns(head))):
            if {"traceId", "startTime", "type"} <= keys and keys & _TOKENS:
                return True
        return False

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The generations."""
        return record_chunks(
            one_each(self._calls(reading), reading), ("session_id", "feature", "tenant", "max_output_tokens")
        )

    def finish(self, trace: Trace) -> Trace:
        """Sessions cut where the history was not sent again, and turns numbered."""
        return with_resent_sessions(trace)

    def _calls(self, reading: Reading) -> Iterator[Call]:
        for row, entry in csv_dicts(reading) or paged(reading):
            observations = entry.get("observations")
            if isinstance(observations, list):  # a trace with what happened in it
                for observation in observations:
                    if isinstance(observation, dict):
                        yield _call(row, {"sessionId": entry.get("sessionId"), **observation}, reading)
            else:
                yield _call(row, entry, reading)


def _call(row: int, entry: dict[str, Any], reading: Reading) -> Call:
    call = Call(
        row, span=str(entry.get("id") or ""), parent=str(entry.get("parentObservationId") or ""),
        trace=str(entry.get("traceId") or ""), start_s=stamp_s(entry.get("startTime")), end_s=stamp_s(entry.get("endTime")),
    )  # fmt: skip
    if str(entry.get("type", "")).upper() != "GENERATION":
        return call
    usage = mapping_of(entry.get("usage"))
    if str(usage.get("unit", "TOKENS")).upper() not in ("TOKENS", "NONE"):
        call.input_tokens, call.cause = 0, f"usage in {str(usage['unit']).lower()}, not tokens"
        return call
    call.input_tokens = _tokens(entry, usage, "input", "inputUsage", "promptTokens")
    call.output_tokens = _tokens(entry, usage, "output", "outputUsage", "completionTokens")
    if call.input_tokens is None:
        call.input_tokens, call.cause = 0, "generation without usage"
    call.labels = {
        "session_id": entry.get("sessionId") or "", "feature": entry.get("model") or "",
        "tenant": entry.get("environment") or "",
    }  # fmt: skip
    most = max_tokens_of(entry.get("modelParameters"))
    if most is not None:
        call.labels["max_output_tokens"] = most
    call.failed = str(entry.get("level", "")).upper() == "ERROR" or not as_number(call.output_tokens)
    return call


def _tokens(entry: dict[str, Any], usage: dict[str, Any], side: str, *names: str) -> Any:
    details = {
        name: as_number(value) for name, value in mapping_of(entry.get("usageDetails")).items() if side in name.lower()
    }  # fmt: skip
    if details:
        return sum(value for value in details.values() if not math.isnan(value))
    values = (*(entry.get(name) for name in names), usage.get(side))
    return next((value for value in values if value not in (None, "")), None)
