"""From raw rows to a ``Trace``: the checks that every format shares, strict or lenient, and where time zero lies.

A format's reader yields ``Chunk``s of numbers that may be wrong (NaN where a text was no number). ``assemble`` refuses
the first wrong row with its file, row, what was found and what is legal, or, when lenient, leaves such rows out and
counts them by reason in ``provenance["dropped"]``. Rows that a format *defines* as failures are left out and counted
in both modes. It keeps columns, never rows, and stops reading at ``until_s``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import TraceError
from sim.workload.source import at_row, fingerprint
from sim.workload.trace import Trace

MAX_TOKENS = 1_000_000_000
_TOGETHER = 64


@dataclass
class Chunk:
    """Some consecutive rows of a file, as read."""

    arrival_s: np.ndarray
    """float64; NaN where the text was no time."""
    input_tokens: np.ndarray
    """float64; NaN where the text was no number."""
    output_tokens: np.ndarray
    rows: np.ndarray
    """Data row number of each, from 1."""
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    failed: np.ndarray | None = None
    """Mask of the rows that the format defines as failed requests."""
    echo: Callable[[str, int], str] = lambda name, index: "?"
    """What the file holds for one of the three columns above at an index of this chunk."""

    def take(self, keep: np.ndarray) -> Chunk:
        """The rows of a mask."""
        index = np.flatnonzero(keep)
        return Chunk(
            self.arrival_s[keep], self.input_tokens[keep], self.output_tokens[keep], self.rows[keep],
            {name: column[keep] for name, column in self.labels.items()},
            None if self.failed is None else self.failed[keep],
            lambda name, i: self.echo(name, int(index[i])),
        )  # fmt: skip


@dataclass
class Reading:
    """How a file is to be read, and what was left out so far."""

    path: Path
    lenient: bool = False
    columns: dict[str, str] = field(default_factory=dict)
    """Native column -> the file's column, for any CSV."""
    until_s: float = np.inf
    """Rows after the first at or beyond this time (from the trace's zero) need not be read; that one tells that the
    trace goes on."""
    block_tokens: int = 512
    session_rate_per_s: float = 0.1
    """Sessions a second, for formats that record no time between sessions."""
    pool_rate_per_s: float | None = None
    """Target mean rate of a client pool; None keeps the recorded one."""
    seed: int = 0
    row_name: str = ""
    """What a row is called in messages ("line", "request"); empty: a table's data row, with its line."""
    dropped: Counter[str] = field(default_factory=Counter)

    def at(self, row: int) -> str:
        """Where ``row`` is, for a message."""
        return f"{self.path}, {self.row_name} {row}" if self.row_name else at_row(self.path, row)

    def refuse(self, row: int, why: str, reason: str) -> None:
        """A row cannot be used: an error that says ``why``, or one more row dropped for ``reason``.

        Raises:
            TraceError: unless lenient.
        """
        if not self.lenient:
            raise TraceError(f"{self.at(row)}: {why}")
        self.dropped[reason] += 1


def _tokens_wrong(tokens: np.ndarray) -> np.ndarray:
    legal: np.ndarray = (tokens >= 1) & (tokens <= MAX_TOKENS) & (np.floor(tokens) == tokens)
    return ~legal


def _checked(chunk: Chunk, reading: Reading, zero_based: bool) -> Chunk:
    """``chunk`` without the rows that cannot be used."""
    if chunk.failed is not None and chunk.failed.any():
        reading.dropped["request marked as failed"] += int(chunk.failed.sum())
        chunk = chunk.take(~chunk.failed)
    time_wrong = ~np.isfinite(chunk.arrival_s)
    legal_time = "a finite time"
    if zero_based:
        time_wrong |= chunk.arrival_s < 0
        legal_time = "a finite number of seconds, at least 0"
    wrong = {
        "arrival_s": (time_wrong, legal_time),
        "input_tokens": (_tokens_wrong(chunk.input_tokens), f"a whole number from 1 to {MAX_TOKENS}"),
        "output_tokens": (_tokens_wrong(chunk.output_tokens), f"a whole number from 1 to {MAX_TOKENS}"),
    }
    any_wrong = np.logical_or.reduce([mask for mask, _ in wrong.values()])
    if not any_wrong.any():
        return chunk
    if not reading.lenient:
        first = int(np.argmax(any_wrong))
        for name, (mask, legal) in wrong.items():
            if mask[first]:
                where = reading.at(int(chunk.rows[first]))
                raise TraceError(f"{where}: {name} is {chunk.echo(name, first)!r}; legal is {legal}")
    counted = np.zeros(len(any_wrong), dtype=bool)
    for name, (mask, legal) in wrong.items():
        fresh = mask & ~counted
        if fresh.any():
            reading.dropped[f"{name} not {legal}"] += int(fresh.sum())
        counted |= mask
    return chunk.take(~any_wrong)


