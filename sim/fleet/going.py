"""``Going``: every way in which a server goes.

    ready -> draining -> gone | asleep
    any   -> dead     -> gone, once the death is known

The bill runs until gone.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from sim.engine.clock import REPLICA, Moment
from sim.fleet.roster import Roster
from sim.fleet.server import Server
from sim.spec import FleetSpec

DRAIN_CHECK_S = 1.0
"""A draining server is looked at so often; its end is up to this late."""


class Going:
    """Retires servers, and lets them die."""

    def __init__(self, roster: Roster, spec: FleetSpec) -> None:
        self.roster = roster
        self._clock = roster.clock
        self._drain_timeout_s = spec.drain_timeout_s
        self._detect_s = spec.failures.detect_s
        self._warm = {name: pool.warm_replicas for name, pool in spec.all_pools().items()}

    def retire(self, server: Server, cause: str) -> None:
        """No new requests; it goes (or goes to sleep) when it has finished what it holds."""
        if server.state != "ready":
            self.bury(server, "cancelled" if server.starting else cause)
            return
        self.roster.leaving(server)
        server.enter("draining", self._clock.now)
        self.roster.event("drain", cause, pool=server.pool, replica=server.name, requests=server.requests_in_flight)
        self._clock.process(self._drain(server))

    def _drain(self, server: Server) -> Generator[simpy.Event, Any, None]:
        deadline_s = self._clock.now + self._drain_timeout_s
        while (
            (server.requests_in_flight or server.handoffs)
            and self._clock.now < deadline_s
            and server.state == "draining"
        ):
            yield self._clock.timeout(DRAIN_CHECK_S)
        if server.state != "draining":
            return
        others = self.roster.pools[server.pool].alive
        asleep, newest = sum(s.state == "asleep" for s in others), max(s.version for s in others)
        wanted = asleep < self._warm[server.pool] and not server.doomed and server.version == newest
        if wanted and not server.requests_in_flight:
            server.enter("asleep", self._clock.now)
            for engine in server.engines:
                engine.scheduler.pool.clear()  # vLLM's sleep level 1 keeps the weights (in host memory), not the KV
        else:
            self.bury(server, "drained" if not server.requests_in_flight else "drain timeout")

    def lose(
        self, server: Server, cause: str, repair: str = "replace", *, announced: bool = False, taken: bool = False
    ) -> None:
        """The server dies now with all it holds. Who was ``announced`` to go is given up at once, others once their death is
        detected: until then the gateway sends to them in vain, and nothing is repaired. The bill runs on, unless the
        machine was ``taken``."""
        if server.state in ("dead", "gone"):
            return
        now = self._clock.now
        self.roster.event("lost", cause, pool=server.pool, replica=server.name, requests=server.requests_in_flight)
        server.doomed = True
        server.broken = repair != "restart"
        if server.machine.state == "up" and taken:
            server.machine.state = "leaving"
        server.enter("dead", now)
        self._stop(server)
        if announced or self._detect_s <= 0:
            self._give_up(server, cause, repair)
            return
        if taken:
            server.end_bill(now)
        self._clock.at(now + self._detect_s, REPLICA, self._detected, (server, cause, repair))

    def _detected(self, moment: Moment) -> None:
        self._give_up(*moment.value)

    def _give_up(self, server: Server, cause: str, repair: str) -> None:
        self.bury(server, cause)
        self.roster.given_up(server, cause, repair)

    def _stop(self, server: Server) -> None:
        held = server.replica.stop()
        if held:
            server.replica.listener.evicted(held)

    def bury(self, server: Server, cause: str) -> None:
        """The end: the machine is handed back and its bill stops."""
        if server.state == "gone":
            return
        now = self._clock.now
        self.roster.endpoints.leave(server)
        if not server.replica.stopped:
            self._stop(server)
        server.enter("gone", now)
        server.stopped_s = now
        server.end_bill(now)
        self.roster.remove(server)
        self.roster.event("gone", cause, pool=server.pool, replica=server.name)
