"""``GatewayQueue``: the waiting room with its bound, its time to live, and the hand that lets requests out."""

from __future__ import annotations

from collections.abc import Callable

from sim.engine.clock import Clock
from sim.fleet.endpoints import Endpoints
from sim.gateway.deadlines import DeadlineQueue
from sim.gateway.policies import Policies
from sim.gateway.request import ClientRequest, Failure
from sim.spec.gateway.admission import QueueSpec

NOBODY = Failure("unavailable", "no_replica")


class GatewayQueue:
    """Requests that wait for a replica; ``send`` routes one and says why it could not."""

    def __init__(
        self,
        clock: Clock,
        endpoints: Endpoints,
        spec: QueueSpec,
        policies: Policies,
        send: Callable[[ClientRequest], Failure | None],
    ) -> None:
        self._clock = clock
        self._endpoints = endpoints
        self._spec = spec
        self._policies = policies
        self._room = policies.room
        self._send = send
        self._time_to_live: DeadlineQueue[tuple[ClientRequest, int]] = DeadlineQueue(clock, self._waits, self._expire)

    def enter(self, request: ClientRequest) -> Failure | None:
        """``request`` waits from now on, or is shed, or fails because there is nothing to wait for."""
        if self._endpoints.closed(self._policies.waits_for):
            return NOBODY
        if self._spec.max_requests is not None and len(self._room) >= self._spec.max_requests:
            return Failure("shed", "gateway_queue_full")
        self._room.push(request)
        self._endpoints.wait(self._policies.waits_for, request.input_tokens)
        if self._spec.ttl_s is not None:
            self._time_to_live.add(self._clock.now + self._spec.ttl_s, (request, request.tries))
        return None

    def move(self) -> None:
        """Let requests out while some replica has room for one."""
        while len(self._room) and self._policies.has_room():
            request = self._room.pop()
            if request is None:
                return
            if request.expired:  # its process is about to learn of it
                self._endpoints.give_up(self._policies.waits_for, request.input_tokens)
                continue
            self._endpoints.send_on(self._policies.waits_for, request.input_tokens)
            failure = self._send(request)
            if failure is not None:
                request.wake(failure)

    def flush(self) -> None:
        """Those who wait for servers that will never come fail."""
        while self._endpoints.closed(self._policies.waits_for):
            request = self._room.pop()
            if request is None:
                return
            self._endpoints.give_up(self._policies.waits_for, request.input_tokens)
            request.wake(NOBODY)

    def remove(self, request: ClientRequest) -> None:
        """``request`` waits no longer, if it did."""
        if request in self._room:
            self._room.remove(request)
            self._endpoints.give_up(self._policies.waits_for, request.input_tokens)

    def _waits(self, item: tuple[ClientRequest, int]) -> bool:
        return item[0] in self._room and item[0].tries == item[1]

    def _expire(self, item: tuple[ClientRequest, int]) -> None:
        self.remove(item[0])
        item[0].wake(Failure("shed", "queue_ttl"))
