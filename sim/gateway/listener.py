"""Whom the dispatcher tells how attempts end. Not compiled, so that any class may be one."""

from __future__ import annotations

from sim.gateway.request import Attempt


class AttemptListener:
    """Told how attempts that somebody waits for ended."""

    def began(self, attempt: Attempt) -> None:
        """The first token of an attempt that ``announces`` it is there."""

    def answered(self, attempt: Attempt) -> None:
        """The whole answer is there."""

    def lost(self, attempt: Attempt) -> None:
        """The server died with it."""

    def room_made(self) -> None:
        """An attempt has left a server, whether or not somebody waited for it."""
