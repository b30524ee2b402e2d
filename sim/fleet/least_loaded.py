"""``LeastLoaded``: of the servers of some pools that take requests, the one with the fewest tokens or requests in flight."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from sim.fleet.endpoints import Endpoints
from sim.fleet.loads import CountedLoads, LoadIndex
from sim.fleet.server import Server

Load = Literal["tokens", "requests"]


class LeastLoaded:
    """Kept up to date as their books change; who made it tells it who comes and goes."""

    def __init__(self, endpoints: Endpoints, pools: Collection[str], load: Load) -> None:
        self.servers = endpoints.among(pools)
        """Among whom (the list that the endpoints keep)."""
        self._pools = frozenset(pools)
        self._of_tokens = load == "tokens"
        self._index = LoadIndex() if self._of_tokens else CountedLoads()
        self._by_number: dict[int, Server] = {}
        for server in self.servers:
            self.joined(server)

    def first(self) -> Server:
        """The least loaded of ``servers``, which are not none; the first of equals."""
        return self._by_number[self._index.least()]

    def most(self) -> int:
        """The largest load, of requests."""
        assert isinstance(self._index, CountedLoads)
        return self._index.most()

    def total(self) -> int:
        """The sum of all loads, of requests."""
        assert isinstance(self._index, CountedLoads)
        return self._index.total

    def joined(self, server: Server) -> None:
        """``server`` takes requests from now on; nothing happens if it is of another pool."""
        if server.pool not in self._pools:
            return
        self._by_number[server.index] = server
        if self._of_tokens:
            server.token_index = self._index
            self._index.put(server.index, server.tokens_in_flight)
        else:
            server.request_index = self._index
            self._index.put(server.index, server.requests_in_flight)

    def left(self, server: Server) -> None:
        """``server`` takes no more requests; nothing happens if it is of another pool."""
        if server.pool not in self._pools:
            return
        del self._by_number[server.index]
        self._index.remove(server.index)
        if self._of_tokens:
            server.token_index = None
        else:
            server.request_index = None
