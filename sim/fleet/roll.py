"""``Roll``: the servers of some pools that take requests, for who keeps between two requests what it knows of them."""

from __future__ import annotations

from collections.abc import Collection

from sim.fleet.endpoints import EndpointListener, Endpoints
from sim.fleet.least_loaded import LeastLoaded, Load
from sim.fleet.server import Server


class Roll(EndpointListener):
    """Kept up to date as servers come and go."""

    def __init__(self, endpoints: Endpoints, pools: Collection[str]) -> None:
        self.servers = endpoints.among(pools)
        """In order of creation (the list that the endpoints keep)."""
        self.changes: list[tuple[Server, bool]] = []
        """Who came (True) or went since, in order."""
        self._endpoints = endpoints
        self._pools = frozenset(pools)
        self._ranked: dict[Load, LeastLoaded] = {}
        endpoints.listen(self)

    @property
    def version(self) -> int:
        """Grows whenever ``servers`` changes."""
        return len(self.changes)

    def least(self, load: Load) -> LeastLoaded:
        """Who of them has the least."""
        if load not in self._ranked:
            self._ranked[load] = LeastLoaded(self._endpoints, self._pools, load)
        return self._ranked[load]

    def joined(self, server: Server) -> None:
        """See ``EndpointListener``."""
        if server.pool in self._pools:
            self.changes.append((server, True))
        for ranked in self._ranked.values():
            ranked.joined(server)

    def left(self, server: Server) -> None:
        """See ``EndpointListener``."""
        if server.pool in self._pools:
            self.changes.append((server, False))
        for ranked in self._ranked.values():
            ranked.left(server)
