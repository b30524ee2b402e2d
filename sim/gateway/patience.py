"""``Patience``: how long clients wait, and the waiting itself.

    covers attempt   each try has ``client_timeout_s`` from its start; a time-out may be tried again (OpenAI, botocore)
    covers call      one deadline from the arrival on, for all tries and what lies between them: when it passes, the request
                     has timed out, whatever was under way

Sources: gRPC proposal A6, "the call deadline applies across all attempts"; Envoy's route ``timeout``, which "includes all
retries"; openai-python and botocore hand their timeout to each HTTP request. Left out: that these two count the time between
two pieces of a streamed answer, not the whole of it.

A request waits at one place at a time; news, or the end of its client's patience, let its ``Life`` go on.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from sim.engine.clock import ARRIVAL, Clock, Moment
from sim.gateway.deadlines import DeadlineQueue
from sim.gateway.request import TIMEOUT, ClientRequest, Failure, still_trying
from sim.spec import GatewaySpec


class Patience:
    """The clients' of one gateway."""

    def __init__(self, clock: Clock, spec: GatewaySpec) -> None:
        self._clock = clock
        self._timeout_s = spec.client_timeout_s
        self._covers_call = spec.client_timeout_covers == "call"
        self._tries: DeadlineQueue[tuple[ClientRequest, int]] = DeadlineQueue(clock, still_trying, self._try_over)
        self._calls: DeadlineQueue[ClientRequest] = DeadlineQueue(clock, lambda request: request.open, self._expire)

    def try_begins(self, request: ClientRequest) -> None:
        """The client sends ``request``, for the first time or again."""
        request.tries += 1
        if self._timeout_s is None:
            return
        if not self._covers_call:
            self._tries.add(self._clock.now + self._timeout_s, (request, request.tries))
        elif request.tries == 1:
            self._calls.add(self._clock.now + self._timeout_s, request)

    def try_ended(self, request: ClientRequest) -> None:
        """Its timers concern ``request`` no longer; what it has left is patience for a further try, or none."""
        request.tries += 1
        if not self._covers_call:
            request.expired = False

    @staticmethod
    def waits(request: ClientRequest) -> bool:
        """``request``'s life is about to yield until there is ``news``; False: there is, its client's patience is over."""
        life = request.life
        if life is None:
            return False
        if request.expired:
            life.news = TIMEOUT
            return False
        life.wait()
        return True

    def pause(self, request: ClientRequest, wait_s: float) -> Generator[None, Any, Failure | None]:
        """Let ``wait_s`` pass; ``TIMEOUT`` when the client's patience is over before."""
        life = request.life
        if request.expired or life is None:
            return TIMEOUT
        self._clock.at(self._clock.now + wait_s, ARRIVAL, _pause_over, (life, life.waits + 1))
        if self.waits(request):
            yield
        late: Failure | None = request.news
        return late

    def _try_over(self, item: tuple[ClientRequest, int]) -> None:
        self._expire(item[0])

    @staticmethod
    def _expire(request: ClientRequest) -> None:
        request.expired = True
        request.wake(TIMEOUT)


def _pause_over(moment: Moment) -> None:
    life, wait = moment.value
    if life.waits == wait:
        life.wake(None)
