"""``Dispatcher``: attempts on their way to engines and back. It keeps the servers' books; what an ended attempt means
to its request is decided by the gateway (``on_answer``, ``on_lost``)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from sim.engine.clock import ARRIVAL, Clock, Moment
from sim.engine.request import Content, EngineRequest
from sim.fleet.server import Server
from sim.gateway.request import Attempt, ClientRequest
from sim.record.recorder import Recorder


class Dispatcher:
    """Sends attempts, and is told by engines how they ended."""

    def __init__(
        self,
        clock: Clock,
        recorder: Recorder,
        abort_on_disconnect: bool,
        on_answer: Callable[[Attempt], None],
        on_lost: Callable[[Attempt], None],
        on_room: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._recorder = recorder
        self._abort_on_disconnect = abort_on_disconnect
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._on_room = on_room
        self.pass_tokens = 0
        """Tokens that engines sampled for safety and rewriting passes."""
        self.out = 0
        """Attempts sent and not back."""

    def send(
        self,
        request: ClientRequest,
        server: Server,
        input_tokens: int,
        output_tokens: int,
        content: Content | None,
        output_name: Hashable,
    ) -> Attempt:
        """``request`` goes to ``server`` now; the engine will answer with ``output_tokens``, named ``output_name``."""
        attempt = Attempt(request, server)
        engine = EngineRequest(
            request.row, input_tokens, output_tokens, self._clock.now, request.priority, content, output_name, attempt
        )
        attempt.engine = engine
        server.tokens_in_flight += input_tokens
        server.requests_in_flight += 1
        self.out += 1
        now = self._clock.now
        enters_s = server.front_end.enters_s(now, input_tokens)
        if enters_s > now:
            self._clock.at(enters_s, ARRIVAL, self._enter, attempt)
        else:
            server.replica.submit(engine)
        return attempt

    def _enter(self, moment: Moment) -> None:
        attempt: Attempt = moment.value
        if attempt.server.replica.stopped:
            self.evicted([attempt.engine])
        elif attempt.live or not self._abort_on_disconnect:
            attempt.server.replica.submit(attempt.engine)
        else:
            self.aborted(attempt.engine)

    def abandon(self, attempt: Attempt) -> None:
        """Nobody waits for ``attempt`` any more; with ``abort_on_disconnect`` the engine is told."""
        attempt.live = False
        if self._abort_on_disconnect and attempt.engine.submitted:
            attempt.server.replica.abort(attempt.engine)

    def finished(self, engine: EngineRequest) -> None:
        """An engine sampled the last token."""
        attempt: Attempt = engine.owner
        server = attempt.server
        server.tokens_in_flight -= engine.prompt_len
        server.requests_in_flight -= 1
        self.out -= 1
        if attempt.done is not None:
            self.pass_tokens += engine.sampled
            attempt.done.succeed(True)
        elif attempt.live:
            attempt.live = False
            self._on_answer(attempt)
        else:
            self.waste(attempt)
        engine.owner = None  # breaks the cycle: the collector rests during a run, and a million attempts are 1 GB
        self._on_room()

    def aborted(self, engine: EngineRequest) -> None:
        """An engine dropped an attempt because its client is gone."""
        attempt: Attempt = engine.owner
        attempt.server.tokens_in_flight -= engine.prompt_len
        attempt.server.requests_in_flight -= 1
        self.out -= 1
        self.waste(attempt)
        engine.owner = None
        self._on_room()

    def evicted(self, engines: Sequence[EngineRequest]) -> None:
        """A server died with these attempts in it; their KV is lost."""
        for engine in engines:
            attempt: Attempt = engine.owner
            attempt.server.tokens_in_flight -= engine.prompt_len
            attempt.server.requests_in_flight -= 1
            self.out -= 1
            if attempt.done is not None:
                self.pass_tokens += engine.sampled
                attempt.done.succeed(False)
                continue
            self.waste(attempt)
            if attempt.live:
                attempt.live = False
                self._on_lost(attempt)

    def waste(self, attempt: Attempt) -> None:
        """What the engine sampled for ``attempt`` reaches nobody."""
        self._recorder.wasted_tokens[attempt.request.row] += attempt.engine.sampled
        attempt.server.wasted_tokens += attempt.engine.sampled
