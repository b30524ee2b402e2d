"""OpenTelemetry spans of calls to language models, in the dialects that tools write.

Attributes: the GenAI semantic conventions (old and new names), OpenInference (``llm.token_count.*``), OpenLLMetry
(``llm.usage.*``), Vercel's AI SDK (``ai.usage.*``). Documents: OTLP (``resourceSpans``, lines or one pretty document or
a list), spans by themselves, ``{"spans": [...]}``, Jaeger's export, console exporters. Times: Unix ns, ISO 8601,
``[seconds, nanoseconds]``.

A span counts when it has prompt tokens and an operation that generates text; embeddings, tools, agents are passed
over, and every call counts once (``sim.workload.formats.calls``). The conversation becomes the session, the request's
model the feature, ``service.name`` of the resource the tenant. Spans come as they ended: they are sorted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.workload.formats.cached import CachedTokens
from sim.workload.formats.calls import Call, max_tokens_of, one_each
from sim.workload.formats.documents import flattened, json_values
from sim.workload.formats.records import as_number, record_chunks
from sim.workload.formats.stamps import stamp_s
from sim.workload.formats.tables import with_resent_sessions
from sim.workload.rows import Chunk, Reading
from sim.workload.source import json_keys
from sim.workload.trace import Trace

_GENERATES = (
    "", "chat", "text_completion", "completion", "generate_content", "generate_text", "responses", "create_message",
)  # fmt: skip
_NOT_A_CALL = ("embedding", "rerank", "tool", "retriever", "chain", "agent", "guardrail", "evaluator", "workflow", "task")
_INPUT = (
    "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "llm.usage.prompt_tokens",
    "llm.usage.input_tokens", "ai.usage.inputTokens", "ai.usage.promptTokens",
)  # fmt: skip
_OUTPUT = (
    "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion",
    "llm.usage.completion_tokens", "llm.usage.output_tokens", "ai.usage.outputTokens", "ai.usage.completionTokens",
)  # fmt: skip
_CACHED = (
    "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cache_read_tokens",
    "llm.token_count.prompt_details.cache_read", "llm.usage.cache_read_input_tokens", "ai.usage.cachedInputTokens",
)  # fmt: skip
_SESSION = (
    "gen_ai.conversation.id", "session.id", "langfuse.session.id", "ai.telemetry.metadata.sessionId",
    "traceloop.association.properties.session_id", "gen_ai.session.id",
)  # fmt: skip
_MODEL = ("gen_ai.request.model", "llm.model_name", "ai.model.id", "gen_ai.response.model", "llm.request.model")
_MOST_TOKENS = (
    "gen_ai.request.max_tokens", "ai.settings.maxOutputTokens", "ai.settings.maxTokens", "llm.request.max_tokens",
)  # fmt: skip
_RESPONSE = ("gen_ai.response.id", "ai.response.id", "llm.response.id", "gen_ai.request.id")
"""The last is how vLLM's own spans name the response (vllm/tracing, ``GEN_AI_REQUEST_ID``)."""

_READ = frozenset((*_INPUT, *_OUTPUT, *_CACHED, *_SESSION, *_MODEL, *_MOST_TOKENS, *_RESPONSE, "gen_ai.operation.name"))


class OpenTelemetryFormat:
    """OpenTelemetry spans of clients, frameworks or servers."""

    name = "otel"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """OTLP's resource spans, or attributes of a dialect."""
        keys = json_keys(head)
        marks = (b"gen_ai.", b"llm.token_count", b"llm.usage.", b"ai.usage.")
        nested = {"llm", "token_count", "attributes"} <= keys
        return bool(keys & {"resourceSpans", "resource_spans"}) or (
            bool(keys) and (nested or any(mark in head for mark in marks))
        )

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The calls that generated text."""
        return record_chunks(
            one_each(self._calls(reading), reading), ("session_id", "feature", "tenant", "max_output_tokens")
        )

    def finish(self, trace: Trace) -> Trace:
        """Sessions cut where the history was not sent again, and turns numbered."""
        return with_resent_sessions(trace)

    def _calls(self, reading: Reading) -> Iterator[Call]:
        cached = CachedTokens()
        for place, entry in json_values(reading):
            for span, tenant in _spans(entry, ""):
                twice = _twice(span.get("attributes") or span.get("tags"))
                if twice:
                    why = f"a span has the attribute {twice!r} twice, with different values; legal is once"
                    reading.refuse(place, why, "span with an attribute twice")
                    continue
                yield _call(place, span, tenant, cached)
        cached.tell(reading)


def _spans(entry: Any, tenant: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The spans in an entry, however they are wrapped, with the service they came from."""
    if isinstance(entry, list):
        for item in entry:
            yield from _spans(item, tenant)
        return
    if not isinstance(entry, dict):
        return
    tenant = _service(entry) or tenant
    wrapped = False
    for name in (
        "resourceSpans", "resource_spans", "scopeSpans", "scope_spans", "instrumentationLibrarySpans", "spans", "data",
    ):  # fmt: skip
        held = entry.get(name)
        if isinstance(held, list):
            wrapped = True
            yield from _spans(held, tenant)
        elif held is not None and name != "data":
            raise TypeError(f"{name} is {held!r:.60}; legal is a list")
    if not wrapped:
        yield entry, tenant


