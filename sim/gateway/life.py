"""``Life``: the generator that is a request's life, and its waits for news.

What SimPy's ``Process`` does, for the one shape that a gateway needs: a request waits at one place at a time, the first news
of a wait ends it, and the life goes on at that moment's turn, after the completions of the same time. So a try costs one
moment on the clock. It begins at once, where it is called.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from sim.engine.clock import REPLICA, Clock, Moment


class Life(Moment):
    """Runs ``stretch``, which yields where it waits and is sent the news."""

    __slots__ = ("_clock", "_stretch", "_waiting", "has_news", "waits")

    def __init__(self, clock: Clock, stretch: Generator[None, Any, None]) -> None:
        super().__init__()
        self._clock = clock
        self._stretch = stretch
        self.waits = 0
        """How often it has waited; tells the news of an old wait from those of the present one."""
        self._waiting = False
        self.has_news = False
        """It is about to go on."""

    def wait(self) -> None:
        """The stretch is about to yield."""
        self.waits += 1
        self._waiting = True

    def wake(self, news: Any) -> bool:
        """Go on with ``news``; False if it does not wait, or already has some."""
        if not self._waiting:
            return False
        self._waiting = False
        self.has_news = True
        self.value = news
        self._clock.put(self._clock.now, REPLICA, self)
        return True

    def happen(self) -> None:
        """See ``Moment``: the stretch goes on to its next wait, or to its end."""
        news = self.value
        self.value = None
        self.has_news = False
        try:
            self._stretch.send(news)
        except StopIteration:  # it has come to its end
            return
