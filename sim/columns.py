"""Columns that a run fills, a number a request: in memory, or in files where there are very many requests.

A file is mapped into memory: whoever writes or reads a column cannot tell where it lies. ``let_go`` gives back the memory of
what was written so far; the next look at it comes from the file. The files are without a name in the temporary folder
(``TMPDIR``) and end with the run's result.
"""

from __future__ import annotations

import mmap
import tempfile
from array import array
from collections.abc import Iterator
from typing import Any, Final, TypeAlias
from weakref import WeakSet

import numpy as np

Column: TypeAlias = "array[Any] | memoryview[Any]"
SLICE: Final = 1 << 20
"""Rows that are worked on together where whole columns would not fit into memory."""


class Columns:
    """Columns of ``rows`` numbers."""

    def __init__(self, rows: int, in_files: bool = False) -> None:
        self.rows = rows
        self.in_files = in_files and rows > 0

    def of(self, kind: str, value: float = 0, times: int = 1) -> Column:
        """A column of the ``array`` type ``kind`` that holds ``value`` everywhere, ``times`` one behind another."""
        if not self.in_files:
            return array(kind, [value]) * (self.rows * times)
        size = array(kind).itemsize * self.rows * times
        with tempfile.TemporaryFile(prefix="servecap-") as file:
            file.truncate(size)
            space = mmap.mmap(file.fileno(), size)
        _SPACES.add(space)
        column: Column = memoryview(space).cast(kind)  # type: ignore[call-overload]
        if value:
            numbers = np.frombuffer(column, dtype=kind)
            for here in slices(len(numbers)):
                numbers[here] = value
        return column

    def copied(self, kind: str, values: np.ndarray) -> Column:
        """A column that holds ``values``."""
        column = self.of(kind)
        numbers = np.frombuffer(column, dtype=kind)
        for here in slices(self.rows):
            numbers[here] = values[here]
        return column


_SPACES: WeakSet[mmap.mmap] = WeakSet()
"""The files that columns of this process lie in."""


def let_go() -> None:
    """Keep nothing of the columns that lie in files in memory but what is used from now on."""
    if hasattr(mmap, "MADV_DONTNEED"):
        for space in _SPACES:
            space.madvise(mmap.MADV_DONTNEED)


def slices(rows: int) -> Iterator[slice]:
    """All ``rows``, a slice after the other; between them, what was looked at in columns that lie in files is let go."""
    for low in range(0, rows, SLICE):
        yield slice(low, min(low + SLICE, rows))
        let_go()


def where(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``values[mask]``, without a copy where that is all of them."""
    return values if mask.all() else values[mask]
