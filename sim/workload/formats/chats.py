"""Conversations as text: ShareGPT, LMSYS-Chat-1M, WildChat (JSON lines, a list, or Parquet).

Every answer of the model is a request: its prompt is all that was said before, its answer the message. Tokens are counted
by ``workload.tokenizer`` or from characters (``sim.workload.text_tokens``); a chat template's own tokens (about four a
message) are not added. WildChat has times; where a file has none, conversations begin as a Poisson process of
``workload.session_rate_per_s``, and a user answers ``THINK_S`` after an answer that takes 20 ms a token.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

from sim.rng import stream
from sim.workload.formats.batches import parquet_names
from sim.workload.formats.documents import json_values
from sim.workload.formats.records import Record, record_chunks
from sim.workload.formats.stamps import stamp_s
from sim.workload.formats.turns import ANSWER_S_PER_TOKEN
from sim.workload.rows import Chunk, Reading
from sim.workload.source import PARQUET_MAGIC, json_keys
from sim.workload.text_tokens import counter

THINK_S = 30.0
"""Between an answer and the user's next message, where a file has no times."""
_MODEL = {"assistant", "gpt", "chatgpt", "bing", "bard", "model"}
_AT_ONCE = 512


class ChatsFormat:
    """Conversations with their texts."""

    name = "chats"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By a list of messages."""
        if head.startswith(PARQUET_MAGIC):
            return bool({"conversation", "conversations"} & set(parquet_names(path)))
        keys = json_keys(head)
        return {"conversations", "from", "value"} <= keys or {"conversation", "role", "content"} <= keys

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The answers of all conversations."""
        if reading.tokenizer is None:
            reading.notes.append(
                f"tokens from texts at {reading.characters_per_token:g} characters a token (workload.characters_per_token, "
                "workload.tokenizer)"
            )
        return record_chunks(self._records(reading), ("session_id", "turn", "feature"))

    def _records(self, reading: Reading) -> Iterator[Record]:
        count = counter(reading.tokenizer, reading.characters_per_token)
        rng = stream(reading.seed, "workload", "sessions")
        start_s, said = 0.0, False
        has_times: bool | None = None
        for row, entry in _conversations(reading):
            messages = entry.get("conversation", entry.get("conversations"))
            if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
                found = repr(messages)[:60]
                reading.refuse(row, f"conversation is {found}; legal is a list of messages", "no list of messages")
                continue
            session = str(next((entry[name] for name in _NAMES if entry.get(name)), f"conversation {row}"))
            records = list(_turns(row, messages, count, session, str(entry.get("model") or "")))
            timeless = any(np.isnan(record.arrival_s) for record in records)
            has_times = has_times if has_times is not None or not records else not timeless
            if records and timeless == has_times:
                why = f"is no conversation {'with' if has_times else 'without'} times as those before it"
                reading.refuse(row, why, "times in some conversations only")
                continue
            if timeless:
                if not said:
                    reading.notes.append(
                        f"no times: conversations begin {reading.session_rate_per_s:g} a second "
                        f"(workload.session_rate_per_s), users answer after {THINK_S:g} s"
                    )
                    said = True
                at_s = start_s
                for record in records:
                    record.arrival_s = at_s
                    at_s += ANSWER_S_PER_TOKEN * record.output_tokens + THINK_S
                start_s += rng.exponential(1.0 / reading.session_rate_per_s)
            yield from records


_NAMES = ("conversation_hash", "conversation_id", "id")


def _conversations(reading: Reading) -> Iterator[tuple[int, dict[str, Any]]]:
    if reading.path.suffix != ".json" and _is_parquet(reading.path):
        reading.row_name = "row"
        row = 0
        names = [name for name in parquet_names(reading.path) if name in _COLUMNS]
        with pyarrow.parquet.ParquetFile(reading.path) as file:
            for batch in file.iter_batches(columns=names, batch_size=_AT_ONCE):
                for entry in batch.to_pylist():
                    row += 1
                    reading.last_row = row
                    yield row, entry
        return
    yield from json_values(reading)


_COLUMNS = {"conversation", "conversations", "model", *_NAMES}


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == PARQUET_MAGIC


def _turns(row: int, messages: list[dict[str, Any]], count: Any, session: str, model: str) -> Iterator[Record]:
    """A record for each answer, with the tokens of everything before it; time NaN where none is told."""
    before = turn = 0
    asked_s = np.nan
    for message in messages:
        text = message.get("content", message.get("value"))
        tokens = count(text) if isinstance(text, str) else 0
        role = str(message.get("role", message.get("from", ""))).lower()
        at_s = _moment_s(message.get("timestamp"))
        if role not in _MODEL:
            asked_s = asked_s if np.isnan(at_s) else at_s
        elif before and tokens:
            turn += 1
            arrival_s = at_s if np.isnan(asked_s) else asked_s
            labels = {"session_id": session, "turn": turn, "feature": model or message.get("model") or ""}
            yield Record(row, arrival_s, before, tokens, labels)
            asked_s = np.nan
        before += tokens


def _moment_s(value: Any) -> float:
    return stamp_s(value.isoformat() if hasattr(value, "isoformat") else value)
