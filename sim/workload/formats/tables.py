"""Formats that are one table: BurstGPT, Vidur, and any table by a column map.

BurstGPT (CC-BY-4.0, v1 to v3): seconds since midnight of the campaign's first day, not zero-based; v3 inserts ``Session
ID`` and ``Elapsed time``. Response tokens 0 marks a failure: such rows are left out and counted. The log type
becomes the route, the model the feature. A follow-up whose prompt is shorter than the last prompt and nine tenths of
its answer did not re-send its history and opens a session of its own.

Vidur: ``arrived_at,num_prefill_tokens,num_decode_tokens``; its length-only files hold no times and are refused.

Column map: native column -> the file's column (nested JSON with dots), of CSV, TSV, JSON lines or Parquet; the time's key
may be ``arrival_s``, ``arrival_ms``, ``arrival_us`` or ``arrival_ns``: numbers from any zero, or stamps and dates as
``sim.workload.instants`` reads them. Rows are sorted by time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sim.errors import ConfigError, TraceError
from sim.workload.delimited import csv_header, decimal_of
from sim.workload.formats.batches import table_batches
from sim.workload.formats.native import REQUIRED, labelled
from sim.workload.instants import UNITS, TimeColumn
from sim.workload.rows import Chunk, Reading
from sim.workload.source import head_of
from sim.workload.trace import OPTIONAL_COLUMNS, Trace

_UNITS = {f"arrival_{unit}": size_s for unit, size_s in UNITS.items()}


def table_chunks(reading: Reading, names: dict[str, str], unit_s: float = 1.0) -> Iterator[Chunk]:
    """Chunks of a table whose column ``names[native]`` holds each native column."""
    decimal = decimal_of(reading.path, [names[name] for name in REQUIRED], reading.decimal)
    times = TimeColumn(reading.path, unit_s, reading.time_format, reading.origin_ns, decimal)
    for rows, batch in table_batches(reading, list(dict.fromkeys(names.values()))):
        arrival_s = times.seconds(batch.column(names["arrival_s"]))
        reading.origin_ns = times.origin_ns
        yield labelled(arrival_s, batch, names, rows, reading, decimal)


class BurstGptFormat:
    """BurstGPT v1, v2 and v3."""

    name = "burstgpt"
    zero_based = False
    ordered = True

    def matches(self, head: bytes, path: Path) -> bool:
        """By three of its header's names."""
        return {"Timestamp", "Request tokens", "Response tokens"} <= set(csv_header(head))

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The rows of the file; failures marked."""
        names = {
            "arrival_s": "Timestamp", "input_tokens": "Request tokens", "output_tokens": "Response tokens",
            "feature": "Model", "route": "Log Type",
        }  # fmt: skip
        if "Session ID" in csv_header(head_of(reading.path)):
            names["session_id"] = "Session ID"
        for chunk in table_chunks(reading, names):
            chunk.failed = chunk.output_tokens == 0
            chunk.labels["route"] = _shortened(chunk.labels["route"])
            yield chunk

    def finish(self, trace: Trace) -> Trace:
        """Sessions cut where the history was not sent again, and turns numbered."""
        return trace if "session_id" not in trace.labels else with_resent_sessions(trace)


def _shortened(routes: np.ndarray) -> np.ndarray:
    """'Conversation log' -> 'conversation', 'API log' -> 'api'."""
    values, places = np.unique(routes.astype(str), return_inverse=True)
    return np.array([value.removesuffix(" log").lower() for value in values], dtype=object)[places]


def with_resent_sessions(trace: Trace) -> Trace:
    """``trace`` whose sessions hold only turns that begin with the turn before, numbered from 1."""
    sessions = trace.labels["session_id"].tolist()
    inputs, outputs = trace.input_tokens.tolist(), trace.output_tokens.tolist()
    last: dict[str, tuple[int, int, int]] = {}  # session -> turns so far, part number, tokens that a re-send would have
    names, turns = [], []
    for session, prompt, answer in zip(sessions, inputs, outputs, strict=True):
        if not session:
            names.append("")
            turns.append(-1)
            continue
        turn, part, resent = last.get(session, (0, 0, 0))
        if prompt < resent:
            turn, part = 0, part + 1
        last[session] = (turn + 1, part, int(prompt + 0.9 * answer))
        names.append(f"{session}/{part}" if part else session)
        turns.append(turn + 1)
    labels = {**trace.labels, "session_id": np.array(names, dtype=object), "turn": np.array(turns, dtype=np.int64)}
    return Trace(
        trace.arrival_s, trace.input_tokens, trace.output_tokens, labels, trace.block_tokens, trace.provenance
    )  # fmt: skip


class VidurFormat:
    """Vidur's request traces."""

    name = "vidur"
    zero_based = True
    ordered = True

    def matches(self, head: bytes, path: Path) -> bool:
        """By its token columns."""
        return {"num_prefill_tokens", "num_decode_tokens"} <= set(csv_header(head))

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The rows of the file."""
        if "arrived_at" not in csv_header(head_of(reading.path)):
            raise TraceError(
                f"{reading.path}: holds lengths but no arrival times (column arrived_at); use its quantiles as the "
                "lengths of a workload.generator"
            )
        names = {
            "arrival_s": "arrived_at", "input_tokens": "num_prefill_tokens", "output_tokens": "num_decode_tokens",
        }  # fmt: skip
        yield from table_chunks(reading, names)


class MappedFormat:
    """Any table, by ``workload.columns``."""

    name = "columns"
    zero_based = False
    ordered = False

    def matches(self, head: bytes, path: Path) -> bool:
        """Never by itself: the map has to be given."""
        return False

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The rows of the file."""
        legal = (*_UNITS, "input_tokens", "output_tokens", *OPTIONAL_COLUMNS)
        wrong = [name for name in reading.columns if name not in legal]
        times = [name for name in reading.columns if name in _UNITS]
        if wrong or len(times) != 1 or not {"input_tokens", "output_tokens"} <= set(reading.columns):
            raise ConfigError(
                f"workload.columns is {dict(reading.columns)}; it needs one of {', '.join(_UNITS)}, input_tokens and "
                f"output_tokens, and may have {', '.join(OPTIONAL_COLUMNS)}"
            )
        names = {("arrival_s" if name in _UNITS else name): column for name, column in reading.columns.items()}
        yield from table_chunks(reading, names, _UNITS[times[0]])
