"""The tables of a measured case: ``workload.csv`` (who sent what, when) and ``per_request.csv`` (what came of each).

    arrival_s,input_tokens,output_tokens    and, where known, stage or segment, user, prompt_id, prefix_id, prefix_tokens,
                                            session_id, turn, priority

Either may be packed as ``.gz``. Rows stand in order of arrival and both tables have the same ones; whatever a row says that
cannot be is refused with its file, row, column and value.
"""

from __future__ import annotations

import csv
import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.errors import TraceError
from sim.workload.trace import INTEGER_LABELS, Trace

_REQUIRED = ("arrival_s", "input_tokens", "output_tokens")
_LABELS = ("prompt_id", "prefix_id", "prefix_tokens", "session_id", "turn", "priority", "user")
"""Columns that say what prompts share and who goes first."""
_PER_REQUEST = ("arrival_s", "input_tokens", "output_tokens", "ttft_s", "e2e_s", "tpot_s")


@dataclass(frozen=True)
class Workload:
    """The requests of a case."""

    trace: Trace
    stage: np.ndarray
    """Load stage of each request, from 0."""
    users: int
    """How many users the rows name."""


class _Table:
    """Rows of a CSV file, read column by column."""

    def __init__(self, path: Path) -> None:
        packed = path.with_name(f"{path.name}.gz")
        self.path, opened = (packed, gzip.open) if not path.exists() and packed.exists() else (path, open)
        try:
            with opened(self.path, "rt", newline="", encoding="utf-8-sig") as file:
                self.rows = list(csv.DictReader(file))
        except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
            raise TraceError(f"{self.path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
        if not self.rows:
            raise TraceError(f"{self.path}: no rows")
        self.names = set(self.rows[0])

    def require(self, *names: str) -> None:
        """Refuse a table without these columns."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise TraceError(f"{self.path}: lacks column {', '.join(missing)}; found {', '.join(map(str, self.rows[0]))}")

    def numbers(self, name: str, least: float, empty: float | None = None) -> np.ndarray:
        """A column of numbers of at least ``least``; ``empty`` stands for an empty cell, None: there must be none."""
        found = np.empty(len(self.rows))
        for i, row in enumerate(self.rows):
            text = row.get(name) or ""
            if not text and empty is not None:
                found[i] = empty
                continue
            try:
                found[i] = float(text)
            except ValueError:
                self.refuse(i, name, "a number")
            if not least <= found[i] < math.inf:
                self.refuse(i, name, f"a number of at least {least:g}")
        return found

    def whole(self, name: str, least: int, empty: int | None = None) -> np.ndarray:
        """Likewise of whole numbers."""
        found = self.numbers(name, least, empty)
        for i in np.flatnonzero(found != np.floor(found)):
            self.refuse(int(i), name, "a whole number")
        return found.astype(np.int64)

    def refuse(self, i: int, name: str, legal: str) -> None:
        """Say what is wrong in the cell."""
        raise TraceError(f"{self.path}, row {i + 1}: {name} must be {legal}, but got {self.rows[i].get(name) or ''!r}")


def read_workload(path: Path) -> Workload:
    """The requests in ``path``.

    Raises:
        TraceError: it cannot be read, or a row says what cannot be.
    """
    table = _Table(path)
    table.require(*_REQUIRED)
    arrival_s, prompts = table.numbers("arrival_s", 0.0), table.whole("input_tokens", 1)
    for i in np.flatnonzero(np.diff(arrival_s) < 0) + 1:
        table.refuse(int(i), "arrival_s", f"at least that of the row before, {arrival_s[i - 1]:g}")
    labels: dict[str, np.ndarray] = {}
    for name in _LABELS:
        if name not in table.names or not any(row[name] for row in table.rows):
            continue
        missing = INTEGER_LABELS.get(name)
        if missing is None:
            labels[name] = np.array([row[name] or "" for row in table.rows], dtype=object)
        else:
            labels[name] = table.whole(name, -(2**53) if name == "priority" else 0, missing)
    for i in np.flatnonzero(labels.get("prefix_tokens", prompts) > prompts):
        table.refuse(int(i), "prefix_tokens", f"at most input_tokens, {prompts[i]}")
    stage = next((name for name in ("stage", "segment") if name in table.names), None)
    outputs = np.maximum(table.whole("output_tokens", 0), 1)
    return Workload(
        Trace(arrival_s, prompts, outputs, labels),
        table.whole(stage, 0) if stage else np.zeros(len(prompts), dtype=np.int64),
        len({row["user"] for row in table.rows if row.get("user")}),
    )


def read_per_request(path: Path, requests: int) -> dict[str, np.ndarray]:
    """What was measured of each request, seconds and tokens, NaN where nothing was; nothing where there is no such file.

    Raises:
        TraceError: it cannot be read, or has not one row for each of ``requests``.
    """
    if not path.exists() and not path.with_name(f"{path.name}.gz").exists():
        return {}
    table = _Table(path)
    table.require(*_PER_REQUEST)
    if len(table.rows) != requests:
        raise TraceError(f"{table.path}: must have a row for each of the {requests} requests, but got {len(table.rows)}")
    return {name: table.numbers(name, 0.0, math.nan) for name in _PER_REQUEST}
