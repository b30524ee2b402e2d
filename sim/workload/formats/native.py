"""The native format, CSV or Parquet: ``arrival_s,input_tokens,output_tokens`` and the optional label columns.

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
from sim.workload.columns import hash_lists, integers, numbers, texts
from sim.workload.rows import Chunk, Reading
from sim.workload.source import PARQUET_MAGIC, csv_batches, csv_header, head_of
from sim.workload.trace import INTEGER_LABELS, OPTIONAL_COLUMNS, Trace

REQUIRED = ("arrival_s", "input_tokens", "output_tokens")


class NativeFormat:
    """servecap's own format."""

    name = "native"
    zero_based = True
    ordered = True

    def matches(self, head: bytes, path: Path) -> bool:
        """Parquet, or a CSV header with at least one of its own required names."""
        return head[:4] == PARQUET_MAGIC or "arrival_s" in csv_header(head)

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The rows of the file."""
        head = head_of(reading.path)
        present = _parquet_names(reading.path) if head[:4] == PARQUET_MAGIC else csv_header(head)
        twice = sorted({name for name in present if present.count(name) > 1})
        missing = [name for name in REQUIRED if name not in present]
        if missing or twice:
            what = f"lacks column {', '.join(missing)}" if missing else f"has column {', '.join(twice)} more than once"
            raise TraceError(
                f"{reading.path}: {what}; found {', '.join(present) or 'nothing'}; required are {', '.join(REQUIRED)}"
            )
        unknown = [name for name in present if name not in REQUIRED and name not in OPTIONAL_COLUMNS]
        if unknown:
            print(f"{reading.path}: unknown columns ignored: {', '.join(unknown)}", file=sys.stderr)
        wanted = [name for name in present if name not in unknown]
        yield from native_chunks(_batches(reading, head, wanted), reading, {name: name for name in wanted})


def native_chunks(batches: Iterator[pa.RecordBatch], reading: Reading, names: dict[str, str]) -> Iterator[Chunk]:
    """Chunks from record batches whose column ``names[native]`` holds each native column."""
    first_row = 1
    for batch in batches:
        raw = {native: batch.column(name) for native, name in names.items()}
        rows = np.arange(first_row, first_row + batch.num_rows)
        first_row += batch.num_rows
        chunk = Chunk(
            numbers(raw["arrival_s"]), numbers(raw["input_tokens"]), numbers(raw["output_tokens"]), rows,
            echo=lambda name, index, raw=raw: _shown(raw[name][index].as_py()),  # type: ignore[misc]
        )  # fmt: skip
        wrong = add_labels(chunk, raw, reading)
        yield chunk.take(~wrong) if wrong.any() else chunk


def _shown(value: Any) -> Any:
    return "" if value is None else value


def add_labels(chunk: Chunk, raw: dict[str, pa.Array], reading: Reading) -> np.ndarray:
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
        elif name in INTEGER_LABELS:
            values, no_integer = integers(raw[name], INTEGER_LABELS[name])
            least = 1 if name == "max_output_tokens" else 0
            too_small = (values < least) & (values != INTEGER_LABELS[name]) if name != "priority" else False
            refuse(no_integer | too_small, name, "a whole number" + ("" if name == "priority" else f" from {least}"))
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


def _parquet_names(path: Path) -> list[str]:
    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise TraceError(f"{path}: is not a readable Parquet file ({error})") from None


def _batches(reading: Reading, head: bytes, wanted: list[str]) -> Iterator[pa.RecordBatch]:
    if head[:4] == PARQUET_MAGIC:
        with pyarrow.parquet.ParquetFile(reading.path) as file:
            yield from file.iter_batches(columns=wanted, batch_size=1 << 18)
        return
    yield from whole_batches(reading, wanted)


def whole_batches(reading: Reading, wanted: list[str] | None) -> Iterator[pa.RecordBatch]:
    """The CSV's record batches; rows with a wrong number of fields are an error, or dropped when lenient."""
    ragged: list[int] = []
    for batch in csv_batches(reading.path, wanted, ragged):
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
        if name == "block_hashes":
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
