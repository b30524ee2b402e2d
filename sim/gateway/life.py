"""``Life``: the generator that is a request's life, and its waits: it yields where it waits, and finds what ended that in
``news``.

What SimPy's ``Process`` does, for the one shape that a gateway needs: a request waits at one place at a time, the first news
of a wait ends it, and the life goes on at that moment's turn, after the completions of the same time; or at once, where
nothing comes after it but the end. So a try costs one moment on the clock, or none. It begins at once, where it is called.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from sim.engine.clock import REPLICA, Clock, Moment


class Life(Moment):
    """Runs ``stretch``."""

    __slots__ = ("_clock", "_stretch", "_waiting", "has_news", "news", "waits")

    def __init__(self, clock: Clock, stretch: Generator[None, None, None]) -> None:
        super().__init__()
        self._clock = clock
        self._stretch = stretch
        self.waits = 0
        """How often it has waited; tells the news of an old wait from those of the present one."""
        self._waiting = False
        self.news: Any = None
        """What ended its latest wait."""
        self.has_news = False
        """It is about to go on."""

    def wait(self) -> None:
        """The stretch is about to yield."""
        self.waits += 1
        self._waiting = True

    def wake(self, news: Any, at_once: bool = False) -> bool:
        """Go on with ``news``; False if it does not wait, or already has some. ``at_once``: before everything else of this
        moment, which must not concern whoever brings the news."""
        if not self._waiting:
            return False
        self._waiting = False
        self.news = news
        if at_once:
            self.happen()
        else:
            self.has_news = True
            self._clock.put(self._clock.now, REPLICA, self)
        return True

    def happen(self) -> None:
        """See ``Moment``: the stretch goes on to its next wait, or to its end."""
        self.has_news = False
        next(self._stretch, None)
