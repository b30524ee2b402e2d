"""``DeadlineQueue``: one timer for all requests with the same timeout.

Requests that arrive in order and wait equally long give up in order: a FIFO with one event in the kernel, instead of a
process per request racing its completion against a timeout.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from sim.engine.clock import DEADLINE, Clock, Moment

T = TypeVar("T")


class DeadlineQueue(Generic[T]):
    """Calls ``expire(item)`` when an item's time is up, unless ``alive(item)`` says that nobody waits any more."""

    def __init__(self, clock: Clock, alive: Callable[[T], bool], expire: Callable[[T], None]) -> None:
        self._clock = clock
        self._alive = alive
        self._expire = expire
        self._items: deque[tuple[float, T]] = deque()
        self._armed = False

    def add(self, at_s: float, item: T) -> None:
        """Watch ``item``; ``at_s`` must not be before that of the item added last."""
        self._items.append((at_s, item))
        if not self._armed:
            self._arm()

    def _arm(self) -> None:
        items = self._items
        while items and not self._alive(items[0][1]):
            items.popleft()
        self._armed = bool(items)
        if items:
            self._clock.at(items[0][0], DEADLINE, self._on_deadline)

    def _on_deadline(self, _: Moment) -> None:
        items = self._items
        now = self._clock.now
        while items and items[0][0] <= now:
            item = items.popleft()[1]
            if self._alive(item):
                self._expire(item)
        self._arm()
