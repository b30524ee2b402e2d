"""``Trace``: arrivals as columns. No object per request exists until it enters the simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sim.columns import Columns

OPTIONAL_COLUMNS = (
    "route", "feature", "tenant", "priority", "session_id", "turn", "prefix_id", "prefix_tokens", "prompt_id",
    "block_hashes", "max_output_tokens", "lora", "accept", "user",
)  # fmt: skip

INTEGER_LABELS = {"priority": 0, "turn": -1, "prefix_tokens": -1, "max_output_tokens": -1}
"""Label columns of whole numbers, and what stands for a missing one (a request without priority has the default, 0)."""

TUPLE_LABELS = ("block_hashes", "accept")
"""Label columns of lists of whole numbers, written with | between them."""


def missing_column(name: str, n: int) -> np.ndarray:
    """A label column of ``n`` requests that have no such label."""
    if name in INTEGER_LABELS:
        return np.full(n, INTEGER_LABELS[name], dtype=np.int64)
    column = np.empty(n, dtype=object)
    column.fill(() if name in TUPLE_LABELS else "")
    return column


@dataclass(frozen=True)
class Trace:
    """Requests in order of arrival; all arrays have one entry a request.

    ``labels`` holds the optional columns of the native format that are present, each as an array; missing text is "",
    missing numbers are as ``INTEGER_LABELS`` says. ``block_hashes`` is an object array of tuples of ints
    (prefix-chained block ids), with ``block_tokens`` tokens to a block. ``lora`` names the LoRA adapter that a request asks
    for; ``accept``, likewise tuples of ints, says how many drafts its verifications accept, used again and again.
    """

    arrival_s: np.ndarray
    """float64, non-decreasing, seconds from 0."""
    input_tokens: np.ndarray
    """int64 >= 1, shared parts included."""
    output_tokens: np.ndarray
    """int64 >= 1."""
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    block_tokens: int = 512
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Input files (path -> {sha256, bytes}) under "files"; the rest as ``left_out`` says."""

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def duration_s(self) -> float:
        """Seconds from 0 to the last arrival."""
        return float(self.arrival_s[-1]) if len(self) else 0.0

    def noting(self, note: str) -> Trace:
        """The same trace with one more sentence about its source."""
        provenance = {**self.provenance, "notes": [*self.provenance.get("notes", []), note]}
        return replace(self, provenance=provenance)

    def left_out(self) -> dict[str, Any]:
        """What reading the source changed: ``rows_read``; ``dropped`` (reason -> rows left out); ``sorted`` (``rows`` that
        came later than one after them in time, ``steps_back``, ``furthest_s``; None: all in order); ``notes`` (what was
        found out or assumed, in sentences)."""
        return {
            "rows_read": self.provenance.get("rows_read", len(self)),
            "dropped": dict(self.provenance.get("dropped", {})),
            "sorted": self.provenance.get("sorted"),
            "notes": list(self.provenance.get("notes", [])),
        }

    def take(self, rows: np.ndarray, arrival_s: np.ndarray | None = None) -> Trace:
        """The requests at ``rows`` (an index or mask array), with new arrival times where given."""
        return Trace(
            arrival_s=self.arrival_s[rows] if arrival_s is None else arrival_s,
            input_tokens=self.input_tokens[rows],
            output_tokens=self.output_tokens[rows],
            labels={name: column[rows] for name, column in self.labels.items()},
            block_tokens=self.block_tokens,
            provenance=self.provenance,
        )


def in_files(trace: Trace) -> Trace:
    """``trace``, its numbers in files (``sim.columns``); labels of text stay in memory."""
    columns = Columns(len(trace), in_files=True)

    def moved(kind: str, values: np.ndarray) -> np.ndarray:
        return np.frombuffer(columns.copied(kind, values), dtype=kind)

    return replace(
        trace, arrival_s=moved("d", trace.arrival_s), input_tokens=moved("q", trace.input_tokens),
        output_tokens=moved("q", trace.output_tokens),
    )  # fmt: skip


def left_out_sentences(left_out: Mapping[str, Any]) -> list[str]:
    """What ``Trace.left_out`` holds, in sentences; none when the source was taken as it is."""
    found = []
    dropped = left_out.get("dropped") or {}
    if dropped:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in dropped.items())
        found.append(f"left out {sum(dropped.values()):,} of {left_out['rows_read']:,} rows: {reasons}")
    moved = left_out.get("sorted")
    if moved:
        found.append(
            f"sorted by time: {moved['rows']:,} of {left_out['rows_read']:,} rows came late ({moved['steps_back']:,} steps "
            f"back, the furthest {moved['furthest_s']:,.6g} s)"
        )
    return [*found, *left_out.get("notes", [])]
