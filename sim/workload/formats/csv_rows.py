"""Exports that come as JSON or as a table with the same names: the table's rows as mappings.

Cells of such exports hold JSON and text of any kind, line breaks included, so they are read by Python's own reader in
its strict mode: a quote that does not close, or closes in the middle of a field, is an error.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from sim.errors import TraceError
from sim.workload.delimited import csv_header, delimiter_of
from sim.workload.rows import Reading
from sim.workload.source import head_of, open_utf8

_LONGEST_CELL = 16 << 20


def csv_columns(head: bytes) -> list[str]:
    """The names in the first line; empty where it is no such table."""
    return [] if head.lstrip()[:1] in (b"{", b"[") else csv_header(head)


def csv_dicts(reading: Reading) -> Iterator[tuple[int, dict[str, Any]]] | None:
    """``(line, row)`` of a table; None where the file is none."""
    if not csv_columns(head_of(reading.path)):
        return None
    reading.row_name = "line"
    return _rows(reading)


def _rows(reading: Reading) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(min(_LONGEST_CELL, sys.maxsize))
    delimiter = delimiter_of(head_of(reading.path))
    with io.TextIOWrapper(open_utf8(reading.path), encoding="utf-8", newline="") as file:
        rows = csv.reader(_sound(reading, file), strict=True, delimiter=delimiter)
        line = 1
        try:
            names = [name.strip() for name in next(rows, [])]
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise TraceError(f"{reading.path}: has the column {twice} twice")
            line = rows.line_num + 1
            for fields in rows:
                if fields and len(fields) == len(names):
                    yield line, dict(zip(names, fields, strict=True))
                elif fields:
                    reading.refuse(line, f"has {len(fields)} fields; legal are {len(names)}", "another number of fields")
                line = rows.line_num + 1
        except (csv.Error, UnicodeDecodeError) as error:
            raise TraceError(f"{reading.path}, line {line}: is no readable row ({error})") from None


def _sound(reading: Reading, file: Iterable[str]) -> Iterator[str]:
    """The lines of ``file``; NUL bytes, which Python's reader takes for text, are refused."""
    for number, line in enumerate(file, start=1):
        if "\0" in line:
            raise TraceError(f"{reading.path}, line {number}: holds a NUL byte; legal is text")
        yield line
