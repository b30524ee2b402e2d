"""Where a trace lies: a file, a folder, a glob, ``-`` for standard input, a pipe, an https address.

What cannot be read twice (input, pipes, addresses) is copied into the cache first, under a name that its content
decides: a run's configuration can name that copy, and a sweep's other processes can read it. Nothing but https is
loaded, at most ``MOST_BYTES``; ``#sha256=...`` at the end of an address says what the content must hash to.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import os
import select
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from sim.errors import OutputError, TraceError
from sim.workload.fetch import MOST_BYTES, cache_folder, load

FIRST_BYTE_S = 8.0
"""A pipe that nobody has opened for writing by then is given up."""
_NEXT_BYTE_S = 300.0
_PIECE_BYTES = 1 << 20


def located(place: str) -> list[Path]:
    """The files (or folders) that ``place`` names, in order of their names.

    Raises:
        TraceError: there is none, or it cannot be read.
    """
    if place == "-" or "://" in place:
        return [kept_copy(place)]
    path = Path(place)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if any(sign in place for sign in "*?["):
            found = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
            if found:
                return [path for path in found if path.is_file()] or found
            raise TraceError(f"{place}: no file matches") from None
        raise TraceError(f"{place}: no such trace file{_nearest(path)}") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise TraceError(f"{place[:200]!r}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return [kept_copy(place)]
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise TraceError(f"{place}: is no regular file; expected a trace file")
    return [path]


def _nearest(path: Path) -> str:
    """The files beside it whose names are nearly the same, as the end of a sentence."""
    try:
        names = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=2)
    return f"; did you mean {' or '.join(str(path.with_name(name)) for name in near)}?" if near else ""


def can_be_read_once(place: str) -> bool:
    """Whether ``place`` is an input, a pipe or an address, of which a copy has to be kept."""
    try:
        return place == "-" or "://" in place or stat.S_ISFIFO(Path(place).stat().st_mode)
    except (OSError, ValueError):
        return False


@functools.cache
def kept_copy(place: str) -> Path:
    """The copy in the cache of what can be read only once; this process reads it once."""
    if "://" in place:
        return _loaded(place)
    pieces = _standard_input() if place == "-" else _pipe(Path(place))
    folder = cache_folder() / "inputs"
    digest = hashlib.sha256()
    size = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False, suffix=".part") as copy:
            try:
                for piece in pieces:
                    size += len(piece)
                    if size > MOST_BYTES:
                        raise TraceError(f"{place}: is larger than {MOST_BYTES >> 30} GiB; write it to a file")
                    digest.update(piece)
                    copy.write(piece)
            except BaseException:
                Path(copy.name).unlink(missing_ok=True)
                raise
        kept = folder / f"input-{digest.hexdigest()[:16]}"
        Path(copy.name).replace(kept)
    except TraceError:
        raise
    except OSError as error:
        raise OutputError(f"{folder}: cannot keep a copy of {place} ({error.strerror or error})") from None
    print(f"{place}: {size:,} bytes, SHA-256 {digest.hexdigest()}, kept as {kept}", file=sys.stderr)
    return kept


def _standard_input() -> Iterable[bytes]:
    if sys.stdin.isatty():
        raise TraceError("-: standard input is a terminal; expected a trace piped into it")
    return iter(lambda: sys.stdin.buffer.read(_PIECE_BYTES), b"")


def _pipe(path: Path) -> Iterator[bytes]:
    """What comes out of a named pipe, waited for in bounds."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        began, seen = time.monotonic(), False
        while True:
            try:
                piece = os.read(descriptor, _PIECE_BYTES)
            except BlockingIOError:  # a writer is there and has nothing yet
                if not select.select([descriptor], [], [], _NEXT_BYTE_S)[0]:
                    raise TraceError(f"{path}: nothing came through the pipe for {_NEXT_BYTE_S:g} s") from None
                continue
            if piece:
                seen = True
                yield piece
            elif seen:
                return
            elif time.monotonic() - began > FIRST_BYTE_S:
                raise TraceError(f"{path}: nobody wrote into the pipe for {FIRST_BYTE_S:g} s")
            else:
                time.sleep(0.02)  # without a writer a pipe reads as ended
    finally:
        os.close(descriptor)


def _loaded(address: str) -> Path:
    """The content of an https address, loaded once into the cache."""
    url, _, expected = address.partition("#sha256=")
    name = Path(urlsplit(url).path).name or "trace"
    folder = cache_folder() / "addresses" / hashlib.sha256(url.encode()).hexdigest()[:16]
    kept = folder / "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)[-100:].lstrip(".")
    if not kept.is_file():
        load(url, kept, sha256=expected.lower() or None)
    with kept.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected and found != expected.lower():
        raise TraceError(f"{kept}: has SHA-256 {found}; expected {expected}")
    print(f"{url}: {kept.stat().st_size:,} bytes, SHA-256 {found}, kept as {kept}", file=sys.stderr)
    return kept
