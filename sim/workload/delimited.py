"""Tables as text: comma, semicolon, tab or bar between fields, decimal point or comma, as Arrow record batches of text.

The header says which sign separates: the one that splits it into most names. Before Arrow parses a piece it is looked
through for what no request log means and parsers read in silence: a quote that is not closed on its line (it would
swallow the rows after it), bare carriage returns, NUL, bytes that are no UTF-8. Row numbers count data rows from 1.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from sim.errors import TraceError
from sim.workload.source import LONGEST_LINE_BYTES, PARQUET_MAGIC, decoded, head_of, open_utf8, too_long

_DELIMITERS = (",", ";", "\t", "|")
_PIECE_BYTES = 1 << 20
_WITH_SIGN = {",": re.compile(r"[-+]?[0-9.]*,[0-9]*"), ".": re.compile(r"[-+]?[0-9,]*\.[0-9]*")}
_GROUPS = {",": re.compile(r"[-+]?[1-9][0-9]{0,2}(,[0-9]{3})+"), ".": re.compile(r"[-+]?[1-9][0-9]{0,2}(\.[0-9]{3})+")}
_BARE_RETURN = re.compile(rb"\r(?!\n|\Z)")


def delimiter_of(head: bytes) -> str:
    """The sign that splits the first line of ``head`` into most names; a comma when none does."""
    line = _first_line(head)
    try:
        return max(_DELIMITERS, key=lambda sign: len(next(csv.reader([line], delimiter=sign), [])))
    except csv.Error:
        return ","


def csv_header(head: bytes) -> list[str]:
    """The column names in the first line of ``head``; empty when it is no text."""
    line = _first_line(head)
    try:
        names = next(csv.reader([line], delimiter=delimiter_of(head)), [])
    except csv.Error:
        return []
    return [name.strip() for name in names]


def _first_line(head: bytes) -> str:
    try:
        return head.split(b"\n", 1)[0].decode("utf-8-sig").strip("\r")
    except UnicodeDecodeError:
        return ""


def column_names(path: Path, head: bytes) -> list[str]:
    """The header's names.

    Raises:
        TraceError: there is none, it cannot be read, it has a name twice, or a line stands before it.
    """
    _look_through(path, head[: head.find(b"\n") + 1] or head, 1, delimiter_of(head))
    names = csv_header(head)
    if not names or names == [""]:
        raise TraceError(f"{path}: is empty; expected a header line and at least one request")
    first = _first_line(head)
    if first[:4].lower() == "sep=" or (first.startswith("#") and len(names) == 1):
        raise TraceError(f"{path}, line 1: {first[:60]!r} is no header; delete that line")
    refuse_twice(path, names)
    return names


def refuse_twice(path: Path, names: list[str]) -> None:
    """No table has one column twice: which is meant nobody knows."""
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise TraceError(f"{path}, header: has column {', '.join(twice)} more than once; legal is every name once")


def decimal_of(path: Path, columns: list[str], asked: str) -> str:
    """The decimal sign of ``columns`` (a time and whole numbers): as ``asked``, else a point where commas separate
    fields, else what the first rows show.

    Raises:
        TraceError: they show both, or cannot tell 1,234 from 1.234.
    """
    head = b"" if asked != "auto" else head_of(path)
    if asked != "auto" or head.startswith(PARQUET_MAGIC) or delimiter_of(head) == ",":
        return "." if asked == "auto" else asked
    text = head[: head.rfind(b"\n") + 1].decode("utf-8", errors="replace")
    names = csv_header(head)
    rows = list(csv.DictReader(text.splitlines()[1:], fieldnames=names, delimiter=delimiter_of(head)))
    votes, unclear = set(), False
    for place, column in enumerate(columns):
        for value in ((row.get(column) or "").strip() for row in rows):
            sign = next((sign for sign, form in _WITH_SIGN.items() if form.fullmatch(value)), None)
            if sign is None:
                continue
            if _GROUPS[sign].fullmatch(value) is None:
                votes.add(sign)
            elif place > 0 and sign == ",":
                votes.add(".")  # 1,191 tokens are whole: it separates thousands
            else:
                unclear |= sign == ","
    if len(votes) > 1:
        raise TraceError(f"{path}: numbers have decimal commas and decimal points; legal is one of them")
    if unclear and not votes:
        raise TraceError(f"{path}: is a comma as in 1,234 a decimal or a thousands sign? Say workload.decimal='.' or ','")
    return next(iter(votes), ".")


def at_row(path: Path, row: int) -> str:
    """``file, data row N (line M)``: the line is found by reading the file again, blank lines counted."""
    if head_of(path).startswith(PARQUET_MAGIC):
        return f"{path}, data row {row}"
    seen = -1
    with open_utf8(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE_BYTES), b""), start=1):
            seen += bool(line.strip(b"\r\n"))
            if seen == row:
                return f"{path}, data row {row} (line {number})"
    return f"{path}, data row {row}"


def at_line(path: Path, line: int) -> str:
    """``file, data row N (line M)`` of a line, the header being no data row."""
    with open_utf8(path) as file:
        before = itertools.islice(iter(lambda: file.readline(LONGEST_LINE_BYTES), b""), line)
        row = sum(bool(text.strip(b"\r\n")) for text in before) - 1
    return f"{path}, data row {row} (line {line})" if row > 0 else f"{path}, line {line}"


def csv_batches(path: Path, columns: list[str], ragged: list[int]) -> Iterator[pa.RecordBatch]:
    """Record batches of ``columns``, all text (null where empty).

    Rows with too few or too many fields are left out and their data row numbers appended to ``ragged``; the caller
    decides whether that is an error.
    """
    head = head_of(path)
    names = column_names(path, head)
    delimiter = delimiter_of(head)
    numbered = [str(place) for place in range(len(names))]  # names may be empty
    wanted = [str(names.index(name)) for name in columns]
    converted = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(numbered, pa.string()), include_columns=wanted, strings_can_be_null=True,
        null_values=[""], quoted_strings_can_be_null=True, check_utf8=False,
    )  # fmt: skip
    skipped = False

    def skip(row: Any) -> str:
        nonlocal skipped
        skipped = True
        return "skip"

    parsed = pa.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip)
    read = pa.csv.ReadOptions(use_threads=False, block_size=1 << 30, column_names=numbered)
    rows = 0
    # Each piece is parsed from memory: Arrow's own streaming reads ahead in a thread that outlives what it reads for.
    for piece in _pieces(path, delimiter):
        try:
            batch = pa.csv.read_csv(pa.py_buffer(piece), read, parsed, converted)
        except pa.ArrowInvalid as error:
            raise TraceError(f"{path}, data row {rows + 1} or after it: is no readable CSV ({error})") from None
        before = len(ragged)
        if skipped:
            lines = (text for line in piece.decode().split("\n") if (text := line.removesuffix("\r")))
            fields = (len(next(csv.reader([line], delimiter=delimiter))) for line in lines)
            ragged += [rows + place for place, count in enumerate(fields, start=1) if count != len(names)]
            skipped = False
        rows += batch.num_rows + len(ragged) - before
        for part in batch.to_batches():
            yield pa.RecordBatch.from_arrays(part.columns, names=columns)


def _pieces(path: Path, delimiter: str) -> Iterator[bytes]:
    """The lines after the header in pieces of whole lines, each looked through before a parser sees it."""
    with open_utf8(path) as file:
        line = file.readline(LONGEST_LINE_BYTES).count(b"\n") + 1
        rest = b""
        while piece := file.read(_PIECE_BYTES):
            whole = rest + piece
            end = whole.rfind(b"\n") + 1
            rest = whole[end:]
            if len(rest) > LONGEST_LINE_BYTES:
                raise too_long(path, line + whole.count(b"\n", 0, end))
            if end:
                yield from _sound(path, whole[:end], line, delimiter)
                line += whole.count(b"\n", 0, end)
        yield from _sound(path, rest, line, delimiter)


def _sound(path: Path, text: bytes, line: int, delimiter: str) -> Iterator[bytes]:
    """``text`` itself, looked through; nothing where there is nothing but line ends."""
    _look_through(path, text, line, delimiter)
    if text.strip(b"\r\n"):
        yield text


def _look_through(path: Path, text: bytes, line: int, delimiter: str) -> None:
    """Refuses what is wrong in whole lines that begin at ``line``."""

    def refuse(at: int, why: str) -> None:
        raise TraceError(f"{at_line(path, line + text.count(bytes([10]), 0, at))}: {why}")

    if not text.isascii():
        decoded(path, text, line)
    if b"\0" in text:
        refuse(text.index(b"\0"), "holds a NUL byte; legal is text")
    if b"\r" in text and (bare := _BARE_RETURN.search(text)):
        refuse(bare.start(), "has a bare carriage return; legal line ends are LF and CR LF")
    if b'"' in text:
        between = re.escape(delimiter.encode())
        closed = rb'(?<![^\r\n%b])"(?:[^"\r\n]|"")*"(?=[\r\n%b]|\Z)' % (between, between)
        opened = re.search(rb'(?<![^\r\n%b])"' % between, re.sub(closed, lambda found: b"." * len(found[0]), text))
        if opened:
            refuse(
                opened.start(), "a quote opens and is not closed before the next field or the line's end; legal is a "
                'quoted field on one line, with "" for a quote in it'
            )  # fmt: skip
