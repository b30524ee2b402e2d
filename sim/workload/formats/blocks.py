"""Traces whose prompts are lists of block hashes: Mooncake, Qwen-Bailian, RAGPulse.

Mooncake (Apache-2.0): JSON lines, ``timestamp`` in ms, one global namespace of prefix-chained ids, 512 tokens each
(others write the same format with 64 or 16: the lengths tell); the last id may cover a partial block. Conversation and
tool-agent stamps tick every 3 s (``workload.dequantise_s``).

Qwen-Bailian (Apache-2.0): seconds, 16-token blocks, ``parent_chat_id`` -1 at a conversation's root.

RAGPulse (MIT): ``timestamp`` is text, seconds; ``hash_ids`` names the *segments* of a prompt (system prompt, passages,
history, web search, user input), whose lengths stand in files 1 to 5 beside the trace. Passages come back in another
order, which no prefix cache can use, so segments become chained 16-token blocks: two prompts share a block if all
segments up to its end are the same. Tokens that no segment accounts for (about ten a prompt) are unique at the end.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import TraceError
from sim.workload.formats.records import Record, as_number, json_lines, parsed_json, record_chunks
from sim.workload.rows import Chunk, Reading
from sim.workload.source import json_keys, text_lines


class MooncakeFormat:
    """Mooncake traces of Kimi."""

    name = "mooncake"
    zero_based = True
    ordered = True

    def matches(self, head: bytes, path: Path) -> bool:
        """Block ids as a list, without conversation ids."""
        keys = json_keys(head)
        return {"timestamp", "input_length", "output_length"} <= keys and not keys & {"chat_id", "sys_prompt"}

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The rows of the file."""
        _say_seconds(reading)
        return record_chunks(self._records(reading, block_tokens_of(reading)), ("block_hashes",))

    def _records(self, reading: Reading, block_tokens: int) -> Iterator[Record]:
        for line, entry in json_lines(reading):
            hashes = hash_list(reading, line, entry, block_tokens)
            if hashes is not None:
                yield Record(
                    line, as_number(entry.get("timestamp")) / 1000.0, entry.get("input_length"),
                    entry.get("output_length"), {"block_hashes": hashes},
                )  # fmt: skip


def _say_seconds(reading: Reading) -> None:
    """Fractions of a ms between requests of which more than a thousand come each second are seconds, most likely."""
    trial = dataclasses.replace(reading, lenient=True, unusable=Counter(), notes=[])
    rows = itertools.islice(json_lines(trial), _LOOKED_AT)
    stamps = np.array([as_number(entry.get("timestamp")) for _, entry in rows])
    stamps = stamps[np.isfinite(stamps)]
    span_ms = float(np.ptp(stamps)) if len(stamps) else 0.0
    if 0.0 < span_ms < len(stamps) - 1 and (stamps != np.floor(stamps)).any():
        reading.notes.append(
            f"timestamp counts ms, as Mooncake's does: the first {len(stamps):,} requests arrive within {span_ms:.6g} ms; "
            "if it counts seconds, read the file with workload.columns (--columns) arrival_s=timestamp,"
            "input_tokens=input_length,output_tokens=output_length,block_hashes=hash_ids"
        )


_LOOKED_AT = 2000
_USUAL_BLOCKS = (512, 16, 32, 64, 128, 256, 1024)
_SURE = 0.95
"""Share of the prompts that another size than Mooncake's own must fit: one near the true one fits many."""


def block_tokens_of(reading: Reading) -> int:
    """The block size that the user says, else that of the file, which the reading then has."""
    if reading.block_tokens is None:
        reading.block_tokens = _block_tokens(reading)
    return reading.block_tokens


