"""JSON as exports write it: objects a line, one list, one document, documents one after the other, pages of ``data``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sim.errors import TraceError
from sim.measured.json_keys import each_key_once
from sim.workload.formats.records import json_lines
from sim.workload.rows import Reading
from sim.workload.source import text_lines, whole_text

_DEEP = 60


def json_values(reading: Reading) -> Iterator[tuple[int, dict[str, Any]]]:
    """``(place, object)`` of everything that the file holds at its outermost level.

    Raises:
        TraceError: it is no JSON.
    """
    if _is_by_line(reading):
        yield from json_lines(reading)
        return
    reading.row_name = "object"
    text = whole_text(reading.path)
    decoder, at, number = json.JSONDecoder(object_pairs_hook=each_key_once), 0, 0
    while (at := _next(text, at)) < len(text):
        number += 1
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, at) + 1
            raise TraceError(f"{reading.path}, line {line}: is no JSON ({error})") from None
        if isinstance(value, dict):
            yield number, value
        else:
            reading.refuse(number, f"is {value!r:.60}; legal is an object", "no JSON object")


def _is_by_line(reading: Reading) -> bool:
    """Whether the first line is a value by itself (or the file a list, which is read whole)."""
    for _, line in text_lines(reading.path):
        if line.lstrip("\ufeff \t")[:1] == "[":
            return True
        try:
            json.loads(line)
        except (ValueError, RecursionError):
            return line.rstrip().endswith("}")  # a damaged line among lines; a document's first line stays open
        return True
    return True


def _next(text: str, at: int) -> int:
    """The place of the next value: past white space and commas between documents."""
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at


def paged(reading: Reading) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows, with pages of an API (``{"data": [...], "total_pages": ...}``) unfolded; places are rows then.

    Rows that stand on pages which are not in the file are counted as left out.
    """
    rows = missing = total = 0
    is_paged = False
    for place, entry in json_values(reading):
        held = entry.get("data")
        held = held.get("observations") if isinstance(held, dict) and "observations" in held else held
        if not isinstance(held, list):
            yield place, entry
            continue
        is_paged, reading.row_name = True, "row"
        of = entry.get("meta") if isinstance(entry.get("meta"), dict) else entry
        for name in ("total", "totalItems", "total_count"):
            if isinstance(of, dict) and isinstance(of.get(name), int):
                total = max(total, of[name])
        for row in held:
            rows += 1
            if isinstance(row, dict):
                yield rows, row
            else:
                reading.refuse(rows, f"is {row!r:.60}; legal is an object", "no JSON object")
    missing = total - rows
    if is_paged and missing > 0:
        reading.dropped["row on a page that is not in the file"] += missing


def mapping_of(value: Any) -> dict[str, Any]:
    """A mapping, also where a table holds it as JSON text; empty where it is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def flattened(data: Any, prefix: str = "", deep: int = 0) -> dict[str, Any]:
    """Nested mappings as one, with dots between the names."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, dict) and deep < _DEEP:
            found |= flattened(value, f"{prefix}{name}.", deep + 1)
        else:
            found[f"{prefix}{name}"] = value
    return found
