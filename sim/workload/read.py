"""``read_trace``: any known trace file to a ``Trace``, its format recognised by content."""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sim.errors import SimError, TraceError
from sim.workload.formats import FORMATS, TraceFormat
from sim.workload.rows import Reading, assemble
from sim.workload.source import csv_header, head_of
from sim.workload.trace import Trace


def read_trace(path: str | Path, format: str = "auto", **options: Any) -> Trace:  # noqa: A002 - the key's own name
    """The requests of a trace file (or folder, for formats that are one).

    ``options`` are the fields of ``sim.workload.rows.Reading``: ``lenient``, ``columns``, ``until_s``, ...

    Raises:
        TraceError: no such file, no known format, or (strict) a row that cannot be used.
    """
    path = Path(path)
    reading = Reading(path, **options)
    try:
        found = _format_of(path, format, bool(reading.columns))
        trace = _assembled(found, reading)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TraceError(f"{path}: is a damaged gzip file ({error})") from None
    finish: Callable[[Trace], Trace] | None = getattr(found, "finish", None)
    return trace if finish is None else finish(trace)


def _assembled(found: TraceFormat, reading: Reading) -> Trace:
    try:
        return assemble(
            found.chunks(reading), reading, found.name, zero_based=found.zero_based, ordered=found.ordered
        )  # fmt: skip
    except SimError:
        raise
    except (TypeError, AttributeError, KeyError, ValueError, OverflowError) as error:
        if not reading.row_name:  # a table's values are checked one by one: this would be a defect
            raise
        raise TraceError(f"{reading.path}: has not the shape of the format {found.name} ({error})") from error


def _format_of(path: Path, name: str, mapped: bool) -> TraceFormat:
    if not path.exists():
        raise TraceError(f"{path}: no such trace file")
    if mapped and name == "auto":
        name = "columns"
    if name != "auto":
        for candidate in FORMATS:
            if candidate.name == name:
                return candidate
        raise TraceError(f"workload.format is {name!r}; legal are auto, {', '.join(known.name for known in FORMATS)}")
    head = b"" if path.is_dir() else head_of(path)
    for candidate in FORMATS:
        if candidate.matches(head, path):
            return candidate
    if path.is_dir():
        raise TraceError(f"{path}: is a folder, and of no format that is one; expected a trace file")
    if not head.strip():
        raise TraceError(f"{path}: is empty; expected at least one request")
    raise TraceError(
        f"{path}: is of no known format (it begins with {', '.join(csv_header(head))[:120]!r}); "
        f"a native trace has columns arrival_s, input_tokens, output_tokens; known are "
        f"{', '.join(known.name for known in FORMATS)}; any other CSV can be read with workload.columns"
    )


def reading_options(spec: Any) -> dict[str, Any]:
    """What ``spec`` (a ``WorkloadSpec``) says about reading, as options of ``read_trace``."""
    wanted = {field.name for field in dataclasses.fields(Reading)} - {"path", "dropped", "until_s", "seed"}
    return {name: getattr(spec, name) for name in wanted if hasattr(spec, name)}
