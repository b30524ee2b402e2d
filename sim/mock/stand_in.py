"""``StandIn``: the simulated fleet bound to the wall clock. A request comes, its tokens come when the simulation says.

    simulated seconds = wall seconds since the start x speed

The simulation is moved forward whenever something is due or a request comes; each answer's tokens are known as soon as
their step is composed, and every stream waits by itself for the moment of its next one. So the event loop is busy for
microseconds a token, and being late once makes nothing later. What this process itself takes to read a request and to write
a token is no part of the simulated server, whose front end is in its step times: requests arrive when they were sent, for
which the simulation runs a little behind the wall, and tokens are written a little before they are due.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import suppress

import numpy as np

from sim.perf.steady import MeanRequest
from sim.record.result import ANSWERED
from sim.report.openmetrics import (
    E2E,
    GENERATION,
    HITS,
    KV,
    LOST,
    PREEMPTIONS,
    PROMPT,
    QUERIES,
    QUEUE,
    RUNNING,
    SUCCESS,
    TPOT,
    TTFT,
    WAITING,
    Metrics,
)  # fmt: skip
from sim.rng import stream
from sim.run.live import Ended, LiveFleet
from sim.spec import Scenario
from sim.workload import Trace

_IDLE_S = 0.5
"""The driver looks at least so often, in wall time."""
_BEHIND_S = 0.002
"""The simulation is so much behind the wall clock: a request that is read meanwhile arrives in time for its step."""
_SENT_S, _WRITTEN_S = 0.0004, 0.001
"""From a client's sending to this process's first look at the request; from the moment that a token is waited for to the
client's reading it: half a millisecond by which a timer is late on average (the kernel waits whole ones, rounded up), and
half a round trip of an empty request over loopback (0.9 ms, uvicorn with h11). Elsewhere off by half a millisecond or so."""


class StandIn:
    """One simulated fleet, live.

    Args:
        scenario: gateway, fleet, engine, prices; its timeline, failures and spot market run from the start on.
        traffic: of which lengths answers are, where a request does not say; drawn anew for each.
        speed: simulated seconds a wall second.
        most_requests: how many requests it takes before it has to be started again.
    """

    def __init__(self, scenario: Scenario, traffic: Trace, speed: float = 1.0, most_requests: int = 100_000) -> None:
        mean = MeanRequest(max(1.0, float(traffic.input_tokens.mean())), max(1.0, float(traffic.output_tokens.mean())))
        self.fleet = LiveFleet(scenario, mean, most_requests, self._token, self._end)
        self.metrics = Metrics()
        self._speed = speed
        self._outputs = traffic.output_tokens
        self._rng = stream(scenario.seed, "mock", "output_tokens")
        self._news: dict[int, asyncio.Queue[float | Ended]] = {}
        """Row -> times of tokens, then its end."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start_s = 0.0
        self._behind_s = _BEHIND_S / max(speed, 1.0)
        self._sent = asyncio.Event()
        """A request has come: the next thing may be due sooner."""
        self._inputs: dict[int, int] = {}

    def clock_s(self) -> float:
        """Wall seconds, on the clock of the event loop."""
        assert self._loop is not None, "drive() runs first"
        return self._loop.time()

    async def drive(self) -> None:
        """Moves the simulation forward for as long as it runs."""
        self._loop = asyncio.get_running_loop()
        self._start_s = self._loop.time()
        while True:
            self.fleet.run_until(self._simulated_s(self.clock_s() - self._behind_s))
            wait_s = self._wall_s(self.fleet.next_s()) + self._behind_s - self.clock_s()
            self._sent.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._sent.wait(), min(max(wait_s, 0.0), _IDLE_S))

    def drawn_output_tokens(self) -> int:
        """The length of some answer of the traffic."""
        return int(self._outputs[int(self._rng.integers(len(self._outputs)))])

    async def answer(self, input_tokens: int, output_tokens: int, came_s: float) -> AsyncIterator[Ended | None]:
        """None for each token at the moment at which it is out, the last one's apart, then how the request ended.

        ``came_s``: when this process first saw the request (``clock_s``).
        """
        at_s = self._simulated_s(came_s - _SENT_S)
        row = self.fleet.send(at_s, input_tokens, output_tokens) if not self.fleet.full else -1
        self._sent.set()
        if row < 0:
            yield Ended(-1, "failed", "mock_is_full", math.nan, math.nan, math.nan, math.nan, 0, 0)
            return
        self._inputs[row] = input_tokens
        news = self._queue(row)
        told = 0
        try:
            while True:
                found = await news.get()
                if isinstance(found, Ended):
                    while found.outcome in ANSWERED and told < found.output_tokens - 1:
                        told += 1  # several a step (drafts), or an answer from elsewhere (a cache, an API)
                        yield None
                    yield found
                    return
                await self._until(found)
                if told < output_tokens - 1:
                    told += 1
                    yield None
        finally:
            self._news.pop(row, None)
            self._inputs.pop(row, None)

    def scraped(self) -> Metrics:
        """The metrics as of now."""
        views = [server.replica.view() for server in self.fleet.roster.endpoints.ready]
        usable = sum(view.usable_blocks for view in views)
        self.metrics.gauges = {
            RUNNING: float(sum(view.running for view in views)), WAITING: float(sum(view.waiting for view in views)),
            KV: sum(view.used_blocks for view in views) / usable if usable else math.nan,
        }  # fmt: skip
        return self.metrics

    def _queue(self, row: int) -> asyncio.Queue[float | Ended]:
        return self._news.setdefault(row, asyncio.Queue())

    def _simulated_s(self, wall_s: float) -> float:
        return (wall_s - self._start_s) * self._speed

    def _wall_s(self, simulated_s: float) -> float:
        return self._start_s + simulated_s / self._speed

    async def _until(self, at_s: float) -> None:
        wait_s = self._wall_s(at_s) - _WRITTEN_S - self.clock_s()
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _token(self, row: int, at_s: float) -> None:
        self._queue(row).put_nowait(at_s)

    def _end(self, ended: Ended) -> None:
        self._queue(ended.row).put_nowait(ended)
        one = self.metrics
        if ended.outcome not in ANSWERED:
            one.count(LOST, 1.0, ended.outcome)
            return
        tokens = ended.output_tokens
        prompt = float(self._inputs.pop(ended.row, 0))
        counted = {PROMPT: prompt, GENERATION: tokens, PREEMPTIONS: ended.preemptions, QUERIES: prompt, HITS: 0}
        for name, more in counted.items():
            one.count(name, float(more))
        one.count(SUCCESS, 1.0, "stop")
        one.observe(TTFT, ended.first_token_s - ended.arrival_s)
        one.observe(TPOT, (ended.finish_s - ended.first_token_s) / (tokens - 1) if tokens > 1 else np.nan)
        one.observe(E2E, ended.finish_s - ended.arrival_s)
        one.observe(QUEUE, ended.queue_s)
