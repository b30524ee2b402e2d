"""A file to read a trace from: its bytes, its head, its lines; compression and UTF-16 are undone on the way.

Everything here streams, so a file far larger than the memory can be cut to a window. Text is UTF-8 (a byte-order mark
is passed over) or UTF-16, known by its mark or by its zero bytes; a byte that is neither is refused with its place, not
replaced. Errors name the file and the line.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sim.errors import TraceError
from sim.watch import watch_of_this_job
from sim.workload.packed import unpacked

PARQUET_MAGIC = b"PAR1"
LONGEST_LINE_BYTES = 4 << 20
"""Block hashes of a million tokens are half a megabyte."""
LARGEST_DOCUMENT_BYTES = 512 << 20
_HEAD_BYTES = 65_536
_PIECE_BYTES = 1 << 18
_JSON_KEY = re.compile(r'"([^"\\]+)"\s*:')


def open_bytes(path: Path) -> IO[bytes]:
    """The content of ``path`` from its beginning, decompressed, as it is stored otherwise.

    Raises:
        TraceError: no such file, a folder, or not readable.
    """
    try:
        if path.is_dir():
            raise TraceError(f"{path}: is a folder; expected a trace file")
        if path.exists() and not path.is_file():
            raise TraceError(f"{path}: is no regular file; expected a trace file")
        file = path.open("rb")
        watch_of_this_job().reads(path.name, path.stat().st_size, file.tell)
    except FileNotFoundError:
        raise TraceError(f"{path}: no such trace file") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise TraceError(f"{str(path)[:200]!r}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    return unpacked(path, file, file.peek(8)[:8])


def open_utf8(path: Path) -> IO[bytes]:
    """The text of ``path`` as UTF-8 bytes without a byte-order mark."""
    file = open_bytes(path)
    start = file.peek(64)[:64]  # type: ignore[attr-defined]
    if start.startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    elif encoding := _utf16(start):
        return io.BufferedReader(_Transcoded(path, file, encoding), _PIECE_BYTES)
    return file


def _utf16(start: bytes) -> str:
    """The UTF-16 that text begins with: by its mark, or because every other byte of its head is zero."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and len(start) % 2 == 0:
        return "utf-16"
    even, odd = start[0::2], start[1::2]
    if len(start) >= 8 and len(even) == len(odd):
        if not odd.strip(b"\0") and 0 not in even:
            return "utf-16-le"
        if not even.strip(b"\0") and 0 not in odd:
            return "utf-16-be"
    return ""


class _Transcoded(io.RawIOBase):
    """UTF-16 as UTF-8."""

    def __init__(self, path: Path, file: IO[bytes], encoding: str) -> None:
        self._path, self._file = path, file
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            piece = self._file.read(_PIECE_BYTES)
            self._ended = not piece
            try:
                self._ready = self._decoder.decode(piece, final=self._ended).encode()
            except UnicodeError as error:
                raise TraceError(f"{self._path}: is not UTF-16 throughout ({error})") from None
        given = self._ready[: len(buffer)]
        self._ready = self._ready[len(given) :]
        buffer[: len(given)] = given
        return len(given)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def head_of(path: Path) -> bytes:
    """The first 64 KiB of content, as UTF-8 where it is text: from it a format is recognised."""
    with open_utf8(path) as file:
        return file.read(_HEAD_BYTES)


def fingerprint(path: Path) -> dict[str, Any]:
    """``{"sha256", "bytes"}`` of the file as stored."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


def json_keys(head: bytes) -> set[str]:
    """Every key name in ``head`` when it begins like JSON; empty otherwise."""
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff \r\n\t")
    return set(_JSON_KEY.findall(text)) if text[:1] in ("{", "[") else set()


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """``(line number from 1, text)`` of every line that is not blank.

    Raises:
        TraceError: a line is too long, or holds bytes that are no text.
    """
    with open_utf8(path) as file:
        number = 0
        while line := file.readline(LONGEST_LINE_BYTES + 1):
            number += 1
            if len(line) > LONGEST_LINE_BYTES:
                raise too_long(path, number)
            if not line.isspace():
                yield number, decoded(path, line, number)


def too_long(path: Path, line: int) -> TraceError:
    """A line that no trace has."""
    return TraceError(f"{path}, line {line}: is longer than {LONGEST_LINE_BYTES >> 20} MiB; legal are lines of requests")


def decoded(path: Path, line: bytes, number: int) -> str:
    """The text of a line (or of lines that begin at ``number``)."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        at = number + line.count(b"\n", 0, error.start)
        column = error.start - line.rfind(b"\n", 0, error.start)
        raise TraceError(
            f"{path}, line {at}, byte {column}: {line[error.start : error.start + 1]!r} is no UTF-8; legal is text in "
            "UTF-8 or UTF-16"
        ) from None


def whole_text(path: Path) -> str:
    """All of a file that is one document.

    Raises:
        TraceError: it is larger than ``LARGEST_DOCUMENT_BYTES``, or no text.
    """
    with open_utf8(path) as file:
        content = file.read(LARGEST_DOCUMENT_BYTES + 1)
    if len(content) > LARGEST_DOCUMENT_BYTES:
        raise TraceError(f"{path}: is one document of more than {LARGEST_DOCUMENT_BYTES >> 20} MiB; write JSON lines")
    return decoded(path, content, 1)
