"""From raw rows to a ``Trace``: the checks that every format shares, strict or lenient, and where time zero lies.

A format's reader yields ``Chunk``s of numbers that may be wrong (NaN where a text was no number). ``assemble`` refuses
the first wrong row with its file, row, what was found and what is legal, or, when lenient, leaves such rows out and
counts them by reason, up to ``lenient_max_loss``. Rows that a format *defines* as no request (failures, warm-up) are left
out and counted in both modes. What was left out, put in order or moved to zero stands in the trace's provenance:
"dropped", "sorted", "notes", "rows_read". It keeps columns, never rows, and stops reading at ``until_s``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import TraceError
from sim.workload.delimited import at_row
from sim.workload.source import fingerprint
from sim.workload.trace import Trace, missing_column

MAX_TOKENS = 1_000_000_000
_TOGETHER = 64
_UNIX_S = 1e8
"""A first arrival from here on (1973) is a Unix time, not seconds after the trace's zero."""
_IDLE_S = 86_400.0
"""A first arrival from here on is a clock's (since boot, say), too: nobody means to simulate a day without a request."""
_QUIET_S = 3600.0
"""A first arrival from here on is said where all the requests together span less."""
_NOT_SECONDS = 1e10
"""From here on (year 2286) it is no Unix time in seconds either."""
LONGEST_S = 3653 * 86_400.0
"""Ten years: one wrong stamp, not a trace."""


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
    lenient_max_loss: float = 0.01
    columns: dict[str, str] = field(default_factory=dict)
    """Native column -> the file's column, for any table."""
    time_format: str = "auto"
    decimal: str = "auto"
    until_s: float = np.inf
    """Rows after the first at or beyond this time (from the trace's zero) need not be read; that one tells that the
    trace goes on."""
    enough: int | None = None
    """Nothing after so many requests is needed."""
    block_tokens: int | None = None
    """Tokens in a block of ``block_hashes``; None: a format says what its files have."""
    session_rate_per_s: float = 0.1
    """Sessions a second, for formats that record no time between sessions."""
    pool_rate_per_s: float | None = None
    """Target mean rate of a client pool; None keeps the recorded one."""
    characters_per_token: float = 4.0
    """Of formats that hold texts, where no tokenizer counts."""
    tokenizer: str | None = None
    """What counts the tokens of texts (``sim.workload.text_tokens``)."""
    seed: int = 0
    row_name: str = ""
    """What a row is called in messages ("line", "request"); empty: a table's data row, with its line."""
    origin_ns: int | None = None
    """The Unix time that stamps are counted from, once it is known: several files have one."""
    last_row: int = 0
    """Where a reader is, for the message when it fails."""
    across: dict[str, Any] = field(default_factory=dict)
    """What a format remembers of the files before this one, where several are read together."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows that the format defines as no request, by what they are."""
    unusable: Counter[str] = field(default_factory=Counter)
    """Rows left out because lenient reading was asked for, by what is wrong."""
    notes: list[str] = field(default_factory=list)
    """What was found out or assumed about the file, in sentences."""

    def at(self, row: int) -> str:
        """Where ``row`` is, for a message."""
        return f"{self.path}, {self.row_name} {row}" if self.row_name else at_row(self.path, row)

    def refuse(self, row: int, why: str, reason: str) -> None:
        """A row cannot be used: an error that says ``why``, or one more row left out for ``reason``.

        Raises:
            TraceError: unless lenient.
        """
        if not self.lenient:
            raise TraceError(f"{self.at(row)}: {why}")
        self.unusable[reason] += 1

    def left_out(self) -> int:
        """Rows left out so far."""
        return self.dropped.total() + self.unusable.total()


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
    if reading.columns:
        legal_time += ": a number, ISO 8601 or as workload.time_format (--time-format) says; a zone as +01:00, not by name"
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
            reading.unusable[f"{name} not {legal}"] += int(fresh.sum())
        counted |= mask
    return chunk.take(~any_wrong)


