"""``Providers``: the APIs that answer what the local pool does not; the first that does, in the order of the configuration.

Each is called up to ``max_attempts`` times. Between two calls lies Retry-After, up to 60 s, or else 0.5 s doubling to 8 s,
less up to a quarter (OpenAI's client, ``_calculate_retry_timeout``). A breaker of the gateway stands before each as well,
which is a cluster of its own.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from sim.engine.clock import ARRIVAL, Clock, Moment
from sim.gateway.api_provider import ApiProvider, Reply
from sim.gateway.counts import Counts
from sim.gateway.outliers import make_outliers
from sim.gateway.patience import Patience
from sim.gateway.request import TIMEOUT, Answer, ClientRequest, Failure
from sim.record.recorder import Recorder
from sim.rng import stream
from sim.spec import GatewaySpec

_MAX_RETRY_AFTER_S = 60.0


class Providers:
    """The APIs of one gateway; ``answer_tokens`` are the trace's, by row."""

    def __init__(
        self, spec: GatewaySpec, answer_tokens: Sequence[int], clock: Clock, patience: Patience, recorder: Recorder,
        counts: Counts, seed: int,
    ) -> None:  # fmt: skip
        self.all = [
            ApiProvider(-1 - place, name, api, stream(seed, "gateway", "api", name))
            for place, (name, api) in enumerate(spec.apis.items())
        ]
        self._answer_tokens = answer_tokens
        self._clock = clock
        self._patience = patience
        self._recorder = recorder
        self._counts = counts
        self._outliers = make_outliers(spec.outliers) if spec.outliers is not None else None
        self._jitter: np.random.Generator = stream(seed, "gateway", "api_jitter")

    def ask(self, request: ClientRequest) -> Generator[None, Any, Failure | tuple[str, Answer]]:
        """The first answer and whose it is, or why there is none."""
        failure = Failure("unavailable", "no_api_takes_it")
        calls = 0
        for provider in self.all:
            if not provider.takes(request):
                continue
            for call in range(provider.spec.max_attempts):
                if not self._may_call(provider):
                    failure = Failure("unavailable", f"{provider.name}_left_out")
                    break
                if calls:
                    self._counts.retry(request)
                calls += 1
                reply = provider.call(request, self._answer_tokens[request.row], self._clock.now)
                if isinstance(reply, Reply):
                    return (yield from self._await_reply(request, provider, reply))
                failure = reply
                wait_s = provider.error_s
                self._ended(provider, failure)
                if call + 1 < provider.spec.max_attempts:
                    wait_s += self._wait_s(call, reply)
                late = yield from self._patience.pause(request, wait_s)
                if late is not None:
                    return late
        return failure

    def _await_reply(
        self, request: ClientRequest, provider: ApiProvider, reply: Reply
    ) -> Generator[None, Any, Failure | tuple[str, Answer]]:
        sent_s = self._clock.now
        self._clock.at(sent_s + reply.duration_s, ARRIVAL, self._arrives, (request, request.tries, reply))
        if self._patience.waits(request):
            yield
        signal = request.news
        self._recorder.api_usd[request.row] += provider.book(reply.usd, abandoned=signal is not reply)
        self._ended(provider, None if signal is reply else TIMEOUT)
        if signal is not reply:
            return TIMEOUT
        return provider.name, Answer(sent_s + reply.ttft_s, self._clock.now, reply.output_tokens)

    @staticmethod
    def _arrives(moment: Moment) -> None:
        request, tries, reply = moment.value
        if request.tries == tries:
            request.wake(reply)

    def _wait_s(self, calls: int, failure: Failure) -> float:
        """Seconds before the next call."""
        if failure.retry_after_s is not None and failure.retry_after_s <= _MAX_RETRY_AFTER_S:
            return failure.retry_after_s
        return float(min(0.5 * 2.0**calls, 8.0) * (1 - 0.25 * float(self._jitter.random())))

    # -- breakers ------------------------------------------------------------------------------------------------------

    def _may_call(self, provider: ApiProvider) -> bool:
        if self._outliers is None:
            return True
        if not self._outliers.usable((provider,), self._clock.now):
            return False
        self._outliers.sent(provider, self._clock.now)
        return True

    def _ended(self, provider: ApiProvider, failure: Failure | None) -> None:
        if self._outliers is None:
            return
        now = self._clock.now
        self._outliers.ended(provider, failure, (provider,), now)
        for ejection in self._outliers.news():
            self._counts.ejections += 1
            self._recorder.event(now, "breaker", ejection.cause, provider=ejection.target, ejected_s=ejection.for_s)
