"""``read_trace``: any known trace file to a ``Trace``, its format recognised by content.

Here lies the one boundary of all readers: whatever a file makes one of them raise becomes a ``TraceError`` with the file,
the place and the reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sim.errors import SimError, TraceError
from sim.workload.delimited import column_names
from sim.workload.formats import FORMATS, TraceFormat
from sim.workload.places import located
from sim.workload.rows import Chunk, Reading, assemble
from sim.workload.source import head_of
from sim.workload.trace import Trace


def read_trace(path: str | Path, format: str = "auto", **options: Any) -> Trace:  # noqa: A002 - the key's own name
    """The requests of a trace: a file, a folder, a glob of files, ``-``, a pipe or an https address.

    ``options`` are the fields of ``sim.workload.rows.Reading``: ``lenient``, ``columns``, ``until_s``, ...

    Raises:
        TraceError: no such file, no known format, or (strict) a row that cannot be used.
    """
    reading = Reading(Path(path), **options)
    found: TraceFormat | None = None
    try:
        files = located(str(path))
        found, files = _format_of(files, format, bool(reading.columns), reading)
        reading.enough = reading.enough if len(files) == 1 else None
        trace = assemble(
            _parts(found, files, reading), reading, found.name, zero_based=found.zero_based, ordered=found.ordered
        )  # fmt: skip
        finish: Callable[[Trace], Trace] | None = getattr(found, "finish", None)
        return trace if finish is None else finish(trace)
    except (SimError, NameError, ImportError):  # the last two are no file's fault
        raise
    except MemoryError as error:
        raise TraceError(f"{_named(path)}: needs more memory than there is") from error
    except Exception as error:
        place = f", at {reading.row_name or 'data row'} {reading.last_row} or after it" if reading.last_row else ""
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        what = "cannot be read as a trace" if found is None else f"has not the shape of the format {found.name}"
        raise TraceError(f"{_named(path)}{place}: {what} ({reason:.500})") from error


def files_to_read(path: str | Path, format: str = "auto", *, mapped: bool = False) -> list[Path]:  # noqa: A002
    """The files (or folders that are a format) that reading ``path`` opens.

    Raises:
        TraceError: as ``read_trace`` does for what is not there or of no format.
    """
    try:
        return _format_of(located(str(path)), format, mapped, Reading(Path(path)))[1]
    except OSError as error:
        raise TraceError(f"{_named(path)}: cannot be read ({error.strerror or error})") from None


def _parts(found: TraceFormat, files: list[Path], reading: Reading) -> Iterator[tuple[Reading, Iterable[Chunk]]]:
    """Each file's own reading, with what the files share: counts, notes, and the time that stamps are counted from."""
    for path in files:
        part = dataclasses.replace(reading, path=path)
        yield part, _watched(found.chunks(part), part, reading)
        reading.origin_ns = part.origin_ns


def _watched(chunks: Iterable[Chunk], part: Reading, reading: Reading) -> Iterator[Chunk]:
    """``chunks``; where their reader stands is noted for the boundary."""
    try:
        yield from chunks
    except Exception:
        reading.row_name, reading.last_row = part.row_name, part.last_row
        raise


def _named(path: str | Path) -> str:
    text = str(path)
    return text if len(text) <= 300 and text.isprintable() else repr(text)[:300]


def _format_of(
    files: list[Path], name: str, mapped: bool, reading: Reading
) -> tuple[TraceFormat, list[Path]]:  # fmt: skip
    """The format of ``files`` and those that are of it: a folder that is no format itself stands for its files."""
    if mapped and name == "auto":
        name = "columns"
    if name != "auto" and name not in (known.name for known in FORMATS):
        raise TraceError(f"workload.format is {name!r}; legal are auto, {', '.join(known.name for known in FORMATS)}")
    folders = [path for path in files if path.is_dir()]
    if not folders or (name == "auto" and len(files) == 1 and _recognised(files[0]) is not None):
        kinds = [_one_format(path, name) for path in files]
    else:
        files = _inside(folders, reading) + [path for path in files if not path.is_dir()]
        kinds = [_one_format(path, name) for path in files]
    for path, kind in zip(files, kinds, strict=True):
        if kind is not kinds[0]:
            raise TraceError(
                f"{path}: is of the format {kind.name}, {files[0]} of {kinds[0].name}; legal are files of one format"
            )
    if len(files) > 1:
        reading.notes.append(f"{len(files)} files were merged by time")
    return kinds[0], files


def _inside(folders: list[Path], reading: Reading) -> list[Path]:
    """The traces among a folder's files; the others are named."""
    inside = sorted(path for folder in folders for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    traces = [path for path in inside if _recognised(path) is not None or reading.columns]
    skipped = [path.name for path in inside if path not in traces]
    if not traces:
        raise TraceError(f"{folders[0]}: is a folder, and of no format that is one; it holds no file of a known format")
    if skipped:
        reading.notes.append(f"skipped in the folder: {', '.join(skipped[:10])}{' ...' if len(skipped) > 10 else ''}")
    return traces


def _recognised(path: Path) -> TraceFormat | None:
    head = b"" if path.is_dir() else head_of(path)
    return next((candidate for candidate in FORMATS if candidate.matches(head, path)), None)


def _one_format(path: Path, name: str) -> TraceFormat:
    found = _recognised(path) if name == "auto" else next(known for known in FORMATS if known.name == name)
    if found is not None:
        return found
    head = b"" if path.is_dir() else head_of(path)
    if path.is_dir():
        raise TraceError(f"{path}: is a folder, and of no format that is one; expected a trace file")
    if not head.strip():
        raise TraceError(f"{path}: is empty; expected at least one request")
    try:
        seen = f"it begins with {', '.join(column_names(path, head))[:120]!r}"
    except TraceError as error:
        seen = str(error)
    raise TraceError(
        f"{path}: is of no known format ({seen}); a native trace has columns arrival_s, input_tokens, output_tokens; known "
        f"are {', '.join(known.name for known in FORMATS)}; any other table can be read with workload.columns (--columns)"
    )


def reading_options(spec: Any) -> dict[str, Any]:
    """What ``spec`` (a ``WorkloadSpec``) says about reading, as options of ``read_trace``."""
    own = {"path", "dropped", "unusable", "notes", "until_s", "seed", "enough", "row_name", "last_row", "origin_ns",
           "across"}  # fmt: skip
    wanted = {field.name for field in dataclasses.fields(Reading)} - own
    return {name: getattr(spec, name) for name in wanted if hasattr(spec, name)}