def _block_tokens(reading: Reading) -> int:
    """The block size of a Mooncake file: the one with which its first prompts have as many blocks as they list.

    A block size b fits a prompt of n tokens and L ids when ceil(n / b) = L, or, where partial blocks have no id,
    floor(n / b) = L. Of several that fit, a usual one is taken, Mooncake's own 512 first; any other is said.

    Raises:
        TraceError: none fits nearly all prompts (Mooncake's own: most).
    """
    trial = dataclasses.replace(reading, lenient=True, unusable=Counter(), notes=[])  # wrong rows are for the real reading
    pairs = []
    for _, entry in itertools.islice(json_lines(trial), _LOOKED_AT):
        hashes, tokens = entry.get("hash_ids"), as_number(entry.get("input_length"))
        if isinstance(hashes, list) and hashes and tokens >= 1:
            pairs.append((len(hashes), tokens))
    if not pairs:
        return _USUAL_BLOCKS[0]
    ids, tokens = np.array(pairs).T
    for fits in (_whole_and_partial, _whole_only):
        shares = {size: float(fits(ids, tokens, size).mean()) for size in (*_USUAL_BLOCKS, *_bounds(ids, tokens))}
        found = max(shares, key=lambda size: shares[size])  # of equals the first
        enough = 0.5 if found == _USUAL_BLOCKS[0] else _SURE
        if shares[found] > enough:  # the rows that it does not fit are refused one by one
            if found != _USUAL_BLOCKS[0]:
                reading.notes.append(f"blocks of {found} tokens, by the prompts' lengths and numbers of hash_ids")
            return found
    raise TraceError(
        f"{reading.path}: its prompts' lengths and numbers of hash_ids do not tell the block size (the first has "
        f"{int(tokens[0])} tokens in {int(ids[0])} ids); say workload.block_tokens (--block-tokens)"
    )


def _whole_and_partial(ids: np.ndarray, tokens: np.ndarray, size: int) -> np.ndarray:
    """Mask of the prompts whose ids cover every token, the last perhaps in part."""
    fits: np.ndarray = np.ceil(tokens / size) == ids
    return fits


def _whole_only(ids: np.ndarray, tokens: np.ndarray, size: int) -> np.ndarray:
    """Mask of the prompts that have ids for full blocks alone."""
    fits: np.ndarray = np.floor(tokens / size) == ids
    return fits


def _bounds(ids: np.ndarray, tokens: np.ndarray) -> tuple[int, ...]:
    """The smallest size with which all ids cover their tokens, where it is the only one that fits each prompt."""
    smallest = int(np.ceil(tokens / ids).max())
    only = (tokens > (ids - 1) * smallest).all() and (tokens <= (ids - 1) * (smallest + 1)).any()
    return (smallest,) if only else ()


