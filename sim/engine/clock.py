"""The clock: a SimPy environment with absolute times, a named order at equal times, and light events.

SimPy's heap is ordered by (time, priority, insertion). Its own factories take delays, so a target time would be rounded
through ``now + delay``; engines need the exact time (integer nanoseconds, or floats that agree between skipping and
stepping). ``Clock.at`` therefore pushes its own callback event, and takes a third of a ``Timeout``'s time doing so.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import Any

import simpy

COMPLETION, REPLICA, ARRIVAL, SCHEDULE, DEADLINE = range(5)
"""Order of events at one moment: a completion wins over its own timeout, an arrival is seen by a step that is composed at
that very moment. SimPy's own urgent and normal events share the first two places."""


class Moment:
    """A callback at a time: the least that SimPy's loop accepts as an event."""

    __slots__ = ("_ok", "_value", "callbacks")

    def __init__(self, callback: Callable[[Any], None], value: Any) -> None:
        self.callbacks = [callback]
        self._ok = True
        self._value = value

    @property
    def value(self) -> Any:
        """What ``Clock.at`` was given to hand over."""
        return self._value


class Clock(simpy.Environment):
    """A SimPy environment; ``events_processed`` counts what its loop has handled."""

    def at(self, time: float, order: int, callback: Callable[[Moment], None], value: Any = None) -> None:
        """Call ``callback(moment)`` at ``time`` (>= now), among equals by ``order``."""
        heappush(self._queue, (time, order, next(self._eid), Moment(callback, value)))  # type: ignore[misc]

    @property
    def events_scheduled(self) -> int:
        """Events ever put on the heap: the kernel's work."""
        return int(repr(self._eid)[6:-1])
