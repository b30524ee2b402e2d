"""Request logs of hosted gateways, as JSON or CSV: Helicone and OpenRouter.

Helicone: ``request_created_at`` (or ``created_at``), ``prompt_tokens``, ``completion_tokens``; the session from its
``Helicone-Session-Id`` property, the user as the tenant; answers from its cache are no load. OpenRouter: generation
records or the activity table, ``native_tokens_*`` (the model's own tokenizer) before ``tokens_*``; cancelled ones are left
out. Both log calls to many providers: all are kept, with the model as the feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.workload.formats.calls import max_tokens_of
from sim.workload.formats.csv_rows import csv_columns, csv_dicts
from sim.workload.formats.documents import flattened, mapping_of, paged
from sim.workload.formats.records import Record, as_number, record_chunks
from sim.workload.formats.stamps import stamp_s
from sim.workload.formats.tables import with_resent_sessions
from sim.workload.rows import Chunk, Reading
from sim.workload.source import json_keys
from sim.workload.trace import Trace

_LABELS = ("feature", "tenant", "session_id", "max_output_tokens")


class HeliconeFormat:
    """Helicone's request export."""

    name = "helicone"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By its names for the request."""
        keys = json_keys(head) | set(csv_columns(head))
        return {"request_created_at", "prompt_tokens", "completion_tokens"} <= keys or (
            {"created_at", "prompt_tokens", "completion_tokens"} <= keys and b"elicone" in head
        )

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The requests that a provider answered."""
        return record_chunks(self._records(reading), _LABELS)

    def finish(self, trace: Trace) -> Trace:
        """Sessions cut where the history was not sent again, and turns numbered."""
        return with_resent_sessions(trace)

    def _records(self, reading: Reading) -> Iterator[Record]:
        for row, entry in csv_dicts(reading) or paged(reading):
            cached = entry.get("cache_reference_id", entry.get("cacheReferenceId"))
            if _true(entry.get("cache_hit")) or _is_reference(cached):
                reading.dropped["answered from Helicone's cache"] += 1
                continue
            properties = mapping_of(entry.get("properties", entry.get("request_properties")))
            labels: dict[str, Any] = {
                "feature": entry.get("model") or entry.get("request_model") or entry.get("response_model") or "",
                "tenant": entry.get("user_id") or entry.get("request_user_id") or "",
                "session_id": properties.get("Helicone-Session-Id") or entry.get("Helicone-Session-Id") or "",
            }  # fmt: skip
            most = max_tokens_of(entry.get("request_body"))
            if most is not None:
                labels["max_output_tokens"] = most
            status = as_number(entry.get("status") or entry.get("response_status") or 200)
            answer = entry.get("completion_tokens")
            failed = not 200 <= status < 300 or as_number(answer) == 0
            at = entry.get("request_created_at") or entry.get("created_at")
            yield Record(row, stamp_s(at), entry.get("prompt_tokens"), answer, labels, failed)


def _true(value: Any) -> bool:
    return str(value).strip().lower() == "true"


def _is_reference(value: Any) -> bool:
    """Whether a cache reference names an answer (the default is an id of zeros)."""
    return bool(str(value or "").strip("0-"))


class OpenRouterFormat:
    """OpenRouter's generation records and activity table."""

    name = "openrouter"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By its token counts."""
        keys = json_keys(head) | set(csv_columns(head))
        return {"created_at", "tokens_prompt", "tokens_completion"} <= keys or {
            "created_at", "native_tokens_prompt", "native_tokens_completion",
        } <= keys  # fmt: skip

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The generations that were not cancelled."""
        return record_chunks(self._records(reading), _LABELS)

    def finish(self, trace: Trace) -> Trace:
        """Sessions cut where the history was not sent again, and turns numbered."""
        return with_resent_sessions(trace)

    def _records(self, reading: Reading) -> Iterator[Record]:
        for row, found in csv_dicts(reading) or paged(reading):
            entry = found["data"] if isinstance(found.get("data"), dict) else found
            if _true(entry.get("cancelled")):
                reading.dropped["cancelled generation"] += 1
                continue
            flat = flattened(entry)
            labels = {
                "feature": flat.get("model") or flat.get("model_permaslug") or "",
                "tenant": flat.get("external_user") or flat.get("user") or flat.get("app_name") or flat.get("app_id") or "",
                "session_id": flat.get("session_id") or "",
            }  # fmt: skip
            prompt, answer = (_tokens(flat, side) for side in ("prompt", "completion"))
            yield Record(row, stamp_s(flat.get("created_at")), prompt, answer, labels, as_number(answer) == 0)


def _tokens(entry: dict[str, Any], side: str) -> Any:
    """The model's own count; OpenRouter's where that is missing or nothing."""
    native = entry.get(f"native_tokens_{side}")
    return native if as_number(native) > 0 else entry.get(f"tokens_{side}", native)
