"""JSON records to chunks: what the formats written as JSON lines or JSON documents share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sim.errors import SimError, TraceError
from sim.measured.json_keys import each_key_once
from sim.workload.columns import as_number, tuples
from sim.workload.rows import Chunk, Reading
from sim.workload.source import head_of, text_lines, whole_text
from sim.workload.trace import INTEGER_LABELS, TUPLE_LABELS, missing_column

__all__ = ["Record", "as_number", "json_document", "json_lines", "parsed_json", "record_chunks"]

_BATCH = 65_536


@dataclass(slots=True)
class Record:
    """One request as its format tells it; numbers may still be anything."""

    row: int
    arrival_s: Any
    input_tokens: Any
    output_tokens: Any
    labels: dict[str, Any] = field(default_factory=dict)
    failed: bool = False


def json_lines(reading: Reading) -> Iterator[tuple[int, dict[str, Any]]]:
    """``(line, object)`` of JSON lines; a JSON list of objects is read whole, with its entries numbered instead."""
    if head_of(reading.path).lstrip(b" \r\n\t")[:1] == b"[":
        reading.row_name = "entry"
        for number, entry in enumerate(json_document(reading), start=1):
            reading.last_row = number
            if isinstance(entry, dict):
                yield number, entry
            else:
                reading.refuse(number, f"is {entry!r:.60}; legal is an object", "no JSON object")
        return
    reading.row_name = "line"
    for number, line in text_lines(reading.path):
        reading.last_row = number
        try:
            entry = parsed_json(line)
        except (ValueError, RecursionError) as error:
            reading.refuse(number, f"is no JSON ({error}); legal is one object a line", "no JSON object")
            continue
        if isinstance(entry, dict):
            yield number, entry
        else:
            reading.refuse(number, f"is {entry!r:.60}; legal is an object", "no JSON object")


def json_document(reading: Reading) -> Any:
    """The one JSON value that the file is.

    Raises:
        TraceError: it is none.
    """
    try:
        return parsed_json(whole_text(reading.path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, SimError):
            raise
        raise TraceError(f"{reading.path}: is no JSON ({error})") from None


def parsed_json(text: str) -> Any:
    """The value of a JSON text; an object that has a key twice is none, since which is meant nobody knows.

    Raises:
        ValueError, RecursionError: it is none, or is nested too deep.
    """
    return json.loads(text, object_pairs_hook=each_key_once)


def record_chunks(records: Iterable[Record], columns: tuple[str, ...]) -> Iterator[Chunk]:
    """Chunks of ``records`` with the label ``columns``; a record without a label has the missing value."""
    batch: list[Record] = []
    for record in records:
        batch.append(record)
        if len(batch) == _BATCH:
            yield _chunk(batch, columns)
            batch = []
    if batch:
        yield _chunk(batch, columns)


def _chunk(batch: list[Record], columns: tuple[str, ...]) -> Chunk:
    labels = {}
    for name in columns:
        missing = missing_column(name, 1)[0]
        values = [record.labels.get(name, missing) for record in batch]
        if name in TUPLE_LABELS:
            labels[name] = tuples(values)
        elif name in INTEGER_LABELS:
            labels[name] = np.array(values, dtype=np.int64)
        else:
            labels[name] = np.array([str(value) for value in values], dtype=object)
    return Chunk(
        np.array([as_number(record.arrival_s) for record in batch]),
        np.array([as_number(record.input_tokens) for record in batch]),
        np.array([as_number(record.output_tokens) for record in batch]),
        np.array([record.row for record in batch]),
        labels,
        np.array([record.failed for record in batch]),
        lambda name, index: getattr(batch[index], name),
    )