def hash_list(reading: Reading, line: int, entry: dict[str, Any], block_tokens: int) -> tuple[int, ...] | None:
    """The row's block ids; None when they cannot be used."""
    hashes = entry.get("hash_ids", [])
    if not isinstance(hashes, list) or not all(type(block) is int for block in hashes):
        found = repr(hashes)[:60]
        reading.refuse(line, f"hash_ids is {found}; legal is a list of integers", "hash_ids no list of integers")
        return None
    tokens = as_number(entry.get("input_length"))
    blocks = -(-int(tokens) // block_tokens) if 0 < tokens < math.inf else len(hashes)  # tokens are judged later
    if len(hashes) > blocks:
        reading.refuse(
            line, f"hash_ids has {len(hashes)} ids; legal are at most {blocks}, one for each {block_tokens} tokens of "
            f"input_length (workload.block_tokens)", "more hash_ids than blocks",
        )  # fmt: skip
        return None
    return tuple(hashes)


class BailianFormat:
    """Qwen-Bailian usage traces."""

    name = "bailian"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By its conversation ids."""
        return {"chat_id", "parent_chat_id", "hash_ids"} <= json_keys(head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The rows of the file."""
        reading.block_tokens = reading.block_tokens or 16
        return record_chunks(self._records(reading), ("block_hashes", "session_id", "turn", "route"))

    def _records(self, reading: Reading) -> Iterator[Record]:
        roots: dict[Any, Any] = {}
        for line, entry in json_lines(reading):
            hashes = hash_list(reading, line, entry, reading.block_tokens or 16)
            if hashes is None:
                continue
            chat, parent = entry.get("chat_id"), entry.get("parent_chat_id", -1)
            roots[chat] = chat if parent == -1 else roots.get(parent, parent)
            labels = {"block_hashes": hashes, "session_id": roots[chat], "route": entry.get("type", "")}
            turn = as_number(entry.get("turn"))
            if turn >= 1:
                labels["turn"] = int(turn)
            yield Record(line, entry.get("timestamp"), entry.get("input_length"), entry.get("output_length"), labels)


_SEGMENTS = ("sys_prompt", "passages_ids", "history", "web_search", "user_input")
"""In the order in which a prompt is put together."""
_LENGTH_FILES = {
    "1_sys_prompt.jsonl": "sys_prompt_id", "2_passages.jsonl": "passage_id", "3_history.jsonl": "history_id",
    "4_user_input.jsonl": "user_input_id", "5_web_search.jsonl": "web_search_id",
}  # fmt: skip
_RAG_BLOCK_TOKENS = 16
_LONGEST_RAG_TOKENS = 10_000_000
"""A thousand times the longest recorded; every 16 of them are a block to be made."""


class RagPulseFormat:
    """RAGPulse: a university's retrieval-augmented assistant."""

    name = "ragpulse"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """By the segments of its prompts."""
        return {"sys_prompt", "passages_ids", "hash_ids"} <= json_keys(head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The rows of the file."""
        reading.block_tokens = _RAG_BLOCK_TOKENS
        return record_chunks(self._records(reading), ("block_hashes", "session_id"))

    def _records(self, reading: Reading) -> Iterator[Record]:
        lengths = _segment_lengths(reading)
        chained: dict[Any, int] = {}
        for line, entry in json_lines(reading):
            segments = entry.get("hash_ids")
            if not isinstance(segments, dict):
                reading.refuse(line, f"hash_ids is {segments!r:.60}; legal is an object of five lists", "no segments")
                continue
            names = [name for kind in _SEGMENTS for name in segments.get(kind, [])]
            unknown = [name for name in names if name not in lengths]
            if unknown:
                reading.refuse(line, f"segment {unknown[0]} has no length in files 1 to 5", "segment without a length")
                continue
            tokens = as_number(entry.get("input_length"))
            if tokens > _LONGEST_RAG_TOKENS:
                reading.refuse(
                    line, f"input_length is {tokens:.15g}; legal are at most {_LONGEST_RAG_TOKENS}", "input_length too large"
                )  # fmt: skip
                continue
            hashes = _blocks_of(names, lengths, int(tokens) if 0 < tokens < math.inf else 0, line, chained)
            yield Record(
                line, entry.get("timestamp"), entry.get("input_length"), entry.get("output_length"),
                {"block_hashes": hashes, "session_id": entry.get("session_id", "")},
            )  # fmt: skip


def _segment_lengths(reading: Reading) -> dict[int, int]:
    lengths: dict[int, int] = {}
    for file, key in _LENGTH_FILES.items():
        path = reading.path.with_name(file)
        if not path.is_file():
            raise TraceError(f"{reading.path}: needs {file} beside it, with the segments' token lengths")
        for line, text in text_lines(path):
            try:
                entry = parsed_json(text)
                lengths[int(entry[key])] = int(entry["token_length"])
            except (ValueError, KeyError, TypeError, RecursionError):
                raise TraceError(f"{path}, line {line}: legal is an object with {key} and token_length") from None
    return lengths


def _blocks_of(
    names: list[int], lengths: dict[int, int], tokens: int, line: int, chained: dict[Any, int]
) -> tuple[int, ...]:
    """Chained ids of the prompt's blocks: a block's id stands for the one before and the segments that reach into
    it."""
    ends, total = [], 0
    for name in names:
        total += lengths[name]
        ends.append((total, name))
    blocks: list[int] = []
    segment, parent = 0, -1
    for end in range(_RAG_BLOCK_TOKENS, tokens + _RAG_BLOCK_TOKENS, _RAG_BLOCK_TOKENS):
        touched: list[Any] = []
        while segment < len(ends) and ends[segment][0] <= end:
            touched.append(ends[segment][1])
            segment += 1
        if segment < len(ends) and (segment == 0 or ends[segment - 1][0] < end):
            touched.append(ends[segment][1])
        if segment == len(ends) and (not ends or ends[-1][0] < min(end, tokens)):
            touched.append(("unique", line))
        parent = chained.setdefault((parent, tuple(touched)), len(chained))
        blocks.append(parent)
    return tuple(blocks)
