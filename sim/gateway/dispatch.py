"""``Dispatcher``: attempts on their way to engines and back. It keeps the servers' books; what an ended attempt means
to its request is decided by who listens."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from sim.engine.acceptance import AcceptancePath
from sim.engine.clock import ARRIVAL, COMPLETION, Clock, Moment
from sim.engine.listener import EngineListener
from sim.engine.request import Content, EngineRequest
from sim.fleet.server import Server
from sim.gateway.counts import Counts
from sim.gateway.listener import AttemptListener
from sim.gateway.request import Attempt, ClientRequest
from sim.record.recorder import Recorder


class Dispatcher(EngineListener):
    """Sends attempts, and is told by engines how they ended.

    Args:
        clock: the simulation's clock.
        recorder: where wasted tokens and evictions are noted.
        counts: where attempts are counted.
        listener: told of ended attempts.
        abort_on_disconnect: engines are told when nobody waits any more.
        one_way_s: pool or zone -> how long attempts and answers travel; a reset of the connection, when a server dies, is
            taken to be known at once.
    """

    def __init__(
        self,
        clock: Clock,
        recorder: Recorder,
        counts: Counts,
        listener: AttemptListener,
        abort_on_disconnect: bool,
        one_way_s: dict[str, float],
    ) -> None:
        self._clock = clock
        self._recorder = recorder
        self._counts = counts
        self._listener = listener
        self._abort_on_disconnect = abort_on_disconnect
        self._one_way_s = one_way_s

    def send(
        self,
        request: ClientRequest,
        server: Server,
        input_tokens: int,
        output_tokens: int,
        content: Content | None,
        output_name: Hashable | None,
        lora: str = "",
    ) -> Attempt:
        """``request`` goes to ``server`` now; the engine will answer with ``output_tokens``, named ``output_name``
        (None: nobody will ask for it), by the adapter ``lora`` ("" = the base model)."""
        one_way_s = self._one_way_to(server) if self._one_way_s else 0.0
        attempt = Attempt(request, server, one_way_s)
        engine = engine_request(request, input_tokens, output_tokens, self._clock.now, content, output_name, lora, attempt)
        attempt.engine = engine
        server.take(input_tokens)
        self._counts.out += 1
        now = self._clock.now
        enters_s = server.front_end.enters_s(now + one_way_s, input_tokens)
        if enters_s > now or server.replica.stopped:  # the sender goes on before it learns that nobody answers
            self._clock.at(enters_s, ARRIVAL, self._enter, attempt)
        else:
            server.replica.submit(engine)
        return attempt

    def _one_way_to(self, server: Server) -> float:
        return self._one_way_s.get(server.pool, self._one_way_s.get(server.zone, 0.0))

    def _enter(self, moment: Moment) -> None:
        attempt: Attempt = moment.value
        if attempt.server.replica.stopped:
            self._evict(attempt.engine)
        elif attempt.live or not self._abort_on_disconnect:
            attempt.server.replica.submit(attempt.engine)
        else:
            self.aborted(attempt.engine)

    def abandon(self, attempt: Attempt) -> None:
        """Nobody waits for ``attempt`` any more; with ``abort_on_disconnect`` the engine is told."""
        attempt.live = False
        if self._abort_on_disconnect and attempt.engine.submitted:
            if attempt.one_way_s:
                self._clock.at(self._clock.now + attempt.one_way_s, ARRIVAL, self._abort, attempt)
            else:
                attempt.server.replica.abort(attempt.engine)

    @staticmethod
    def _abort(moment: Moment) -> None:
        attempt: Attempt = moment.value
        attempt.server.replica.abort(attempt.engine)

    def first_token(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        attempt: Attempt = request.owner
        if attempt.one_way_s:
            self._clock.at(self._clock.now + attempt.one_way_s, COMPLETION, self._begins, attempt)
        elif attempt.live:
            self._listener.began(attempt)

    def _begins(self, moment: Moment) -> None:
        attempt: Attempt = moment.value
        if attempt.live:
            self._listener.began(attempt)

    def finished(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        attempt: Attempt = request.owner
        server = attempt.server
        server.let_go(request.prompt_len)
        self._counts.out -= 1
        self._worked(attempt)
        if attempt.of_pass:
            self._counts.pass_tokens += request.sampled
        elif attempt.one_way_s or not attempt.live:
            self.waste(attempt)  # an answer on its way is nobody's until it arrives
        if attempt.one_way_s:
            self._clock.at(self._clock.now + attempt.one_way_s, COMPLETION, self._arrives, attempt)
        else:
            self._deliver(attempt)
        request.owner = None  # breaks the cycle: the collector rests during a run, and a million attempts are 1 GB
        self._listener.room_made()

    def _arrives(self, moment: Moment) -> None:
        attempt: Attempt = moment.value
        if attempt.live and not attempt.of_pass:
            self._recorder.wasted_tokens[attempt.request.row] -= attempt.engine.sampled
            attempt.server.wasted_tokens -= attempt.engine.sampled
        self._deliver(attempt)

    def _deliver(self, attempt: Attempt) -> None:
        """The whole answer of ``attempt`` is where it was asked for."""
        if attempt.live:
            attempt.live = False
            if attempt.of_pass:
                attempt.request.wake(True)
            else:
                self._listener.answered(attempt)

    def aborted(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        attempt: Attempt = request.owner
        attempt.server.let_go(request.prompt_len)
        self._counts.out -= 1
        self._worked(attempt)
        self.waste(attempt)
        request.owner = None
        self._listener.room_made()

    def evicted(self, requests: Sequence[EngineRequest]) -> None:
        """See ``EngineListener``."""
        server: Server = requests[0].owner.server
        tokens = sum(request.sampled for request in requests)
        self._recorder.event(
            self._clock.now, "eviction", "server lost", pool=server.pool, replica=server.name, requests=len(requests),
            tokens=tokens,
        )  # fmt: skip
        for request in requests:
            self._evict(request)

    def _evict(self, request: EngineRequest) -> None:
        attempt: Attempt = request.owner
        attempt.server.let_go(request.prompt_len)
        self._counts.out -= 1
        self._worked(attempt)
        if attempt.of_pass:
            self._counts.pass_tokens += request.sampled
            if attempt.live:
                attempt.live = False
                attempt.request.wake(False)
            return
        self.waste(attempt)
        if attempt.live:
            attempt.live = False
            self._listener.lost(attempt)

    def unfinished(self, requests: Sequence[EngineRequest], server: Server) -> None:
        """The run ends with these in ``server``: answers that nobody waits for, and batch work."""
        for request in requests:
            if isinstance(request.owner, Attempt):
                self._worked(request.owner)
                self.waste(request.owner)
            else:
                server.wasted_tokens += request.sampled

    def _worked(self, attempt: Attempt) -> None:
        engine = attempt.engine
        self._recorder.worked(attempt.server.pool, attempt.request.row, engine.prompt_tokens_computed(), engine.sampled)

    def waste(self, attempt: Attempt) -> None:
        """What the engine sampled for ``attempt`` reaches nobody."""
        self._recorder.wasted_tokens[attempt.request.row] += attempt.engine.sampled
        attempt.server.wasted_tokens += attempt.engine.sampled


def engine_request(
    request: ClientRequest,
    input_tokens: int,
    output_tokens: int,
    now_s: float,
    content: Content | None,
    output_name: Hashable | None,
    lora: str,
    owner: Any,
) -> EngineRequest:
    """What an engine gets of ``request``; see ``Dispatcher.send``."""
    engine = EngineRequest(request.row, input_tokens, output_tokens, now_s, request.priority, content, output_name, owner)
    engine.deadline = request.deadline_s
    engine.lora = lora
    engine.route = request.route
    if request.accept:
        engine.accept = AcceptancePath(request.accept)
    return engine
