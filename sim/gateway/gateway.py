"""``Gateway``: the life of a request between the client and the engines.

    arrive -> admit or shed -> route -> front end -> engine -> answer, timeout or rejection

At this stage no policy needs a process of its own, so requests are callbacks: an arrival is one kernel event, and what an
engine does is the engine's. A client that gives up is one entry in a FIFO of deadlines.
"""

from __future__ import annotations

from sim.engine.clock import ARRIVAL, Clock, Moment
from sim.engine.request import EngineRequest
from sim.fleet.fleet import Fleet
from sim.fleet.server import Server
from sim.gateway.contents import Contents
from sim.gateway.deadlines import DeadlineQueue
from sim.gateway.request import ClientRequest
from sim.gateway.routers import make_router
from sim.record.recorder import REJECTED, SHED, TIMED_OUT, Recorder
from sim.spec import GatewaySpec
from sim.workload import Trace


class Gateway:
    """Feeds a trace to a fleet and writes every request's outcome."""

    def __init__(self, clock: Clock, spec: GatewaySpec, trace: Trace, recorder: Recorder) -> None:
        self.clock = clock
        self.spec = spec
        self.recorder = recorder
        self.fleet: Fleet
        self.arrived = 0
        self._arrival_s: list[float] = trace.arrival_s.tolist()
        self._input: list[int] = trace.input_tokens.tolist()
        self._output: list[int] = trace.output_tokens.tolist()
        priority = trace.labels.get("priority")
        self._priority: list[int] | None = None if priority is None else priority.tolist()
        self._contents = Contents(trace)
        self._router = make_router(spec.router)
        self._deadlines: DeadlineQueue[ClientRequest] | None = None
        if spec.client_timeout_s is not None:
            self._deadlines = DeadlineQueue(clock, lambda r: r.attempt is not None, self._time_out)

    def start(self, fleet: Fleet) -> None:
        """Serve with ``fleet`` from the first arrival on."""
        self.fleet = fleet
        if self._arrival_s:
            self.clock.at(self._arrival_s[0], ARRIVAL, self._arrive)

    def _arrive(self, _: Moment) -> None:
        row = self.arrived
        self.arrived = row + 1
        if self.arrived < len(self._arrival_s):
            self.clock.at(self._arrival_s[self.arrived], ARRIVAL, self._arrive)
        now = self.clock.now
        request = ClientRequest(row, now, self._input[row])
        server = self._router.choose(request, self.fleet.ready)
        scheduler = server.replica.scheduler
        limit = self.spec.max_queue_requests
        if limit is not None and scheduler.n_waiting >= limit and server.requests_in_flight:
            self.recorder.lost(row, now, SHED, "queue_full")
            return
        output_tokens = self._output[row]
        refusal = scheduler.refusal(request.input_tokens, output_tokens)
        if refusal is not None:
            self.recorder.lost(row, now, REJECTED, refusal)
            return
        attempt = EngineRequest(
            row,
            request.input_tokens,
            output_tokens,
            now,
            0 if self._priority is None else self._priority[row],
            self._contents.of(row, request.input_tokens, output_tokens),
            ("out", row),
            request,
        )
        request.attempt = attempt
        request.server = server
        server.tokens_in_flight += request.input_tokens
        server.requests_in_flight += 1
        if self._deadlines is not None and self.spec.client_timeout_s is not None:
            self._deadlines.add(now + self.spec.client_timeout_s, request)
        delay = server.front_end_s(request.input_tokens)
        if delay:
            self.clock.at(now + delay, ARRIVAL, self._enter, (server, attempt))
        else:
            server.replica.submit(attempt)

    def _enter(self, moment: Moment) -> None:
        server, attempt = moment.value
        if attempt.owner.attempt is attempt or not self.spec.abort_on_disconnect:
            server.replica.submit(attempt)
        else:
            self.aborted(attempt)

    def finished(self, attempt: EngineRequest) -> None:
        """An engine sampled the last token of ``attempt``."""
        request: ClientRequest = attempt.owner
        server = request.server
        assert isinstance(server, Server)
        server.tokens_in_flight -= attempt.prompt_len
        server.requests_in_flight -= 1
        if request.attempt is not attempt:  # nobody waits for it any more
            self.recorder.wasted_tokens[request.row] += attempt.sampled
            server.wasted_tokens += attempt.sampled
            return
        request.attempt = None
        assert attempt.first_token_at is not None
        assert attempt.finished_at is not None
        assert attempt.scheduled_at is not None
        self.recorder.answered(
            request.row,
            request.arrival_s,
            attempt.first_token_at,
            attempt.finished_at,
            attempt.scheduled_at,
            attempt.sampled,
            attempt.cached_tokens,
            attempt.preemptions,
            server.pool_index,
            server.index,
        )

    def aborted(self, attempt: EngineRequest) -> None:
        """An engine dropped ``attempt`` because its client is gone."""
        request: ClientRequest = attempt.owner
        server = request.server
        assert isinstance(server, Server)
        server.tokens_in_flight -= attempt.prompt_len
        server.requests_in_flight -= 1
        self.recorder.wasted_tokens[request.row] += attempt.sampled
        server.wasted_tokens += attempt.sampled

    def _time_out(self, request: ClientRequest) -> None:
        attempt = request.attempt
        assert attempt is not None
        request.attempt = None
        self.recorder.lost(request.row, self.clock.now, TIMED_OUT, "client_timeout")
        if self.spec.abort_on_disconnect:
            server = request.server
            assert isinstance(server, Server)
            if attempt.submitted:
                server.replica.abort(attempt)