def assemble(
    files: Iterable[tuple[Reading, Iterable[Chunk]]], reading: Reading, format_name: str, *, zero_based: bool,
    ordered: bool,
) -> Trace:  # fmt: skip
    """The trace that the ``files``' chunks hold.

    ``zero_based``: times already count from the trace's zero; otherwise (and where they are Unix times) the first
    arrival becomes 0. ``ordered``: the format promises non-decreasing times, so a step back within a file is an error;
    lenient, and for other formats, rows are sorted, ties in the file's order.
    """
    kept: list[Chunk] = []
    fresh: list[Chunk] = []
    steps = _Steps()
    zero_s = np.nan
    rows_read = 0
    paths: list[Path] = []
    for part, chunks in files:
        paths.append(part.path)
        steps.next_file()
        before = part.left_out()
        for chunk in chunks:
            rows_read += part.left_out() - before + len(chunk.rows)
            chunk = _checked(chunk, part, zero_based)
            before = part.left_out()
            if not len(chunk.rows):
                continue
            steps.look(chunk, part, refuse=ordered and not reading.lenient)
            zero_s = float(np.fmin(zero_s, _zero_of(chunk, part, zero_based)))
            late = chunk.arrival_s - zero_s >= reading.until_s
            goes_on = bool(late.any())
            if goes_on:
                late[np.argmax(late)] = False
            fresh.append(_compact(chunk.take(~late) if late.any() else chunk))
            if len(fresh) == _TOGETHER:  # many small arrays would leave the heap in pieces that never go back
                kept.append(_joined(fresh))
                fresh = []
            if not ordered or reading.lenient:
                continue
            if goes_on or (reading.enough is not None and _count(kept) + _count(fresh) >= reading.enough):
                break
        rows_read += part.left_out() - before
        _same_blocks(part, reading, first=len(paths) == 1)
    kept += fresh
    if kept and (steps.back or len(paths) > 1):
        kept = [_sorted(_joined(kept))]
    if zero_based and zero_s > 0.0:
        reading.notes.append(_zero_said(zero_s))
    return _finished(kept, reading, format_name, rows_read, zero_s, steps, paths)


def _zero_said(zero_s: float) -> str:
    """What became of a zero-based trace's first arrival, far from its zero."""
    if zero_s < _UNIX_S:
        return (
            f"arrival times begin {zero_s:.15g} s ({zero_s / 86_400.0:,.1f} days) after zero, by a clock of their own: the "
            "first became 0"
        )
    began = datetime.fromtimestamp(zero_s, UTC).isoformat(sep=" ", timespec="milliseconds")
    return f"arrival times are Unix seconds: the first, {zero_s:.15g} ({began}), became 0"


def _same_blocks(part: Reading, reading: Reading, *, first: bool) -> None:
    """What a file said about the size of its blocks holds for all of them."""
    if first:
        reading.block_tokens = part.block_tokens
    elif part.block_tokens != reading.block_tokens:
        raise TraceError(
            f"{part.path}: has blocks of {part.block_tokens} tokens, the files before it {reading.block_tokens}; legal is "
            "one size for all"
        )


def _count(chunks: list[Chunk]) -> int:
    return sum(len(chunk.arrival_s) for chunk in chunks)


def _zero_of(chunk: Chunk, reading: Reading, zero_based: bool) -> float:
    """The time that the trace's zero is, as far as this chunk tells."""
    first_s = float(chunk.arrival_s.min())
    if first_s >= _NOT_SECONDS:
        unit = next(name for name, most in (("ms", 1e13), ("us", 1e16), ("ns", np.inf)) if first_s < most)
        where = reading.at(int(chunk.rows[np.argmin(chunk.arrival_s)]))
        raise TraceError(
            f"{where}: arrival_s is {first_s:.0f}, {first_s / 3.15576e7:,.0f} years; Unix {unit} by its size: legal are "
            f"seconds (workload.columns maps arrival_{unit})"
        )
    return first_s if first_s >= _IDLE_S or not zero_based else 0.0


class _Steps:
    """Whether times step back, how often, and how far."""

    def __init__(self) -> None:
        self.back = self.rows = 0
        self.furthest_s = 0.0
        self._latest_s = self._last_s = -np.inf

    def next_file(self) -> None:
        self._latest_s = self._last_s = -np.inf

    def look(self, chunk: Chunk, reading: Reading, *, refuse: bool) -> None:
        arrival_s = chunk.arrival_s
        back = np.diff(arrival_s, prepend=self._last_s) < 0
        if back.any() or self._latest_s > self._last_s:
            latest_s = np.maximum.accumulate(np.concatenate([[self._latest_s], arrival_s]))
            behind_s = latest_s[:-1] - arrival_s
            if refuse:
                first = int(np.argmax(behind_s > 0))
                previous = f"{float(latest_s[first]):.6f}" if first == 0 else chunk.echo("arrival_s", first - 1)
                where, found = reading.at(int(chunk.rows[first])), chunk.echo("arrival_s", first)
                raise TraceError(
                    f"{where}: arrival_s is {found!r}, earlier than the "
                    f"row before it ({previous}); legal is a time that does not step back, or workload.lenient=true "
                    "(--lenient), which sorts"
                )
            self.back += int(back.sum())
            self.rows += int((behind_s > 0).sum())
            self.furthest_s = max(self.furthest_s, float(behind_s.max()))
        self._last_s = float(arrival_s[-1])
        self._latest_s = max(self._latest_s, float(arrival_s.max()))


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
        {name: _label(name, kept, [len(chunk.arrival_s) for chunk in kept]) for name in _label_names(kept)},
    )