def assemble(chunks: Iterable[Chunk], reading: Reading, format_name: str, *, zero_based: bool, ordered: bool) -> Trace:
    """The trace that ``chunks`` hold.

    ``zero_based``: times already count from the trace's zero; otherwise the first arrival becomes 0. ``ordered``: the
    format promises non-decreasing times, so a step back is an error (lenient: such rows are dropped); otherwise rows
    are sorted, ties in the file's order.
    """
    kept: list[Chunk] = []
    fresh: list[Chunk] = []
    last_s, zero_s = -np.inf, 0.0 if zero_based else np.nan
    rows_read = 0
    for chunk in chunks:
        rows_read += len(chunk.rows)
        chunk = _checked(chunk, reading, zero_based)
        if not len(chunk.rows):
            continue
        if ordered:
            chunk, last_s = _in_order(chunk, reading, last_s)
            if np.isnan(zero_s):
                zero_s = float(chunk.arrival_s[0])
            late = chunk.arrival_s - zero_s >= reading.until_s
            if late.any():
                late[np.argmax(late)] = False
                fresh.append(_compact(chunk.take(~late)))
                break
        fresh.append(_compact(chunk))
        if len(fresh) == _TOGETHER:  # many small arrays would leave the heap in pieces that never go back
            kept.append(_joined(fresh))
            fresh = []
    kept += fresh
    if kept and not ordered:
        kept = [_sorted(_joined(kept))]
    return _finished(kept, reading, format_name, rows_read, zero_based)


def _in_order(chunk: Chunk, reading: Reading, last_s: float) -> tuple[Chunk, float]:
    before = np.maximum.accumulate(np.concatenate([[last_s], chunk.arrival_s]))
    back = chunk.arrival_s < before[:-1]
    if back.any():
        first = int(np.argmax(back))
        previous = f"{float(before[first]):.6f}" if first == 0 else chunk.echo("arrival_s", first - 1)
        if not reading.lenient:
            where, found = reading.at(int(chunk.rows[first])), chunk.echo("arrival_s", first)
            raise TraceError(
                f"{where}: arrival_s is {found!r}, earlier than the row before it ({previous}); legal is a time that "
                "does not step back"
            )
        reading.dropped["arrival_s earlier than a row before it"] += int(back.sum())
        chunk = chunk.take(~back)
    return chunk, float(before[-1])


def _compact(chunk: Chunk) -> Chunk:
    """Without what only error messages need; tokens in 32 bits, so that a 1 GB file stays below its own size."""
    return Chunk(
        chunk.arrival_s, chunk.input_tokens.astype(np.int32), chunk.output_tokens.astype(np.int32), np.empty(0),
        chunk.labels,
    )  # fmt: skip


def _joined(kept: list[Chunk]) -> Chunk:
    """Compact chunks as one."""
    return Chunk(
        np.concatenate([chunk.arrival_s for chunk in kept]),
        np.concatenate([chunk.input_tokens for chunk in kept]),
        np.concatenate([chunk.output_tokens for chunk in kept]),
        np.empty(0, dtype=np.int64),
        {name: np.concatenate([chunk.labels[name] for chunk in kept]) for name in kept[0].labels},
    )


def _sorted(chunk: Chunk) -> Chunk:
    """A compact chunk in order of time, ties in the file's order."""
    order = np.argsort(chunk.arrival_s, kind="stable")
    return Chunk(
        chunk.arrival_s[order], chunk.input_tokens[order], chunk.output_tokens[order], chunk.rows,
        {name: column[order] for name, column in chunk.labels.items()},
    )  # fmt: skip


def _finished(kept: list[Chunk], reading: Reading, format_name: str, rows_read: int, zero_based: bool) -> Trace:
    dropped = dict(reading.dropped)
    if not any(len(chunk.arrival_s) for chunk in kept):
        because = f" (of {rows_read} rows: {dropped})" if rows_read else ""
        raise TraceError(f"{reading.path}: holds no usable request{because}; expected at least one")
    # each column's parts are let go as soon as it stands, so that no file is held twice
    arrival_s = np.concatenate([vars(chunk).pop("arrival_s") for chunk in kept])
    input_tokens = np.concatenate([vars(chunk).pop("input_tokens") for chunk in kept], dtype=np.int64)
    output_tokens = np.concatenate([vars(chunk).pop("output_tokens") for chunk in kept], dtype=np.int64)
    labels = {
        name: np.concatenate([chunk.labels.pop(name) for chunk in kept]) for name in list(kept[0].labels)
    }  # fmt: skip
    if not zero_based:
        arrival_s -= arrival_s[0]
    provenance: dict[str, Any] = {"format": format_name, "files": {}, "dropped": dropped, "rows_read": rows_read}
    files = [reading.path] if reading.path.is_file() else sorted(p for p in reading.path.iterdir() if p.is_file())
    provenance["files"] = {str(path): fingerprint(path) for path in files}
    return Trace(arrival_s, input_tokens, output_tokens, labels, reading.block_tokens, provenance)
