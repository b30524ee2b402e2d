"""The native format, as CSV, Parquet or JSON lines: ``arrival_s,input_tokens,output_tokens`` and the optional labels.

Columns may stand in any order; those it does not know are ignored and named once on stderr. Times are seconds from 0
and do not step back. In one row ``block_hashes`` excludes ``prefix_id`` and ``prompt_id``, which would tell the same
prompt twice; a ``session_id`` beside it says who asked, not what.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from sim.errors import OutputError, TraceError
from sim.workload.columns import count_lists, hash_lists, integers, numbers, texts
from sim.workload.delimited import csv_header, decimal_of
from sim.workload.formats.batches import table_batches, table_names
from sim.workload.instants import date_in_numbers
from sim.workload.rows import Chunk, Reading
from sim.workload.source import PARQUET_MAGIC, json_keys
from sim.workload.trace import INTEGER_LABELS, OPTIONAL_COLUMNS, TUPLE_LABELS, Trace

REQUIRED = ("arrival_s", "input_tokens", "output_tokens")


class NativeFormat:
    """servecap's own format."""

    name = "native"
    zero_based = True
    ordered = True

    def matches(self, head: bytes, path: Path) -> bool:
        """Parquet, a header with its own name for the time, or JSON lines with its three names."""
        if head[:4] == PARQUET_MAGIC or "arrival_s" in csv_header(head):
            return True
        return set(REQUIRED) <= json_keys(head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The rows of the file."""
        present = table_names(reading.path)
        missing = [name for name in REQUIRED if name not in present]
        if missing:
            raise TraceError(
                f"{reading.path}: lacks column {', '.join(missing)}; found {', '.join(present) or 'nothing'}; required are "
                f"{', '.join(REQUIRED)}; workload.columns (--columns) maps any other table"
            )
        unknown = [name for name in present if name not in REQUIRED and name not in OPTIONAL_COLUMNS]
        if unknown:
            print(f"{reading.path}: unknown columns ignored: {', '.join(unknown)}", file=sys.stderr)
        wanted = [name for name in present if name not in unknown]
        decimal = decimal_of(reading.path, list(REQUIRED), reading.decimal)
        for rows, batch in table_batches(reading, wanted):
            arrival_s = numbers(batch.column("arrival_s"), decimal)
            if len(rows) and rows[0] == 1 and (written := date_in_numbers(arrival_s)):
                raise TraceError(
                    f"{reading.path}: arrival_s begins with {arrival_s[0]:.15g}, {written}; legal are seconds (with "
                    "workload.columns, --columns, a time may be written in any way)"
                )
            yield labelled(arrival_s, batch, dict(zip(wanted, wanted, strict=True)), rows, reading, decimal)


def labelled(
    arrival_s: np.ndarray, batch: pa.RecordBatch, names: dict[str, str], rows: np.ndarray, reading: Reading, decimal: str
) -> Chunk:
    """The chunk of a batch whose column ``names[native]`` holds each native column, without rows that have wrong labels."""
    raw = {native: batch.column(name) for native, name in names.items()}
    chunk = Chunk(
        arrival_s, numbers(raw["input_tokens"], decimal), numbers(raw["output_tokens"], decimal), rows,
        echo=lambda name, index: _shown(raw[name][index].as_py()),
    )  # fmt: skip
    wrong = _add_labels(chunk, raw, reading, decimal)
    return chunk.take(~wrong) if wrong.any() else chunk


def _shown(value: Any) -> Any:
    return "" if value is None else value


def _add_labels(chunk: Chunk, raw: dict[str, pa.Array], reading: Reading, decimal: str) -> np.ndarray:
    """Fills ``chunk.labels``; returns the mask of rows to drop (strict: raises at the first)."""
    drop = np.zeros(len(chunk.rows), dtype=bool)

    def refuse(mask: np.ndarray, name: str, legal: str) -> None:
        for index in np.flatnonzero(mask & ~drop):
            found = _shown(raw[name][int(index)].as_py())
            reading.refuse(int(chunk.rows[index]), f"{name} is {found!r}; legal is {legal}", f"{name} not {legal}")
        drop[mask] = True

    for name in (name for name in OPTIONAL_COLUMNS if name in raw):
        if name == "block_hashes":
            chunk.labels[name] = hash_lists(raw[name])
        elif name == "accept":
            chunk.labels[name], wrong = count_lists(raw[name])
            refuse(wrong, name, "whole numbers from 0 to 64 with | between them")
        elif name in INTEGER_LABELS:
            values, empty, no_integer = integers(raw[name], INTEGER_LABELS[name], decimal)
            least = {"priority": -(2**53), "max_output_tokens": 1}.get(name, 0)
            wrong = no_integer | (~empty & (values < least))
            refuse(wrong, name, "a whole number" + ("" if name == "priority" else f" from {least}"))
            chunk.labels[name] = values
        else:
            chunk.labels[name] = texts(raw[name])
    if "prefix_tokens" in chunk.labels:
        refuse(chunk.labels["prefix_tokens"] > chunk.input_tokens, "prefix_tokens", "at most input_tokens")
    if "block_hashes" in chunk.labels:
        hashed = np.array([bool(ids) for ids in chunk.labels["block_hashes"]], dtype=bool)
        for name in ("prefix_id", "prompt_id"):
            if name in chunk.labels:
                refuse(hashed & (chunk.labels[name] != ""), name, "empty where block_hashes is given")
    return drop


def write_trace(trace: Trace, path: str | Path) -> None:
    """Writes ``trace`` in the native format, CSV or Parquet by the suffix; beside first, then renamed.

    Raises:
        OutputError: the suffix is neither, or the place cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet"):
        raise OutputError(f"{path}: a trace is written as .csv or .parquet, not {path.suffix or 'without a suffix'}")
    columns: dict[str, pa.Array] = {name: pa.array(getattr(trace, name)) for name in REQUIRED}
    for name in (name for name in OPTIONAL_COLUMNS if name in trace.labels):
        values = trace.labels[name]
        if name in TUPLE_LABELS:
            columns[name] = pa.array(["|".join(map(str, ids)) or None for ids in values], pa.string())
        elif name in INTEGER_LABELS:
            columns[name] = pa.array(values, pa.int64(), mask=values == INTEGER_LABELS[name])
        else:
            columns[name] = pa.array(values, pa.string(), mask=values == "")
    table = pa.table(columns)
    beside = path.with_name(f".{path.name}.part")
    try:
        if path.suffix == ".csv":
            with beside.open("wb") as file:
                file.write((",".join(columns) + "\n").encode())  # Arrow would quote the names
                pa.csv.write_csv(table, file, pa.csv.WriteOptions(include_header=False, quoting_style="needed"))
        else:
            pyarrow.parquet.write_table(table, beside, compression="zstd")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
