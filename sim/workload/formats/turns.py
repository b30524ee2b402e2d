"""Closed-loop turns of Dynamo and AIPerf: JSON lines of Mooncake's fields with ``session_id`` and ``delay``.

A turn has a ``timestamp`` (ms; a session's first without one: 0) or a ``delay`` (ms) after the answer before it.
When an answer will be there only a simulation knows: as an open trace, 20 ms an output token stand for it, as in
``generator.sessions``. With ``gateway.users={kind: waiting_sessions, answer_s_per_token: 0.02}`` every turn waits for its
answer and the delays are kept as they are. ``hash_ids`` have the block size that the lengths tell (as Mooncake's).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.workload.formats.blocks import block_tokens_of, hash_list
from sim.workload.formats.records import Record, as_number, json_lines, record_chunks
from sim.workload.rows import Chunk, Reading
from sim.workload.source import head_of, json_keys

ANSWER_S_PER_TOKEN = 0.02
"""What stands for the time of an answer, s an output token."""


class TurnsFormat:
    """Sessions whose turns follow each other."""

    name = "turns"
    zero_based = True
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """Mooncake's lengths with sessions."""
        keys = json_keys(head)
        return {"session_id", "input_length", "output_length"} <= keys and not keys & {"sys_prompt", "chat_id"}

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """All turns, at the times that an expected answer gives."""
        labels = ("session_id", "turn", "block_hashes")
        if json_keys(head_of(reading.path)) & {"delay", "delay_ms"}:
            reading.notes.append(
                f"turns that wait for the answer before them are placed as if it took {ANSWER_S_PER_TOKEN:g} s a token; "
                f"gateway.users={{kind: waiting_sessions, answer_s_per_token: {ANSWER_S_PER_TOKEN:g}}} lets them wait"
            )
        return record_chunks(self._turns(reading, block_tokens_of(reading)), labels)

    def _turns(self, reading: Reading, block_tokens: int) -> Iterator[Record]:
        ready_s: dict[str, float] = {}
        turns: dict[str, int] = {}
        for line, entry in json_lines(reading):
            hashes = hash_list(reading, line, entry, block_tokens)
            if hashes is None:
                continue
            session = str(entry.get("session_id") or f"line {line}")
            at_s = _arrival_s(entry, ready_s.get(session, 0.0), first=session not in turns)
            if not at_s >= 0:
                reading.refuse(line, f"timestamp or delay is no time in ms from 0 up ({_times(entry)})", "no time of a turn")
                continue
            turns[session] = turns.get(session, 0) + 1
            ready_s[session] = at_s + ANSWER_S_PER_TOKEN * max(as_number(entry.get("output_length")), 0.0)
            labels: dict[str, Any] = {"session_id": session, "turn": turns[session], "block_hashes": hashes}
            yield Record(line, at_s, entry.get("input_length"), entry.get("output_length"), labels)


def _arrival_s(entry: dict[str, Any], ready_s: float, first: bool) -> float:
    stamp = entry.get("timestamp")
    if stamp is not None:
        return as_number(stamp) / 1e3
    delay = entry.get("delay", entry.get("delay_ms"))
    if delay is None:
        return 0.0 if first else ready_s
    delay_s = as_number(delay) / 1e3
    return ready_s + delay_s if delay_s >= 0.0 else math.nan


def _times(entry: dict[str, Any]) -> str:
    return ", ".join(f"{name} {entry[name]!r:.30}" for name in ("timestamp", "delay", "delay_ms") if name in entry)
