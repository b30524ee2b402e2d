"""``Endpoints``: the servers that take requests now, and what waits for them. All that a gateway knows of a fleet.

The lists are kept as servers come and go, so that a request costs no copy of them; readers must not change them.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterable

from sim.fleet.server import Server


class EndpointListener:
    """Told of changes of the lists. Does nothing: a listener overrides what concerns it."""

    def joined(self, server: Server) -> None:
        """``server`` takes requests from now on."""

    def left(self, server: Server) -> None:
        """``server`` takes no more requests."""

    def closed(self) -> None:
        """A pool has no server and will never have one again (``Endpoints.closed``)."""


class Demand:
    """What clients ask of a pool beside what was sent to its servers: requests that wait at the gateway for one of them.

    A request that several pools may take waits for each of them as its equal part, so that the sum over pools is what
    waits. Once it is sent it counts where it went.
    """

    __slots__ = ("waited", "waiting_requests", "waiting_tokens")

    def __init__(self) -> None:
        self.waited = 0.0
        """Requests that wait, or waited and were not sent: what came for the pool beside the attempts at its servers."""
        self.waiting_requests = 0.0
        self.waiting_tokens = 0.0
        """Prompt tokens."""


class Endpoints:
    """Ready servers in order of creation, overall and by pool. One that died is among them until its death is known."""

    def __init__(self, pools: Iterable[str]) -> None:
        self.ready: list[Server] = []
        self._by_pool: dict[str, list[Server]] = {pool: [] for pool in pools}
        self._unions: list[tuple[frozenset[str], list[Server]]] = []
        self.demand = [Demand() for _ in self._by_pool]
        """By the pool's index."""
        self.version = 0
        """Grows whenever a list changes."""
        self._listeners: list[EndpointListener] = []
        self._closed: set[str] = set()

    @property
    def pools(self) -> tuple[str, ...]:
        """Names, in the order of their indices."""
        return tuple(self._by_pool)

    def of(self, pool: str) -> list[Server]:
        """Ready servers of ``pool``; kept up to date."""
        return self._by_pool[pool]

    def among(self, pools: Collection[str]) -> list[Server]:
        """Ready servers of any of ``pools``; kept up to date."""
        wanted = frozenset(pools)
        if wanted == frozenset(self._by_pool):
            return self.ready
        if len(wanted) == 1:
            return self._by_pool[next(iter(wanted))]
        for known, servers in self._unions:
            if known == wanted:
                return servers
        union = [server for server in self.ready if server.pool in wanted]
        self._unions.append((wanted, union))
        return union

    def listen(self, listener: EndpointListener) -> None:
        """``listener`` is told from now on, after those that came before it."""
        self._listeners.append(listener)

    def join(self, server: Server) -> None:
        """``server`` takes requests from now on; a pool that was over is so no longer."""
        self._closed.discard(server.pool)
        self.version += 1
        for servers in self._lists(server):
            insort(servers, server, key=lambda s: s.index)
        for listener in self._listeners:
            listener.joined(server)

    def leave(self, server: Server) -> None:
        """``server`` takes no more requests; nothing happens if it took none."""
        if server not in self._by_pool[server.pool]:
            return
        self.version += 1
        for servers in self._lists(server):
            servers.remove(server)
        for listener in self._listeners:
            listener.left(server)

    def close(self, pool: str) -> None:
        """``pool`` has no server and will never have one again."""
        self._closed.add(pool)
        for listener in self._listeners:
            listener.closed()

    def closed(self, pools: Collection[int]) -> bool:
        """Whether no server of any of ``pools`` (indices) will ever take a request again."""
        return bool(self._closed) and all(self.pools[index] in self._closed for index in pools)

    def _lists(self, server: Server) -> list[list[Server]]:
        unions = [servers for pools, servers in self._unions if server.pool in pools]
        return [self.ready, self._by_pool[server.pool], *unions]

    # -- demand --------------------------------------------------------------------------------------------------------

    def wait(self, pools: Collection[int], tokens: int) -> None:
        """A request of ``tokens`` waits at the gateway for a server of one of ``pools`` (indices)."""
        self._count(pools, tokens, 1.0, 1.0)

    def give_up(self, pools: Collection[int], tokens: int) -> None:
        """A request that waited does so no longer, and goes nowhere."""
        self._count(pools, tokens, -1.0, 0.0)

    def send_on(self, pools: Collection[int], tokens: int) -> None:
        """A request that waited is about to be sent, and counted where it goes."""
        self._count(pools, tokens, -1.0, -1.0)

    def _count(self, pools: Collection[int], tokens: int, waiting: float, waited: float) -> None:
        share = 1.0 / len(pools)
        for index in pools:
            demand = self.demand[index]
            demand.waited += waited * share
            demand.waiting_requests += waiting * share
            demand.waiting_tokens += waiting * share * tokens
