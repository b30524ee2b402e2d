"""Agentic coding sessions (callanjfox/kv-cache-tester, Apache-2.0): one JSON file a session, or a folder of them.

A request's ``t`` counts from its session's start, a subagent's requests from the subagent's ``t``; blocks have
``block_size`` tokens (64) and ids of the session's own. Nothing is known about the time between sessions: they start as
a Poisson process of ``workload.session_rate_per_s``. Replay is open: requests come when they came (a closed loop would wait
for answers).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.errors import TraceError
from sim.rng import stream
from sim.workload.formats.records import Record, as_number, parsed_json, record_chunks
from sim.workload.rows import Chunk, Reading
from sim.workload.source import json_keys, whole_text

BLOCK_TOKENS = 64


class AgenticFormat:
    """kv-cache-tester sessions."""

    name = "agentic"
    zero_based = True
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """A session's keys, or a folder whose first JSON file has them."""
        if path.is_dir():
            first = min(path.glob("*.json"), default=None)
            if first is None:
                return False
            with first.open("rb") as file:
                head = file.read(4096)
        return {"hash_id_scope", "requests"} <= json_keys(head)  # newer sessions have no tool_tokens

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """All requests of all sessions."""
        reading.row_name = "request"
        return record_chunks(self._records(reading), ("block_hashes", "session_id", "turn", "feature"))

    def _records(self, reading: Reading) -> Iterator[Record]:
        files = sorted(reading.path.glob("*.json")) if reading.path.is_dir() else [reading.path]
        rng = stream(reading.seed, "workload", "sessions")
        start_s, ids = 0.0, 0
        for file in files:
            try:
                session = parsed_json(whole_text(file))
                requests, size = session["requests"], int(session.get("block_size", BLOCK_TOKENS))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                if not reading.lenient:
                    raise TraceError(f"{file}: is no agentic session ({error})") from None
                reading.unusable["file that is no agentic session"] += 1
                continue
            if size != (reading.block_tokens or size) or size < 1:
                raise TraceError(
                    f"{file}: has blocks of {size} tokens, but {reading.block_tokens} hold so far; legal is one size for all"
                )
            reading.block_tokens = size
            blocks: dict[Any, int] = {}
            for turn, (t_s, request, scope) in enumerate(_flat(requests, 0.0, ""), start=1):
                hashes = tuple(
                    blocks.setdefault((scope, block), ids + len(blocks)) for block in request.get("hash_ids", [])
                )
                labels = {
                    "block_hashes": hashes, "session_id": session.get("id", file.stem), "turn": turn,
                    "feature": request.get("model", ""),
                }  # fmt: skip
                yield Record(turn, start_s + t_s, request.get("in"), request.get("out"), labels, not request.get("out"))
            ids += len(blocks)
            start_s += rng.exponential(1.0 / reading.session_rate_per_s)


def _flat(requests: list[dict[str, Any]], from_s: float, scope: str) -> Iterator[tuple[float, dict[str, Any], str]]:
    """Requests with their time from the session's start and the namespace of their ids, subagents unfolded."""
    for place, request in enumerate(requests):
        t_s = from_s + as_number(request.get("t"))
        if request.get("type") == "subagent":
            yield from _flat(request.get("requests", []), t_s, f"{scope}/{request.get('agent_id', place)}")
        else:
            yield t_s, request, scope
