"""LiteLLM's spend logs: rows of ``LiteLLM_SpendLogs`` as JSON lines, a list, pages of the API or CSV, and the payloads of
its logging callbacks.

What is no load of one's own GPUs is left out and counted: answers from LiteLLM's cache, calls that generate no text
(embeddings, tools, pass-through), and calls to external providers; the format ``litellm-all`` keeps the last, for those
who want to know what it would take to serve them. A provider is external by its name or, where an address is known, by
that: ``openai`` at an address of one's own is one's own server.

The call type becomes the route, the model group the feature, the team the tenant. Sessions are labels only for routing:
whether a turn re-sent its history is not recorded, so turns are cut as for BurstGPT. Failures are left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sim.workload.formats.cached import CachedTokens
from sim.workload.formats.calls import max_tokens_of
from sim.workload.formats.csv_rows import csv_columns, csv_dicts
from sim.workload.formats.documents import flattened, mapping_of, paged
from sim.workload.formats.records import Record, as_number, record_chunks
from sim.workload.formats.stamps import stamp_s
from sim.workload.formats.tables import with_resent_sessions
from sim.workload.rows import Chunk, Reading
from sim.workload.source import json_keys
from sim.workload.trace import Trace

_GENERATES = {
    "", "completion", "acompletion", "text_completion", "atext_completion", "responses", "aresponses", "anthropic_messages",
    "generate_content", "agenerate_content", "generate_content_stream", "agenerate_content_stream", "chat",
    "chat_completion",
}  # fmt: skip
_EXTERNAL = {
    "azure", "azure_ai", "azure_text", "anthropic", "bedrock", "bedrock_converse", "vertex_ai", "vertex_ai_beta", "gemini",
    "mistral", "codestral", "groq", "together_ai", "fireworks_ai", "deepseek", "deepinfra", "cohere", "cohere_chat",
    "perplexity", "openrouter", "xai", "ai21", "replicate", "cloudflare", "watsonx", "databricks", "sambanova", "cerebras",
    "nebius", "novita", "dashscope", "moonshot", "github", "github_copilot", "nvidia_nim", "friendliai", "voyage", "palm",
    "hyperbolic", "volcengine", "sagemaker", "sagemaker_chat", "predibase", "clarifai", "nlp_cloud", "aleph_alpha",
}  # fmt: skip
"""Providers that serve on their own GPUs."""
_PUBLIC_HOSTS = (
    "openai.com", "azure.com", "anthropic.com", "amazonaws.com", "googleapis.com", "mistral.ai", "groq.com", "together.xyz",
    "together.ai", "fireworks.ai", "deepseek.com", "deepinfra.com", "cohere.ai", "cohere.com", "perplexity.ai",
    "openrouter.ai", "x.ai", "nvidia.com", "huggingface.co", "cerebras.ai", "aliyuncs.com", "moonshot.cn",
    "githubcopilot.com",
)  # fmt: skip
_CACHED = (
    "usage_object.prompt_tokens_details.cached_tokens", "additional_usage_values.cache_read_input_tokens",
    "usage_object.cache_read_input_tokens", "additional_usage_values.prompt_tokens_details.cached_tokens",
)  # fmt: skip
_FIELDS = {"startTime", "prompt_tokens", "completion_tokens"}


class LiteLlmFormat:
    """LiteLLM's spend logs."""

    name = "litellm"
    zero_based = False
    ordered = False
    keeps_external = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By the table's names."""
        return json_keys(head) >= _FIELDS or set(csv_columns(head)) >= _FIELDS

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The requests of the log."""
        return record_chunks(self._records(reading), ("route", "feature", "tenant", "session_id", "max_output_tokens"))

    def finish(self, trace: Trace) -> Trace:
        """Sessions cut where the history was not sent again, and turns numbered."""
        return with_resent_sessions(trace)

    def _records(self, reading: Reading) -> Iterator[Record]:
        cached = CachedTokens()
        rows: set[tuple[Any, ...]] = reading.across.setdefault("litellm", set())
        for row, entry in csv_dicts(reading) or paged(reading):
            held = next((entry[name] for name in _PAYLOADS if isinstance(entry.get(name), dict)), entry)
            cause = _no_load(held, self.keeps_external)
            name = _name(held)
            if name in rows:
                cause = "row that is there already"
            if name:
                rows.add(name)
            if cause:
                reading.dropped[cause] += 1
                continue
            yield _record(row, held, cached)
        cached.tell(reading)


_PAYLOADS = ("standard_logging_object", "standard_logging_payload", "payload")


class LiteLlmWithApisFormat(LiteLlmFormat):
    """LiteLLM's spend logs, calls to external providers included."""

    name = "litellm-all"
    keeps_external = True

    def matches(self, head: bytes, path: Path) -> bool:
        """Never by itself: it has to be asked for."""
        return False


def _no_load(entry: dict[str, Any], keeps_external: bool) -> str:
    """Why a row is no load of one's own GPUs; empty when it is one."""
    if str(entry.get("cache_hit", "")).strip().lower() == "true":
        return "answered from LiteLLM's cache"
    if str(entry.get("call_type") or "").lower() not in _GENERATES:
        return "call that generates no text"
    if not keeps_external and _is_external(entry):
        return "call to an external provider (workload.format=litellm-all keeps them)"
    return ""


def _name(entry: dict[str, Any]) -> tuple[Any, ...]:
    """What only copies of one row share; empty where it has no id."""
    id_ = entry.get("request_id") or entry.get("id")
    if not id_:
        return ()
    tokens = (as_number(entry.get("prompt_tokens")), as_number(entry.get("completion_tokens")))
    return (str(id_), str(entry.get("call_type") or ""), stamp_s(entry.get("startTime")), *tokens)


def _is_external(entry: dict[str, Any]) -> bool:
    provider = str(entry.get("custom_llm_provider") or "").strip().lower()
    address = str(entry.get("api_base") or "").strip()
    try:
        host = (urlsplit(address if "//" in address else f"//{address}").hostname or "").lower()
    except ValueError:
        host = ""
    if host:
        return any(host == public or host.endswith(f".{public}") for public in _PUBLIC_HOSTS) or provider in _EXTERNAL
    return provider in _EXTERNAL or provider == "openai"


def _record(row: int, entry: dict[str, Any], cached: CachedTokens) -> Record:
    metadata = mapping_of(entry.get("metadata"))
    labels: dict[str, Any] = {
        "route": entry.get("call_type") or "", "feature": entry.get("model_group") or entry.get("model") or "",
        "tenant": entry.get("team_id") or metadata.get("user_api_key_team_id") or "",
        "session_id": entry.get("session_id") or metadata.get("session_id") or "",
    }  # fmt: skip
    most = next(
        (
            found
            for name in ("proxy_server_request", "model_parameters", "optional_params")
            if (found := max_tokens_of(entry.get(name))) is not None
        ),
        None,
    )
    if most is not None:
        labels["max_output_tokens"] = most
    answer = entry.get("completion_tokens")
    status = {str(entry.get("status") or "success").lower(), str(metadata.get("status") or "success").lower()}
    failed = status != {"success"} or as_number(answer) == 0
    usage = flattened(metadata)
    prompt = cached.prompt(entry.get("prompt_tokens"), next((usage[name] for name in _CACHED if usage.get(name)), None))
    return Record(row, stamp_s(entry.get("startTime")), prompt, answer, labels, failed)
