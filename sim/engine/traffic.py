"""``Traffic``: transfers over links, on the clock. ``sim.links`` says how they share; here somebody comes back in time."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from sim.engine.clock import REPLICA, Clock, Moment
from sim.links.transfers import Link, Transfer, Transfers


class Load:
    """Something that travels, and is told of its arrival."""

    def arrived(self) -> None:
        """All of it is there."""


class Traffic:
    """Bytes under way; one timer for all of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._transfers = Transfers()
        self._plan = 0
        """Version of the timer; older ones in the heap are void."""

    def carry(self, size_bytes: float, path: Sequence[Link], limit_bytes_per_s: float = inf) -> Transfer:
        """Send ``size_bytes`` over ``path``; wait for it with ``yield transfer.owner``, an event."""
        return self._start(size_bytes, path, limit_bytes_per_s, self._clock.event())

    def send(
        self, size_bytes: float, path: Sequence[Link], limit_bytes_per_s: float, load: Load, begins_s: float = 0.0
    ) -> Transfer:
        """Likewise, from now or ``begins_s`` on; ``load`` is told of its arrival."""
        return self._start(size_bytes, path, limit_bytes_per_s, load, begins_s)

    def _start(
        self, size_bytes: float, path: Sequence[Link], limit_bytes_per_s: float, owner: Any, begins_s: float = 0.0
    ) -> Transfer:
        transfer = self._transfers.start(self._clock.now, size_bytes, path, limit_bytes_per_s, owner, begins_s)
        self._plan_next()
        return transfer

    def cancel(self, transfer: Transfer) -> None:
        """``transfer`` goes no further, and its event never comes."""
        self._transfers.cancel(self._clock.now, transfer)
        self._plan_next()

    def _plan_next(self) -> None:
        self._plan += 1
        end_s = self._transfers.next_end_s()
        if end_s < inf:
            self._clock.at(max(end_s, self._clock.now), REPLICA, self._on_end, self._plan)

    def _on_end(self, moment: Moment) -> None:
        if moment.value != self._plan:
            return
        for transfer in self._transfers.take_finished(self._clock.now):
            owner = transfer.owner
            if isinstance(owner, Load):
                owner.arrived()
            else:
                owner.succeed()
        self._plan_next()
