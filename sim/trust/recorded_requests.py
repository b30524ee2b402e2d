"""``requests.jsonl`` (or ``.gz``) of a conformance case: what became of each request, against what our steps say.

Compared are when a request was first scheduled, had its first token and finished, the tokens that the prefix cache gave it
at its first admission, its preemptions and the tokens it generated. Leaves out what steps do not tell, such as reasons.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sim.errors import TraceError, reading

_COMPARED = (
    "first_sched_step", "first_sched_ns", "cached_tokens", "first_token_ns", "finish_ns", "finish_step", "preemptions",
    "generated",
)  # fmt: skip

_OF_DRAFTS = ("drafted", "accepted")


def read_requests(folder: Path) -> list[dict[str, Any]]:
    """The recorded requests; none where the case has no such file.

    Raises:
        TraceError: a file that is there cannot be read.
    """
    for name in ("requests.jsonl", "requests.jsonl.gz"):
        path = folder / name
        if path.is_file():
            with reading(path, "a list of recorded requests", TraceError):
                packed = path.read_bytes()
                text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode("utf-8")
                rows = [json.loads(line) for line in text.splitlines() if line.strip()]
                if not all(isinstance(row, dict) and "id" in row for row in rows):
                    raise TypeError("each line is an object with an id")
                return rows
    return []


def _blank() -> dict[str, Any]:
    return dict.fromkeys(_COMPARED) | {"preemptions": 0, "generated": 0}


def lives(steps: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Request -> what the rows of a case's steps say became of it."""
    found: dict[str, dict[str, Any]] = {}
    number = -1
    for step in steps:
        number += step.get("step", number + 1) is not None
        for name, *_ in step["scheduled"]:
            if name not in found:
                found[name] = _blank()
                found[name] |= {"first_sched_step": number, "first_sched_ns": step["sched_ns"]}
        for name, hit in step["new"]:
            found[name]["cached_tokens"] = hit
        for name in step["preempted"]:
            found[name]["preemptions"] += 1
        lost = step.get("lost", ())
        for name, tokens in step["tokens"] if step.get("tokens") is not None else [(name, 1) for name in step["sampled"]]:
            if name in lost:
                continue
            one = found[name]
            one["generated"] += tokens
            one["first_token_ns"] = step["end_ns"] if one["first_token_ns"] is None else one["first_token_ns"]
        for name in step["finished"]:
            found.setdefault(name, _blank())  # its load failed before it ran
            found[name] |= {"finish_ns": step["end_ns"], "finish_step": step.get("step", number)}
    return found


def first_difference(
    recorded: Sequence[dict[str, Any]], steps: Sequence[dict[str, Any]], drafts: dict[str, dict[str, int]] | None = None
) -> str | None:
    """What differs first, in words, or None; ``drafts``: request -> what of its drafts steps do not tell."""
    ours = lives(steps)
    for name, counts in (drafts or {}).items():
        if name in ours:
            ours[name] |= counts
    for row in recorded:
        one = ours.get(str(row["id"]))
        if one is None and row.get("first_sched_step") is None:
            continue  # refused at the door, or still waiting
        for field in (*_COMPARED, *_OF_DRAFTS):
            if field in row and (one is None or row[field] != one.get(field)):
                ours_is = None if one is None else one.get(field)
                return f"request {row['id']}, {field}: recorded {row[field]!r}, ours {ours_is!r}"
    return None
