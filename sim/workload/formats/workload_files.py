"""Workloads as other simulators, load generators and providers write them.

splitwise-sim: CSV ``request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size``, seconds;
only type 2 is text generation. AIBrix: JSON lines ``{"timestamp": ms, "requests": [{"prompt_length", "output_length",
"session_id", ...}]}``. Batch APIs (OpenAI's and who follows it): one request a line; with results (``response.body.usage``)
tokens are known, without them they are counted from the texts and ``max_tokens`` stands for the answer. A batch is there
all at once, at 0. Alibaba PAI's model service (cluster-trace-v2026-maas) publishes hourly means of applications, no
requests: it is named, not replayed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.errors import TraceError
from sim.workload.delimited import csv_header
from sim.workload.formats.batches import table_names
from sim.workload.formats.calls import max_tokens_of
from sim.workload.formats.records import Record, as_number, json_lines, record_chunks
from sim.workload.formats.tables import table_chunks
from sim.workload.rows import Chunk, Reading
from sim.workload.source import json_keys
from sim.workload.text_tokens import Count, counter


class SplitwiseSimFormat:
    """splitwise-sim's request traces."""

    name = "splitwise-sim"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By its column names."""
        return {"arrival_timestamp", "prompt_size", "token_size"} <= set(csv_header(head))

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The rows of the file."""
        names = {"arrival_s": "arrival_timestamp", "input_tokens": "prompt_size", "output_tokens": "token_size"}
        if "application_id" in table_names(reading.path):
            names["tenant"] = "application_id"
        yield from table_chunks(reading, names)


class AiBrixFormat:
    """AIBrix's workload files."""

    name = "aibrix"
    zero_based = True
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By its requests beneath a time."""
        return {"timestamp", "requests", "output_length"} <= json_keys(head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """All requests of all times."""
        return record_chunks(self._records(reading), ("session_id", "feature"))

    def _records(self, reading: Reading) -> Iterator[Record]:
        count = counter(reading.tokenizer, reading.characters_per_token)
        for line, entry in json_lines(reading):
            requests = entry.get("requests")
            if not isinstance(requests, list) or not all(isinstance(request, dict) for request in requests):
                reading.refuse(line, f"requests is {requests!r:.60}; legal is a list of objects", "no list of requests")
                continue
            for request in requests:
                prompt = request.get("prompt_length")
                if prompt is None and isinstance(request.get("prompt"), str):
                    prompt = count(request["prompt"])
                session = request.get("session_id")
                labels = {"session_id": "" if session is None else str(session), "feature": request.get("model") or ""}
                yield Record(line, as_number(entry.get("timestamp")) / 1e3, prompt, request.get("output_length"), labels)


class BatchApiFormat:
    """Input and output files of batch APIs."""

    name = "batch-api"
    zero_based = True
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By the request's own id and its body."""
        return {"custom_id", "body"} <= json_keys(head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """All requests, at 0."""
        reading.notes.append("a batch: all its requests are there at 0")
        return record_chunks(self._records(reading), ("feature", "max_output_tokens"))

    def _records(self, reading: Reading) -> Iterator[Record]:
        count = counter(reading.tokenizer, reading.characters_per_token)
        assumed = False
        for line, entry in json_lines(reading):
            response = entry.get("response")
            if isinstance(response, dict) or entry.get("error"):
                yield _answered(line, response if isinstance(response, dict) else {}, bool(entry.get("error")))
                continue
            body = entry.get("body")
            body = body if isinstance(body, dict) else {}
            if str(entry.get("url", "")).rsplit("/", 1)[-1] in ("embeddings", "moderations"):
                reading.dropped["call that generates no text"] += 1
                continue
            most = max_tokens_of(body)
            if most is None:
                reading.refuse(
                    line, "has no max_tokens, and nothing else says how long its answer is; legal is the batch's output "
                    "file, or max_tokens in every request", "no length of the answer",
                )  # fmt: skip
                continue
            if not assumed:
                assumed = True
                reading.notes.append(
                    "no answers in the file: max_tokens stands for them; prompts at "
                    f"{reading.characters_per_token:g} characters a token unless workload.tokenizer counts them"
                )
            labels = {"feature": str(body.get("model") or ""), "max_output_tokens": most}
            yield Record(line, 0.0, _prompt_tokens(body, count), most, labels)


def _answered(line: int, response: dict[str, Any], failed: bool) -> Record:
    body = response.get("body")
    body = body if isinstance(body, dict) else {}
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    status = as_number(response.get("status_code", 200))
    prompt, answer = (usage.get(f"{new}_tokens", usage.get(f"{old}_tokens"))
                      for new, old in (("prompt", "input"), ("completion", "output")))  # fmt: skip
    failed = failed or not 200 <= status < 300 or as_number(answer) == 0
    return Record(line, 0.0, prompt, answer, {"feature": str(body.get("model") or "")}, failed)


def _prompt_tokens(body: dict[str, Any], count: Count) -> int:
    """Tokens of all texts in the request's messages, input or prompt."""
    return sum(count(text) for name in ("messages", "input", "prompt", "instructions") for text in _texts(body.get(name)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        yield from _texts(value.get("content", value.get("text")))


class AlibabaMeansFormat:
    """Alibaba PAI's application metrics, which are no requests."""

    name = "alibaba-maas"
    zero_based = True
    ordered = True

    def matches(self, head: bytes, path: Path) -> bool:
        """By its column names."""
        return {"time_s", "app_id", "series_id", "metric", "value"} <= set(csv_header(head))

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """Never any.

        Raises:
            TraceError: always, with what the file can be used for.
        """
        raise TraceError(
            f"{reading.path}: holds hourly means of applications (Alibaba PAI, cluster-trace-v2026-maas), no requests, so "
            "there is nothing to replay; its qps_norm can stand in a workload.generator's profile (bin_s 3600) and its mean "
            "input_tokens and output_tokens in the generator's lengths"
        )
