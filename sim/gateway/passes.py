"""Safety and rewriting passes: work on a text before it is served, or on the answer before the client sees it.

    tokens read = read_fraction x text + template,  text = prompt (before) or prompt + answer (after)

A pass on a pool is a real request there, with its queue and its KV, and waits at the gateway while the pool has no server;
its tokens reach no client, and are counted apart from waste. An answer that has to pass is held back: its first token
reaches the client with its last. Left out: streaming classifiers that look at a running answer.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from sim.engine.clock import Clock
from sim.fleet.endpoints import Endpoints
from sim.fleet.server import Server
from sim.gateway.dispatch import Dispatcher
from sim.gateway.draws import uniforms
from sim.gateway.patience import Patience
from sim.gateway.queueing import NOBODY, PoolLines
from sim.gateway.request import ClientRequest, Failure
from sim.gateway.routers import Router
from sim.spec.gateway.answers import PassSpec


class Passes:
    """The passes of one stage, in order; ``requests`` is how many there will be."""

    def __init__(
        self,
        specs: Sequence[PassSpec],
        patience: Patience,
        lines: PoolLines,
        clock: Clock,
        endpoints: Endpoints,
        router: Router,
        dispatcher: Dispatcher,
        seed: int,
        requests: int,
    ) -> None:
        self._specs = tuple(specs)
        self._patience = patience
        self._lines = lines
        self._clock = clock
        self._dispatcher = dispatcher
        self._endpoints = endpoints
        self._router = router
        self._uniforms = [uniforms(seed, f"block_{place}_{spec.stage}", requests) for place, spec in enumerate(specs)]
        self.used = bool(specs)

    def added_prompt_tokens(self, request: ClientRequest) -> int:
        """Tokens that the passes put into the prompt that is served."""
        fraction = sum(spec.added_prompt_fraction for spec in self._specs if self._concerns(spec, request))
        return round(fraction * request.input_tokens)

    def run(self, request: ClientRequest, text_tokens: int) -> Generator[None, Any, Failure | None]:
        """Let the passes work on ``text_tokens`` of ``request``; a failure blocks it."""
        for place, spec in enumerate(self._specs):
            if not self._concerns(spec, request):
                continue
            if spec.latency_s:
                late = yield from self._patience.pause(request, spec.latency_s)
                if late is not None:
                    return late
            if spec.pool is not None:
                read = max(1, round(spec.read_fraction * text_tokens) + spec.template_tokens)
                failure = yield from self._lines.reach(request, spec.pool, read)
                if failure is not None:
                    return Failure("unavailable", "pass_unavailable") if failure is NOBODY else failure
                server: Server = self._router.choose(request, self._endpoints.of(spec.pool))
                if server.replica.scheduler.refusal(read, spec.output_tokens) is not None:
                    return Failure("rejected", "too_long_for_pass")
                name = ("pass", place, spec.stage)
                content = ((name, spec.template_tokens), ((name, request.row), read - spec.template_tokens))
                out = (name, request.row, "out")
                attempt = self._dispatcher.send(request, server, read, spec.output_tokens, content, out)
                attempt.of_pass = True
                if self._patience.waits(request):
                    yield
                done = request.news
                if isinstance(done, Failure):
                    self._dispatcher.abandon(attempt)
                    return done
                if not done:
                    return Failure("evicted", "evicted")
            if spec.block_probability and self._uniforms[place][request.row] < spec.block_probability:
                return Failure("rejected", "safety")
        return None

    @staticmethod
    def _concerns(spec: PassSpec, request: ClientRequest) -> bool:
        return not spec.routes or request.route in spec.routes
