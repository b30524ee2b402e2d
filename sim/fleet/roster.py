"""``Roster``: every server that exists or did, by pool. It knows no policy; policies listen to what happens to servers."""

from __future__ import annotations

from typing import Any

from sim.engine.clock import Clock
from sim.fleet.endpoints import Endpoints
from sim.fleet.machine import Machine
from sim.fleet.server import Server
from sim.record import Recorder
from sim.spec import Scenario


class LifeListener:
    """Told of the moments of servers' lives. Does nothing: a listener overrides what concerns it."""

    def machine_runs(self, server: Server) -> None:
        """The machine of ``server`` is up: from now on it may fail or be taken."""

    def became_ready(self, server: Server) -> None:
        """``server`` has come up and takes requests."""

    def leaving(self, server: Server) -> None:
        """``server`` takes no more requests, and is about to finish what it holds."""

    def gone(self, server: Server) -> None:
        """``server`` was handed back."""

    def given_up(self, server: Server, cause: str, repair: str) -> None:
        """The death of ``server`` is known and its machine handed back; ``repair`` as in ``ReplicaLoss``."""


class Members:
    """The servers of one pool."""

    __slots__ = ("_gone_attempts", "alive", "index", "name", "ready", "successors", "wanted")

    def __init__(self, name: str, index: int, wanted: int, ready: list[Server]) -> None:
        self.name = name
        self.index = index
        self.wanted = wanted
        """Servers that there should be."""
        self.alive: list[Server] = []
        """Those that are not gone, in order of creation."""
        self.ready = ready
        """Those that take requests now."""
        self.successors: set[Server] = set()
        """Servers that are coming to take another's place: until they are ready they are beside what is wanted."""
        self._gone_attempts = 0

    def live(self) -> list[Server]:
        """Servers that count as capacity, now or soon: starting or ready, and not about to be taken."""
        return [s for s in self.alive if not s.doomed and (s.starting or s.state == "ready")]

    def up(self) -> list[Server]:
        """Ready servers that answer when their metrics are read."""
        return [server for server in self.ready if server.state == "ready"]

    def attempts(self) -> int:
        """Attempts sent to servers of the pool so far."""
        return self._gone_attempts + sum(server.attempts for server in self.alive)

    def remove(self, server: Server) -> None:
        """``server`` is gone."""
        self.alive.remove(server)
        self.successors.discard(server)
        self._gone_attempts += server.attempts

    def in_zone(self, zone: str) -> int:
        """How many spot machines are held in ``zone``."""
        return len(self.spot_machines(zone))

    def spot_machines(self, zone: str) -> list[Machine]:
        """Spot machines held in ``zone``, in order of their first server."""
        held = (s for s in self.alive if s.zone == zone and s.market == "spot" and s.holds_machine)
        return list(dict.fromkeys(server.machine for server in held))


class Roster:
    """The servers of a fleet."""

    def __init__(self, clock: Clock, scenario: Scenario, recorder: Recorder) -> None:
        self.clock = clock
        pools = scenario.fleet.all_pools()
        endpoints = self.endpoints = Endpoints(pools)
        self._recorder = recorder
        self.servers: list[Server] = []
        """Every server that ever existed, by index."""
        self.pools = {
            name: Members(name, index, pool.begins_with(scaled=scenario.scales(pool)), endpoints.of(name))
            for index, (name, pool) in enumerate(pools.items())
        }
        self.dark_zones: dict[str, int] = {}
        """Zone -> outages under way there: no machine of any market comes up in it."""
        self.lost_zones: set[str] = set()
        """Those that never come back."""
        self._listeners: list[LifeListener] = []

    def listen(self, listener: LifeListener) -> None:
        """``listener`` is told from now on, after those that came before it."""
        self._listeners.append(listener)

    def event(self, event: str, cause: str, **details: Any) -> None:
        """A line for the records."""
        self._recorder.event(self.clock.now, event, cause, **details)

    def gpus(self) -> int:
        """GPUs held or asked for."""
        return sum(server.gpus for pool in self.pools.values() for server in pool.alive)

    # -- moments of a server's life ------------------------------------------------------------------------------------

    def add(self, server: Server) -> None:
        """``server`` exists from now on."""
        self.servers.append(server)
        self.pools[server.pool].alive.append(server)

    def machine_runs(self, server: Server) -> None:
        """See ``LifeListener``."""
        for listener in self._listeners:
            listener.machine_runs(server)

    def became_ready(self, server: Server) -> None:
        """See ``LifeListener``."""
        self.pools[server.pool].successors.discard(server)
        self.endpoints.join(server)
        for listener in self._listeners:
            listener.became_ready(server)

    def leaving(self, server: Server) -> None:
        """See ``LifeListener``."""
        self.endpoints.leave(server)
        for listener in self._listeners:
            listener.leaving(server)

    def remove(self, server: Server) -> None:
        """``server`` is gone."""
        self.pools[server.pool].remove(server)
        for listener in self._listeners:
            listener.gone(server)

    def given_up(self, server: Server, cause: str, repair: str) -> None:
        """See ``LifeListener``."""
        for listener in self._listeners:
            listener.given_up(server, cause, repair)
