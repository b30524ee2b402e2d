"""Routers that send a request where its session or its adapter already is.

    session     the replica that is first in the session's own order (rendezvous hashing)
    adapter     the first replica in the adapter's own order (likewise) that has at most ``balance`` x the mean of unfinished
                requests; the base model: the fewest

Given a ``Roll``, a router keeps between requests what it knows of its servers: an order costs a hash a server once, then a
hash for each that comes. Without one, or asked for some of the roll's servers only, it looks at all.

Sources: Thaler and Ravishankar 1998; consistent hashing with bounded loads, Mirrokni, Thorup and Zadimoghaddam 2016.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, TypeVar

from sim.fleet.roll import Roll
from sim.fleet.server import Server
from sim.gateway.request import RequestView
from sim.gateway.signals import ServerView
from sim.spec.gateway.routing import AdapterAffinity

S = TypeVar("S", bound=ServerView)


class AdapterAffinityRouter:
    """See the module's head: an adapter stays where it is loaded, and goes on to its next replica where that one is full."""

    def __init__(self, spec: AdapterAffinity, roll: Roll | None = None) -> None:
        self._balance = spec.balance
        self._roll = roll
        self._ranking = roll.least("requests") if roll is not None else None
        self._orders: dict[str, _Order] = {}
        """Of the adapters seen so far."""

    def choose(self, request: RequestView, servers: Sequence[S]) -> S:
        """See ``Router``."""
        lora, roll, ranking = request.lora, self._roll, self._ranking
        if roll is None or ranking is None or servers is not roll.servers:
            return self._of(lora, servers)
        least: Any = ranking.first()
        if not lora:
            return least  # type: ignore[no-any-return]
        order = self._orders.get(lora)
        if order is None:
            order = self._orders[lora] = _Order(lora, roll)
        most = self._balance * (ranking.total() + 1) / len(servers)
        order.catch_up(roll)
        found: Any = order.first_with(most) if least.requests_in_flight + 1 <= most else order.first()
        return found  # type: ignore[no-any-return]

    def _of(self, lora: str, servers: Sequence[S]) -> S:
        """The choice among ``servers``, by a look at each."""
        if not lora:
            return min(servers, key=lambda server: server.requests_in_flight)
        total = 1
        for server in servers:
            total += server.requests_in_flight
        most = self._balance * total / len(servers)
        order = sorted(servers, key=lambda server: _rank(lora, server.name), reverse=True)
        return next((server for server in order if server.requests_in_flight + 1 <= most), order[0])


class _Order:
    """The roll's servers in the order of ``name``, the highest rank first."""

    def __init__(self, name: str, roll: Roll) -> None:
        self._name = name
        self._changes = len(roll.changes)
        """So many of the roll's are in it."""
        self._entries = sorted(self._entry(server) for server in roll.servers)

    def catch_up(self, roll: Roll) -> None:
        """Who came since is in it, who went is not."""
        while self._changes < len(roll.changes):
            server, came = roll.changes[self._changes]
            self._changes += 1
            entry = self._entry(server)
            place = bisect_left(self._entries, entry)
            if came:
                self._entries.insert(place, entry)
            else:
                del self._entries[place]

    def first(self) -> Server:
        """The first of all."""
        return self._entries[0][2]

    def first_with(self, most: float) -> Server:
        """The first that has at most ``most`` requests with one more; somebody has."""
        return next(server for _, _, server in self._entries if server.requests_in_flight + 1 <= most)

    def _entry(self, server: Server) -> tuple[int, int, Server]:
        return -int.from_bytes(_rank(self._name, server.name), "big"), server.index, server


class SessionAffinityRouter:
    """Highest-random-weight (rendezvous) hashing of the session over the servers; requests without one by their number.

    Every server gets a share of 1 / n, and only the sessions of a server that goes move (Thaler and Ravishankar 1998). Both
    ask for a hash whose bits depend on all of the input: a CRC is linear, so that names which differ in one digit order
    alike for every session. Gateways take xxHash (Envoy's and gRPC's ring hash); BLAKE2 stands here for such a hash, equal
    on every machine and under every ``PYTHONHASHSEED``.
    """

    def __init__(self, roll: Roll | None = None) -> None:
        self._roll = roll
        self._homes: dict[str, tuple[int, bytes, Any]] = {}
        """Session -> its home when so many of the roll's changes had happened, and that one's rank."""

    def choose(self, request: RequestView, servers: Sequence[S]) -> S:
        """See ``Router``; of all of the roll's servers, a session's first request looks for its home."""
        session, roll = request.session_id, self._roll
        if not session or roll is None or servers is not roll.servers:
            return _highest(session or f"row{request.row}", servers)[1]
        changes, rank, home = self._homes.get(session, (0, b"", None))
        if home is None or changes < len(roll.changes):
            rank, home = self._moved(session, changes, rank, home, roll)
            self._homes[session] = len(roll.changes), rank, home
        found: S = home
        return found

    @staticmethod
    def _moved(session: str, changes: int, rank: bytes, home: Any, roll: Roll) -> tuple[bytes, Any]:
        """Where ``session`` is after all ``changes`` of the roll, of which it has seen some: those that came may rank higher
        than its home; that one may have gone."""
        if home is None or len(roll.changes) - changes >= len(roll.servers):
            return _highest(session, roll.servers)
        for server, came in roll.changes[changes:]:
            if came:
                other = _rank(session, server.name)
                if other > rank:
                    rank, home = other, server
            elif server is home:
                return _highest(session, roll.servers)
        return rank, home


def _highest(name: str, servers: Sequence[S]) -> tuple[bytes, S]:
    """The rank of the highest of ``servers`` for ``name``, and that one; the first of equals."""
    highest, found = b"", servers[0]
    for server in servers:
        rank = _rank(name, server.name)
        if rank > highest:
            highest, found = rank, server
    return highest, found


def _rank(name: str, server: str) -> bytes:
    """64 evenly distributed bits of a pair of names."""
    return blake2b(f"{name}|{server}".encode(), digest_size=8).digest()
