"""What a long job is at: told by the job in passing, read by whoever shows it from another thread.

A ``Watch`` is found where the job runs in a context that has one (``with watching() as watch:``); without one nothing is
told. Telling costs nothing: the job leaves what can be looked at (a clock, a count of open requests, a place in a file),
and only the reader looks, a few times a second. Nothing that is computed depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_BYTES_SHOWN = 16 << 20
"""Smaller files are read before anybody looks."""


class Watch:
    """One job's progress. Attributes are set by the job, one at a time."""

    def __init__(self) -> None:
        self.part = ""
        """Of a job of several parts (options, sides, cases) the one in work, e.g. ``option 2 of 5, api``."""
        self.doing = ""
        """What is done now, e.g. ``6 replicas``."""
        self.silent = False
        """Whoever started the job wants to read nothing of its progress."""
        self.points = 0
        """Simulations that a search has finished."""
        self._run: tuple[Callable[[], tuple[float, int]], float, int, float] | None = None
        self._file: tuple[str, int, Callable[[], int]] | None = None

    def run_begins(self, look: Callable[[], tuple[float, int]], span_s: float, requests: int) -> None:
        """A simulation begins; ``look`` tells its time and its open requests, arrivals end at ``span_s``."""
        self._run = look, span_s, requests, time.monotonic()

    def run_ends(self) -> None:
        """The simulation is over."""
        self._run = None

    def reads(self, name: str, size_bytes: int, place: Callable[[], int]) -> None:
        """A file is read; ``place`` tells how many of its bytes already."""
        self._file = name, size_bytes, place

    def line(self) -> str:
        """What the job is at, in one line; empty where it has not said."""
        return ": ".join(filter(None, (self.part, self._search(), self._simulation() or self._reading())))

    def _search(self) -> str:
        told = f"point {self.points + 1}" if self.points else ""
        return ", ".join(filter(None, (told, self.doing)))

    def _simulation(self) -> str:
        if self._run is None:
            return ""
        look, span_s, requests, began = self._run
        now_s, still_open = look()
        done = requests - still_open
        words = f"{done:,} of {requests:,} requests, {min(now_s, span_s):,.0f} of {span_s:,.0f} s simulated"
        if 0 < done < requests:
            words += f", about {_duration((time.monotonic() - began) * still_open / done)} left of this run"
        return words

    def _reading(self) -> str:
        if self._file is None:
            return ""
        name, size, place = self._file
        try:
            read = place()
        except (OSError, ValueError):  # closed: it has been read
            return ""
        return f"reading {name}, {read / 1e6:,.0f} of {size / 1e6:,.0f} MB" if size >= _BYTES_SHOWN else ""


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


_current: ContextVar[Watch | None] = ContextVar("servecap_watch", default=None)


@contextmanager
def watching() -> Iterator[Watch]:
    """A ``Watch`` that every job of this context tells its progress to."""
    watch = Watch()
    token = _current.set(watch)
    try:
        yield watch
    finally:
        _current.reset(token)


def watch_of_this_job() -> Watch:
    """The context's watch; one that nobody reads where there is none."""
    return _current.get() or Watch()