def _label_names(kept: list[Chunk]) -> list[str]:
    """Every label that some chunk has: files of one table may differ in their optional columns."""
    return list(dict.fromkeys(name for chunk in kept for name in chunk.labels))


def _label(name: str, kept: list[Chunk], lengths: list[int]) -> np.ndarray:
    """One label column of all chunks, taken out of them."""
    return np.concatenate([
        chunk.labels.pop(name) if name in chunk.labels else missing_column(name, length)
        for chunk, length in zip(kept, lengths, strict=True)
    ])  # fmt: skip


def _sorted(chunk: Chunk) -> Chunk:
    """A compact chunk in order of time, ties in the file's order."""
    order = np.argsort(chunk.arrival_s, kind="stable")
    return Chunk(
        chunk.arrival_s[order], chunk.input_tokens[order], chunk.output_tokens[order], chunk.rows,
        {name: column[order] for name, column in chunk.labels.items()},
    )  # fmt: skip


def _finished(
    kept: list[Chunk], reading: Reading, format_name: str, rows_read: int, zero_s: float, steps: _Steps,
    paths: list[Path],
) -> Trace:  # fmt: skip
    dropped = dict(reading.dropped + reading.unusable)
    if not any(len(chunk.arrival_s) for chunk in kept):
        because = f" (of {rows_read} rows: {dropped})" if rows_read else ""
        raise TraceError(f"{reading.path}: holds no usable request{because}; expected at least one")
    lost = reading.unusable.total()
    if lost > reading.lenient_max_loss * rows_read:
        why = "; ".join(f"{count:,} {reason}" for reason, count in reading.unusable.most_common(3))
        raise TraceError(
            f"{reading.path}: lenient reading would leave out {lost:,} of {rows_read:,} rows, {lost / rows_read:.1%} "
            f"({why}); legal is up to workload.lenient_max_loss (--lenient-max-loss), which is {reading.lenient_max_loss:g}"
        )
    # each column's parts are let go as soon as it stands, so that no file is held twice
    lengths = [len(chunk.arrival_s) for chunk in kept]
    arrival_s = np.concatenate([vars(chunk).pop("arrival_s") for chunk in kept])
    input_tokens = np.concatenate([vars(chunk).pop("input_tokens") for chunk in kept], dtype=np.int64)
    output_tokens = np.concatenate([vars(chunk).pop("output_tokens") for chunk in kept], dtype=np.int64)
    labels = {name: _label(name, kept, lengths) for name in _label_names(kept)}
    _refuse_silence(arrival_s, reading)
    if zero_s != 0.0:
        arrival_s -= zero_s
    elif arrival_s[0] >= max(_QUIET_S, arrival_s[-1] - arrival_s[0]):
        reading.notes.append(
            f"the first request arrives {arrival_s[0]:.15g} s after zero, later than all that were read span: what is "
            "simulated is idle until then (workload.start_s cuts)"
        )
    files = files_of(paths)
    same = _same_content(files) if len(paths) > 1 else ""
    provenance: dict[str, Any] = {
        "format": format_name, "files": files, "dropped": dropped, "rows_read": rows_read,
        "sorted": {"rows": steps.rows, "steps_back": steps.back, "furthest_s": steps.furthest_s} if steps.back else None,
        "notes": [*reading.notes, *([same] if same else [])],
    }  # fmt: skip
    return Trace(arrival_s, input_tokens, output_tokens, labels, reading.block_tokens or 512, provenance)


def files_of(paths: Iterable[Path]) -> dict[str, Any]:
    """The content of an input: path -> {sha256, bytes} of each file, or of each in a folder."""
    inside = [[path] if path.is_file() else sorted(path.iterdir()) for path in paths]
    files = [found for found in chain.from_iterable(inside) if found.is_file()]
    return {str(found): fingerprint(found) for found in files}


def _same_content(files: dict[str, Any]) -> str:
    """Which of the ``files`` hold the same bytes, as a sentence; empty where all differ."""
    named: dict[str, list[str]] = {}
    for name, content in files.items():
        named.setdefault(content["sha256"], []).append(Path(name).name)
    twice = [" = ".join(names) for names in named.values() if len(names) > 1]
    if not twice:
        return ""
    return f"files of the same content were all read (requests without ids count more than once): {'; '.join(twice[:5])}"


def _refuse_silence(arrival_s: np.ndarray, reading: Reading) -> None:
    span_s = float(arrival_s[-1] - arrival_s[0])
    if span_s <= LONGEST_S:
        return
    place = int(np.argmax(np.diff(arrival_s)))
    raise TraceError(
        f"{reading.path}: its requests span {span_s / 3.15576e7:,.0f} years: {arrival_s[place]:.15g} s is followed by "
        f"{arrival_s[place + 1]:.15g} s (request {place + 2:,} in order of time); legal are ten years"
    )
