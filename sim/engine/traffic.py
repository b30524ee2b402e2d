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
        self.plan = 0
        """Version of the timer; older ones in the heap are void."""

    def carry(self, size_bytes: float, path: Sequence[Link], limit_bytes_per_s: float = inf) -> Transfer:
        """Send ``size_bytes`` over ``path``; wait for it with ``yield transfer.owner``, an event."""
        return self.send(size_bytes, path, limit_bytes_per_s, self._clock.event())

    def send(
        self,
        size_bytes: float,
        path: Sequence[Link],
        limit_bytes_per_s: float,
        load: Any,
        begins_s: float = 0.0,
        held_bytes: float = 0.0,
        held_until_s: float = 0.0,
    ) -> Transfer:
        """Send ``size_bytes`` from now or ``begins_s`` on, the last ``held_bytes`` not before ``held_until_s``; ``load``, a
        ``Load`` or an event, is told of its arrival."""
        transfer = self._transfers.start(
            self._clock.now, size_bytes, path, limit_bytes_per_s, load, begins_s, held_bytes, held_until_s
        )
        self._plan_next()
        return transfer

    def cancel(self, transfer: Transfer) -> None:
        """``transfer`` goes no further, and its event never comes."""
        self._transfers.cancel(self._clock.now, transfer)
        self._plan_next()

    def _plan_next(self) -> None:
        self.plan += 1
        end_s = self._transfers.next_end_s()
        if end_s < inf:
            self._clock.put(max(end_s, self._clock.now), REPLICA, Arrival(self))

    def arrive(self) -> None:
        """The timer is over: whatever is there now is told so."""
        for transfer in self._transfers.take_finished(self._clock.now):
            owner = transfer.owner
            if isinstance(owner, Load):
                owner.arrived()
            else:
                owner.succeed()
        self._plan_next()


class Arrival(Moment):
    """The timer of ``traffic``, void when its plan has changed."""

    __slots__ = ("plan", "traffic")

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self.traffic = traffic
        self.plan = traffic.plan

    def happen(self) -> None:
        """See ``Moment``."""
        if self.plan == self.traffic.plan:
            self.traffic.arrive()
