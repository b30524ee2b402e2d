"""The fast path: a request that is only routed. Callbacks and columns, no process; at most a deadline."""

from __future__ import annotations

from collections.abc import Sequence

from sim.engine.clock import Clock
from sim.fleet.server import Server
from sim.gateway.deadlines import DeadlineQueue
from sim.gateway.dispatch import Dispatcher
from sim.gateway.request import Attempt, ClientRequest
from sim.gateway.routers import Router
from sim.record.recorder import FAILED, REJECTED, SHED, TIMED_OUT, Recorder
from sim.spec import GatewaySpec


class PlainPath:
    """Arrive, route, answer, timeout or rejection; an attempt that is lost with its server fails its request."""

    def __init__(self, clock: Clock, spec: GatewaySpec, recorder: Recorder, dispatcher: Dispatcher, router: Router) -> None:
        self._recorder = recorder
        self._dispatcher = dispatcher
        self._router = router
        self._clock = clock
        self._queue_limit = spec.max_queue_requests
        self._timeout_s = spec.client_timeout_s
        self._deadlines: DeadlineQueue[Attempt] = DeadlineQueue(clock, lambda attempt: attempt.live, self._time_out)

    def send(self, request: ClientRequest, output_tokens: int, servers: Sequence[Server]) -> None:
        """``request`` has just arrived; ``servers`` may take it."""
        row = request.row
        server: Server = self._router.choose(request, servers)
        scheduler = server.replica.scheduler
        limit = self._queue_limit
        if limit is not None and server.replica.n_waiting >= limit and server.requests_in_flight:
            self._recorder.lost(row, request.arrival_s, SHED, "queue_full")
            return
        refusal = scheduler.refusal(request.input_tokens, output_tokens)
        if refusal is not None:
            self._recorder.lost(row, request.arrival_s, REJECTED, refusal)
            return
        name = ("out", row) if request.content is not None else None
        tokens = request.input_tokens
        attempt = self._dispatcher.send(request, server, tokens, output_tokens, request.content, name, request.lora)
        if self._timeout_s is not None:
            self._deadlines.add(request.arrival_s + self._timeout_s, attempt)

    def answered(self, attempt: Attempt) -> None:
        """The engine has sampled the last token."""
        request, engine, server = attempt.request, attempt.engine, attempt.server
        assert engine.first_token_at is not None
        assert engine.finished_at is not None
        scheduled_at = attempt.scheduled_at()
        assert scheduled_at is not None
        self._recorder.answered(
            request.row, request.arrival_s, engine.first_token_at + attempt.one_way_s,
            engine.finished_at + attempt.one_way_s, scheduled_at,
            engine.sampled, attempt.cached_tokens(), attempt.preemptions(), server.pool_index, server.index,
        )  # fmt: skip

    def lost(self, attempt: Attempt) -> None:
        """Its server died, or could not read its prompt's KV, and no policy allows a retry."""
        self._recorder.lost(attempt.request.row, self._clock.now, FAILED, attempt.reason)

    def _time_out(self, attempt: Attempt) -> None:
        self._recorder.lost(attempt.request.row, self._clock.now, TIMED_OUT, "client_timeout")
        self._dispatcher.abandon(attempt)
