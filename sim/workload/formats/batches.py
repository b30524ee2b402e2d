"""A table of any kind as record batches: delimited text, Parquet, JSON lines. Who reads by column need not know which.

Delimited text and JSON give text columns (JSON numbers as Python writes them, lists joined by ``|``), Parquet typed ones;
``sim.workload.columns`` takes both. A column of nested JSON is named with dots. Text of Parquet is read as a dictionary,
so that a long value that a small file repeats a million times stays one value.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from sim.errors import TraceError
from sim.workload.delimited import column_names, csv_batches, csv_header, refuse_twice
from sim.workload.formats.records import json_lines
from sim.workload.packed import FREE_BYTES, MOST_EXPANSION
from sim.workload.rows import Reading
from sim.workload.source import PARQUET_MAGIC, head_of, json_keys

_AT_ONCE = 1 << 16
_TOGETHER = 1 << 20


def table_names(path: Path) -> list[str]:
    """The column names of a table; of JSON, every key that its first 64 KiB have.

    Raises:
        TraceError: it has a name twice, or none.
    """
    head = head_of(path)
    if head.startswith(PARQUET_MAGIC):
        names = parquet_names(path)
        refuse_twice(path, names)
        return names
    return sorted(json_keys(head)) if json_keys(head) else column_names(path, head)


def table_batches(reading: Reading, columns: list[str]) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
    """Row numbers (data rows or lines, from 1) and the ``columns`` of the next rows, until the table ends.

    Raises:
        TraceError: a column is missing, or (strict) a row has another number of fields than the header.
    """
    head = head_of(reading.path)
    if json_keys(head):
        yield from _json_batches(reading, columns)
        return
    names = table_names(reading.path)
    missing = [column for column in columns if column not in names]
    if missing:
        raise TraceError(f"{reading.path}: lacks column {', '.join(missing)}; found {', '.join(names) or 'nothing'}")
    batches = _parquet_batches if head.startswith(PARQUET_MAGIC) else _whole_batches
    first_row = 1
    for batch in batches(reading, columns):
        reading.last_row = first_row
        yield np.arange(first_row, first_row + batch.num_rows), batch
        first_row += batch.num_rows


def _whole_batches(reading: Reading, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Rows with a wrong number of fields are an error, or left out when lenient."""
    ragged: list[int] = []
    for batch in csv_batches(reading.path, columns, ragged):
        _refuse_ragged(reading, ragged)
        yield batch
    _refuse_ragged(reading, ragged)


def _refuse_ragged(reading: Reading, ragged: list[int]) -> None:
    for row in ragged:
        expected = len(csv_header(head_of(reading.path)))
        reading.refuse(
            row, f"has another number of fields than the header; legal is {expected}", "wrong number of fields"
        )
    ragged.clear()


def parquet_names(path: Path) -> list[str]:
    """The column names of a Parquet file."""
    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise TraceError(f"{path}: is not a readable Parquet file ({error})") from None


def _parquet_batches(reading: Reading, columns: list[str]) -> Iterator[pa.RecordBatch]:
    schema = pyarrow.parquet.read_schema(reading.path)
    texts = [name for name in columns if pa.types.is_string(schema.field(name).type)]
    with pyarrow.parquet.ParquetFile(reading.path, read_dictionary=texts) as file:
        refuse_bomb(file, reading.path, columns)
        for groups in _row_groups(file):
            for batch in file.iter_batches(columns=columns, batch_size=_AT_ONCE, row_groups=groups):
                yield batch.select(columns)


def _row_groups(file: pyarrow.parquet.ParquetFile) -> Iterator[list[int]]:
    """All row groups, as many at once as have ``_TOGETHER`` rows: Arrow keeps in memory what it has read of those that it
    was asked for."""
    groups, rows = list[int](), 0
    for place in range(file.num_row_groups):
        groups.append(place)
        rows += file.metadata.row_group(place).num_rows
        if rows >= _TOGETHER or place == file.num_row_groups - 1:
            yield groups
            groups, rows = [], 0


def refuse_bomb(file: pyarrow.parquet.ParquetFile, path: Path, columns: list[str]) -> None:
    """Values that would take more memory than the file accounts for are not unpacked."""
    groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
    bytes_ = max(8 * len(columns) * file.metadata.num_rows, sum(group.total_byte_size for group in groups))
    nested = [name for name in columns if pa.types.is_nested(file.schema_arrow.field(name).type)]
    if nested:  # a list's values are counted by its column chunks alone
        file.scan_contents(nested)  # raises where a damaged file would make Arrow end the process in the next line
        leaves = [place for place in range(len(file.schema)) if file.schema.column(place).path.split(".")[0] in nested]
        bytes_ += 8 * sum(group.column(place).num_values for group in groups for place in leaves)
    most = max(FREE_BYTES, MOST_EXPANSION * path.stat().st_size)
    if bytes_ > most:
        raise TraceError(
            f"{path}: unpacks to {bytes_ >> 20:,} MiB in {file.metadata.num_rows:,} rows, more than {MOST_EXPANSION} times "
            "its size: no trace does"
        )


def _json_batches(reading: Reading, columns: list[str]) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
    rows: list[int] = []
    entries: list[dict[str, Any]] = []
    for row, entry in json_lines(reading):
        rows.append(row)
        entries.append(entry)
        if len(rows) == _AT_ONCE:
            yield np.array(rows), _json_batch(entries, columns)
            rows, entries = [], []
    if rows:
        yield np.array(rows), _json_batch(entries, columns)


def _json_batch(entries: list[dict[str, Any]], columns: list[str]) -> pa.RecordBatch:
    arrays = [pa.array([_text(_value(entry, column)) for entry in entries], pa.string()) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, names=columns)


def _value(entry: dict[str, Any], column: str) -> Any:
    """``entry[column]``, or the value that a dotted path leads to."""
    if column in entry:
        return entry[column]
    value: Any = entry
    for key in column.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, list):
        return "|".join(map(str, value))
    return None if value is None or value == "" else str(value)