def _service(entry: dict[str, Any]) -> str:
    resource = entry.get("resource")
    found = _attributes(resource.get("attributes")) if isinstance(resource, dict) else {}
    for name in ("resource_attributes", "resourceAttributes"):
        found = found or _attributes(entry.get(name))
    return str(found.get("service.name", ""))


def _attributes(found: Any) -> dict[str, Any]:
    """Attributes as a flat mapping, from a nested one, OTLP's list of typed values or Jaeger's tags."""
    if isinstance(found, dict):
        return flattened(found)
    values: dict[str, Any] = {}
    for item in found if isinstance(found, list) else []:
        if isinstance(item, dict) and isinstance(item.get("key"), str):
            typed = item.get("value")
            values[item["key"]] = next(iter(typed.values()), None) if isinstance(typed, dict) else typed
    return values


def _twice(found: Any) -> str:
    """The first attribute read here that a list of them has with two values; empty where none is."""
    values: dict[str, Any] = {}
    for item in found if isinstance(found, list) else []:
        name, value = (item.get("key"), item.get("value")) if isinstance(item, dict) else ("", None)
        if isinstance(name, str) and name in _READ and values.setdefault(name, value) != value:
            return name
    return ""


def _first(attributes: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((attributes[name] for name in names if attributes.get(name) not in (None, "")), None)


def _call(place: int, span: dict[str, Any], tenant: str, cached: CachedTokens) -> Call:
    attributes = _attributes(span.get("attributes") or span.get("tags"))
    attributes |= {name.removeprefix("attributes."): value for name, value in span.items() if name.startswith("attributes.")}
    ids: dict[str, Any] = dict(span)
    for name in ("context", "spanContext", "span_context"):
        if isinstance(span.get(name), dict):
            ids = {**span[name], **ids}
    call = Call(
        place, span=_id(ids, "spanId", "span_id", "spanID", "context.span_id"),
        parent=_id(ids, "parentSpanId", "parent_span_id", "parent_id", "parentSpanContext") or _jaeger_parent(span),
        trace=_id(ids, "traceId", "trace_id", "traceID", "context.trace_id"),
        start_s=_moment(span, "startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime"),
        end_s=_moment(span, "endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime"),
    )  # fmt: skip
    call.labels = {
        "session_id": _first(attributes, _SESSION) or "", "feature": _first(attributes, _MODEL) or "", "tenant": tenant,
    }  # fmt: skip
    tokens = _first(attributes, _INPUT)
    if tokens is None and any(attributes.get(name) == "" for name in _INPUT):
        tokens = ""  # a call whose count is lost is refused, not passed over
    if tokens is None or not _generates(span, attributes):
        return call
    answer = _first(attributes, _OUTPUT)
    call.input_tokens, call.output_tokens = cached.prompt(tokens, _first(attributes, _CACHED)), answer or 0
    most = _first(attributes, _MOST_TOKENS) or max_tokens_of(attributes.get("llm.invocation_parameters"))
    if 1 <= as_number(most) < 1e9:
        call.labels["max_output_tokens"] = int(as_number(most))
    call.response = str(_first(attributes, _RESPONSE) or "")
    call.failed = "error.type" in attributes or _is_error(span) or not as_number(call.output_tokens)
    return call


def _generates(span: dict[str, Any], attributes: dict[str, Any]) -> bool:
    """Whether a span with tokens is one call that wrote text."""
    if str(attributes.get("gen_ai.operation.name", "")) not in _GENERATES:
        return False
    kind = str(_first(attributes, ("openinference.span.kind", "llm.request.type", "traceloop.span.kind")) or "").lower()
    name = str(attributes.get("ai.operationId") or span.get("name") or "").lower()
    return not any(word in kind for word in _NOT_A_CALL) and ".embed" not in name


def _is_error(span: dict[str, Any]) -> bool:
    status = span.get("status")
    code = status.get("code", status.get("status_code")) if isinstance(status, dict) else span.get("status_code", status)
    return str(code) in ("2", "ERROR", "STATUS_CODE_ERROR", "Error", "error")


def _id(ids: dict[str, Any], *names: str) -> str:
    value = next((ids[name] for name in names if ids.get(name)), "")
    if isinstance(value, dict):
        value = value.get("spanId", "")
    return str(value)


def _jaeger_parent(span: dict[str, Any]) -> str:
    references = span.get("references")
    first = references[0] if isinstance(references, list) and references else {}
    return str(first.get("spanID", "")) if isinstance(first, dict) else ""


def _moment(span: dict[str, Any], *names: str) -> float:
    return stamp_s(next((span[name] for name in names if span.get(name) is not None), None))
