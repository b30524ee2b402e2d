"""The gateway's queue: lines of requests that wait for servers, with a bound and a time to live.

Ordinary requests share one line for all their pools (``GatewayQueue``), and leave it as replicas have room. What goes to one
pool in particular, by a route, a hybrid rule or a pass, waits while that pool has no ready server (``PoolLines``): it is
demand of that pool, and all of it goes on once a server is there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from sim.engine.clock import Clock
from sim.fleet.endpoints import Endpoints
from sim.gateway.deadlines import DeadlineQueue
from sim.gateway.patience import Patience
from sim.gateway.policies import Policies
from sim.gateway.request import ClientRequest, Failure
from sim.gateway.waiting import WaitingRoom
from sim.spec.gateway.admission import QueueSpec

NOBODY = Failure("unavailable", "no_replica")


class Stay(NamedTuple):
    """A request's wait in a line; one that comes again has another."""

    tokens: int
    """What it asks of a server."""
    since_s: float


class Line:
    """Requests that wait for a server of one of ``pools`` (indices); who goes first is ``room``'s to say."""

    def __init__(
        self, clock: Clock, endpoints: Endpoints, spec: QueueSpec, pools: tuple[int, ...], room: WaitingRoom
    ) -> None:
        self._clock = clock
        self._endpoints = endpoints
        self._spec = spec
        self._pools = pools
        self._room = room
        self._stays: dict[ClientRequest, Stay] = {}
        self._time_to_live: DeadlineQueue[tuple[ClientRequest, Stay]] = DeadlineQueue(clock, self._waits, self._expire)

    def __len__(self) -> int:
        return len(self._room)

    def enter(self, request: ClientRequest, tokens: int) -> Failure | None:
        """``request`` waits from now on, or is shed, or fails because there is nothing to wait for."""
        if self._endpoints.closed(self._pools):
            return NOBODY
        if self._spec.max_requests is not None and len(self._room) >= self._spec.max_requests:
            return Failure("shed", "gateway_queue_full")
        self._room.push(request)
        stay = self._stays[request] = Stay(tokens, self._clock.now)
        self._endpoints.wait(self._pools, tokens)
        if self._spec.ttl_s is not None:
            self._time_to_live.add(stay.since_s + self._spec.ttl_s, (request, stay))
        return None

    def next(self) -> ClientRequest | None:
        """Who is sent now, and waits no longer."""
        while (request := self._room.pop()) is not None:
            tokens = self._stays.pop(request).tokens
            if not request.expired:
                self._endpoints.send_on(self._pools, tokens)
                return request
            self._endpoints.give_up(self._pools, tokens)  # its process is about to learn of it
        return None

    def flush(self) -> None:
        """Those who wait for servers that will never come fail."""
        while self._endpoints.closed(self._pools) and (request := self._room.pop()) is not None:
            self._endpoints.give_up(self._pools, self._stays.pop(request).tokens)
            request.wake(NOBODY)

    def remove(self, request: ClientRequest) -> None:
        """``request`` waits no longer, if it did."""
        if request in self._room:
            self._room.remove(request)
            self._endpoints.give_up(self._pools, self._stays.pop(request).tokens)

    def _waits(self, item: tuple[ClientRequest, Stay]) -> bool:
        return self._stays.get(item[0]) is item[1]

    def _expire(self, item: tuple[ClientRequest, Stay]) -> None:
        self.remove(item[0])
        item[0].wake(Failure("shed", "queue_ttl"))


class GatewayQueue:
    """Ordinary requests that wait for a replica with room; ``send`` routes one and says why it could not."""

    def __init__(
        self,
        clock: Clock,
        endpoints: Endpoints,
        spec: QueueSpec,
        policies: Policies,
        send: Callable[[ClientRequest], Failure | None],
    ) -> None:
        self._policies = policies
        self._send = send
        self._line = Line(clock, endpoints, spec, policies.waits_for, policies.room)

    def enter(self, request: ClientRequest) -> Failure | None:
        """See ``Line``."""
        return self._line.enter(request, request.input_tokens)

    def move(self) -> None:
        """Let requests out while some replica has room for one."""
        while len(self._line) and self._policies.has_room():
            request = self._line.next()
            if request is None:
                return
            failure = self._send(request)
            if failure is not None:
                request.wake(failure)

    def flush(self) -> None:
        """See ``Line``."""
        self._line.flush()

    def remove(self, request: ClientRequest) -> None:
        """See ``Line``."""
        self._line.remove(request)


class PoolLines:
    """One line for each pool, of the requests that only this pool may take while it has no ready server."""

    def __init__(self, clock: Clock, endpoints: Endpoints, spec: QueueSpec, patience: Patience) -> None:
        self._endpoints = endpoints
        self._patience = patience
        self._lines = {
            pool: Line(clock, endpoints, spec, (index,), WaitingRoom(spec.fair, spec.weights))
            for index, pool in enumerate(endpoints.pools)
        }

    def reach(self, request: ClientRequest, pool: str, tokens: int) -> Generator[None, Any, Failure | None]:
        """Return once ``pool`` has a ready server, at once where it has; a failure where ``request`` stops waiting before.

        ``tokens``: what is to be sent there.
        """
        line = self._lines[pool]
        while not self._endpoints.of(pool):
            failure = line.enter(request, tokens)
            if failure is None:
                if self._patience.waits(request):
                    yield
                failure = request.news
                line.remove(request)
            if failure is not None:
                return failure
        return None

    def move(self, pool: str) -> None:
        """``pool`` has a ready server: who waits for it goes on, in the line's order."""
        line = self._lines[pool]
        while (request := line.next()) is not None:
            request.wake(None)

    def flush(self) -> None:
        """See ``Line``."""
        for line in self._lines.values():
            line.flush()
