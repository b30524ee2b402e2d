"""Compressed files, undone on the way: gzip, Zstandard, xz, bzip2 and a zip with one file in it.

Nothing is unpacked to disk, and no file decides how much memory it takes: content comes in pieces, and a file that
unpacks to more than ``MOST_EXPANSION`` times its own size (beyond the first ``FREE_BYTES``) is refused. Traces shrink 3
to 30 times; what shrinks a thousand times holds nothing.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from sim.errors import TraceError

MOST_EXPANSION = 200
FREE_BYTES = 256 << 20
_MEMORY_BYTES = 256 << 20
"""Of xz's dictionary: ``xz -9`` needs 64 MiB."""
_PIECE_BYTES = 1 << 18


def unpacked(path: Path, file: IO[bytes], magic: bytes) -> IO[bytes]:
    """The content of the open ``file``, which begins with ``magic``; the file itself when it is not compressed.

    Raises:
        TraceError: a zip with none or several files in it; while it is read: damaged, or out of proportion.
    """
    for start, kind, opened in _KINDS:
        if magic.startswith(start):
            try:
                return io.BufferedReader(_Bounded(path, kind, opened(path, file), file), _PIECE_BYTES)
            except BaseException:
                file.close()
                raise
    return file


class _Bounded(io.RawIOBase):
    """What ``content`` gives, as long as it stays in proportion to the file."""

    def __init__(self, path: Path, kind: str, content: Any, file: IO[bytes]) -> None:
        self._path = path
        self._kind = kind
        self._content = content
        self._file = file
        self._most_bytes = max(FREE_BYTES, MOST_EXPANSION * path.stat().st_size)
        self._seen_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece: bytes = self._content.read(min(len(buffer), _PIECE_BYTES))
        except Exception as error:  # each codec has errors of its own; all of them mean this
            raise TraceError(f"{self._path}: is a damaged {self._kind} file ({error})") from None
        self._seen_bytes += len(piece)
        if self._seen_bytes > self._most_bytes:
            raise TraceError(
                f"{self._path}: unpacks to more than {MOST_EXPANSION} times its size (over {self._most_bytes >> 20} "
                f"MiB): no trace does; unpack it yourself if it is one"
            )
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._content.close()
            self._file.close()
        super().close()


class _Xz:
    """An xz file with a bound on its dictionary, which ``lzma.open`` does not have; several streams follow each other."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._file = file
        self._stream = lzma.LZMADecompressor(memlimit=_MEMORY_BYTES)

    def read(self, size: int) -> bytes:
        while True:
            if self._stream.eof:
                rest = self._stream.unused_data.lstrip(b"\0") or self._file.read(_PIECE_BYTES).lstrip(b"\0")
                if not rest:
                    return b""
                self._stream = lzma.LZMADecompressor(memlimit=_MEMORY_BYTES)
                piece = self._stream.decompress(rest, size)
            else:
                more = self._file.read(_PIECE_BYTES) if self._stream.needs_input else b""
                if self._stream.needs_input and not more:
                    raise EOFError("it ends before its end marker")
                piece = self._stream.decompress(more, size)
            if piece:
                return piece

    def close(self) -> None:
        """Nothing of its own is open."""


class _Zip:
    """The one file in a zip."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        try:
            archive = zipfile.ZipFile(file)
            names = [
                entry.filename for entry in archive.infolist()
                if not entry.is_dir() and not entry.filename.startswith("__MACOSX/")
            ]  # fmt: skip
            if len(names) != 1:
                raise TraceError(f"{path}: holds {len(names)} files; legal is a zip with one trace in it")
            self._content = archive.open(names[0])
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as error:  # RuntimeError: a password
            raise TraceError(f"{path}: is a zip that cannot be read ({error})") from None

    def read(self, size: int) -> bytes:
        return self._content.read(size)

    def close(self) -> None:
        self._content.close()


class _Zstd:
    """A Zstandard file; Arrow brings the codec."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._content = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")

    def read(self, size: int) -> bytes:
        return bytes(self._content.read(size))

    def close(self) -> None:
        self._content.close()


_KINDS: tuple[tuple[bytes, str, Callable[[Path, IO[bytes]], Any]], ...] = (
    (b"\x1f\x8b", "gzip", lambda path, file: gzip.GzipFile(fileobj=file)),
    (b"\x28\xb5\x2f\xfd", "Zstandard", _Zstd),
    (b"\xfd7zXZ\x00", "xz", _Xz),
    (b"BZh", "bzip2", lambda path, file: bz2.BZ2File(file)),
    (b"PK\x03\x04", "zip", _Zip),
)
