"""A file to read a trace from: its head, its lines, its record batches; gzip is undone on the way.

Everything here streams: a CSV becomes Arrow record batches of text, JSON lines come one at a time, so a file far larger
than the memory can be cut to a window. Errors name the file, the data row (from 1, header not counted) and the line.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv

from sim.errors import TraceError

PARQUET_MAGIC = b"PAR1"
_HEAD_BYTES = 65_536
_JSON_KEY = re.compile(r'"([^"\\]+)"\s*:')
_BLOCK_BYTES = 1 << 20


def open_bytes(path: Path) -> IO[bytes]:
    """The content of ``path`` from its beginning, decompressed where it is gzip.

    Raises:
        TraceError: no such file, a folder, or not readable.
    """
    try:
        if path.is_dir():
            raise TraceError(f"{path}: is a folder; expected a trace file")
        file = path.open("rb")
    except FileNotFoundError:
        raise TraceError(f"{path}: no such trace file") from None
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror})") from None
    if file.peek(2)[:2] != b"\x1f\x8b":
        return file
    file.close()
    return gzip.open(path, "rb")  # type: ignore[return-value]


def head_of(path: Path) -> bytes:
    """The first 64 KiB of content, from which a format is recognised."""
    with open_bytes(path) as file:
        return file.read(_HEAD_BYTES)


def fingerprint(path: Path) -> dict[str, Any]:
    """``{"sha256", "bytes"}`` of the file as stored."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


def csv_header(head: bytes) -> list[str]:
    """The column names in the first line of ``head``; empty when it is no text."""
    try:
        line = head.split(b"\n", 1)[0].decode("utf-8-sig").strip("\r")
    except UnicodeDecodeError:
        return []
    return [name.strip() for name in next(csv.reader([line]), [])]


def json_keys(head: bytes) -> set[str]:
    """Every key name in ``head`` when it begins like JSON; empty otherwise."""
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff \r\n\t")
    return set(_JSON_KEY.findall(text)) if text[:1] in ("{", "[") else set()


def at_row(path: Path, row: int) -> str:
    """``file, data row N (line M)``: the line is found by reading a CSV again, blank and quoted lines counted."""
    if head_of(path)[:4] == PARQUET_MAGIC:
        return f"{path}, data row {row}"
    with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors="replace", newline="") as text:
        reader = csv.reader(text)
        seen = -1
        for record in reader:
            seen += bool(record)
            if seen == row:
                return f"{path}, data row {row} (line {reader.line_num})"
    return f"{path}, data row {row}"


def csv_batches(path: Path, columns: list[str] | None, ragged: list[int]) -> Iterator[pa.RecordBatch]:
    """Record batches of ``path`` with every column as text (null where empty).

    Rows with too few or too many fields are left out and their data row numbers appended to ``ragged``; the caller
    decides whether that is an error. ``columns`` selects; None takes all.
    """
    def note(row: Any) -> str:
        ragged.append((row.number or 1) - 1)
        return "skip"

    names = csv_header(head_of(path))
    if not names or names == [""]:
        raise TraceError(f"{path}: is empty; expected a header line and at least one request")
    with open_bytes(path) as file:
        try:
            reader = pa.csv.open_csv(
                file,
                read_options=pa.csv.ReadOptions(
                    use_threads=False, block_size=_BLOCK_BYTES, column_names=names, skip_rows=1
                ),
                parse_options=pa.csv.ParseOptions(invalid_row_handler=note, newlines_in_values=True),
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), include_columns=columns,
                    strings_can_be_null=True, null_values=[""], quoted_strings_can_be_null=True,
                ),
            )  # fmt: skip
            while True:
                batch = reader.read_next_batch()
                if batch.num_rows:
                    yield batch
        except StopIteration:
            return
        except pa.ArrowInvalid as error:
            raise TraceError(f"{path}: is not a readable CSV file ({error})") from None


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """``(line number from 1, text)`` of every line that is not blank."""
    with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", errors="replace") as text:
        for number, line in enumerate(text, start=1):
            if not line.isspace():
                yield number, line
