"""The clock: one heap of moments with absolute times and a named order at equal times; SimPy's processes run on it too.

The heap is ordered by (time, order, insertion). SimPy's own factories take delays, so a target time would be rounded
through ``now + delay``; engines need the exact time (integer nanoseconds, or floats that agree between skipping and
stepping). ``Clock.at`` therefore takes the time itself, and a ``Moment`` costs a third of a ``Timeout``.

``Clock`` offers what SimPy's events and processes ask of their environment (``schedule``, ``now``, ``active_process``), so
``clock.process(generator)`` is SimPy's ``Process`` with SimPy's semantics. It is a class of its own, not a subclass of
``simpy.Environment``, so that the loop can be compiled.

Times are floats of any unit. Integer nanoseconds below 2^53 (104 days) are exact in a float, so recordings need no type of
their own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Any, Final

import simpy

REPORT: Final = -1
COMPLETION: Final = 0
REPLICA: Final = 1
ARRIVAL: Final = 2
SCHEDULE: Final = 3
DEADLINE: Final = 4
"""Order of events at one moment: news of KV is heard with the step that ends then, a completion wins over its own timeout,
an arrival is seen by a step that is composed at that very moment. SimPy's own urgent and normal events share the places of
completions and replicas."""

_ORDER_BITS: Final = 52
"""Above the number of a moment stands its order."""


class Moment:
    """Something that is to happen. Hot moments are subclasses with a ``happen`` of their own."""

    __slots__ = ("callback", "value")

    def __init__(self, callback: Callable[[Any], None] | None = None, value: Any = None) -> None:
        self.callback = callback
        self.value = value
        """What ``Clock.at`` was given to hand over."""

    def happen(self) -> None:
        """Its time has come."""
        if self.callback is not None:
            self.callback(self)


class _SimpyEvent(Moment):
    """An event of SimPy's; ``value`` is the event."""

    __slots__ = ()

    def happen(self) -> None:
        """What ``simpy.Environment.step`` does with an event."""
        event = self.value
        callbacks = event.callbacks
        event.callbacks = None
        for callback in callbacks:
            callback(event)
        if not event._ok and not hasattr(event, "_defused"):
            raise event._value


class Clock:
    """The simulation's time and what is to come. ``now`` moves from moment to moment."""

    __slots__ = (
        "_active_proc", "_heap", "_number", "_stream", "_stream_key", "_stream_row", "_stream_time", "_stream_times",
        "_streamed", "now",
    )  # fmt: skip

    def __init__(self, initial_time: float = 0.0) -> None:
        self.now: float = initial_time
        self._heap: list[tuple[float, int, Moment]] = []
        self._number = 0
        self._stream: Moment | None = None
        self._stream_times: Sequence[float] = ()
        self._stream_row = 0
        self._stream_time = inf
        self._stream_key = 0
        self._streamed = 0
        self._active_proc: Any = None
        """SimPy's: the process that is being resumed."""

    # -- what engines, gateway and fleet use ---------------------------------------------------------------------------

    def at(self, time: float, order: int, callback: Callable[[Moment], None], value: Any = None) -> None:
        """Call ``callback(moment)`` at ``time`` (>= now), among equals by ``order``."""
        self.put(time, order, Moment(callback, value))

    def put(self, time: float, order: int, moment: Moment) -> None:
        """Let ``moment`` happen at ``time`` (>= now), among equals by ``order``."""
        number = self._number
        self._number = number + 1
        heappush(self._heap, (time, (order << _ORDER_BITS) + number, moment))

    def stream(self, times: Sequence[float], order: int, moment: Moment) -> None:
        """Let ``moment`` happen at each of ``times`` (ascending), as if every time had been put on the heap at the one
        before it. They need no place there."""
        assert self._stream is None, "a clock has one stream"
        self._stream = moment
        self._stream_times = times
        self._stream_key = order << _ORDER_BITS
        self._next_of_stream(0)

    def _next_of_stream(self, row: int) -> None:
        self._stream_row = row
        self._stream_time = self._stream_times[row] if row < len(self._stream_times) else inf
        self._stream_key = (self._stream_key >> _ORDER_BITS << _ORDER_BITS) + self._number
        self._number += 1
        self._streamed += 1

    @property
    def events_scheduled(self) -> int:
        """Moments ever put on the heap: the kernel's work."""
        return self._number - self._streamed

    def peek(self) -> float:
        """Time of the next moment, infinite when there is none."""
        heap = self._heap
        return min(heap[0][0], self._stream_time) if heap else self._stream_time

    def step(self) -> bool:
        """Let the next moment happen; False when there is none."""
        heap = self._heap
        stream = self._stream
        if stream is not None and self._stream_time < inf:
            time = self._stream_time
            first = heap[0][0] if heap else inf
            if time < first or (time == first and self._stream_key < heap[0][1]):
                self.now = time
                self._next_of_stream(self._stream_row + 1)
                stream.happen()
                return True
        if not heap:
            return False
        time, _, moment = heappop(heap)
        self.now = time
        moment.happen()
        return True

    def run(self) -> None:
        """Let everything happen."""
        while self.step():
            pass

    # -- what SimPy asks of an environment -----------------------------------------------------------------------------

    @property
    def active_process(self) -> Any:
        """The process that is being resumed, or None."""
        return self._active_proc

    def schedule(self, event: Any, priority: int = 1, delay: float = 0.0) -> None:
        """Put an event of SimPy's on the heap."""
        self.put(self.now + delay, priority, _SimpyEvent(None, event))

    def process(self, generator: Generator[Any, Any, Any]) -> simpy.Process:
        """A process that runs ``generator``."""
        environment: Any = self
        return simpy.Process(environment, generator)

    def timeout(self, delay: float, value: Any = None) -> simpy.Timeout:
        """An event ``delay`` from now."""
        environment: Any = self
        return simpy.Timeout(environment, delay, value)

    def event(self) -> simpy.Event:
        """An event for somebody to trigger."""
        environment: Any = self
        return simpy.Event(environment)
