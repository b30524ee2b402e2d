"""``LiveFleet``: a scenario's gateway and fleet, driven by somebody else's clock and requests instead of a trace.

Whoever drives it moves its time forward (``run_until``) and sends requests as they come (``send``). Engines step every
token while they are watched, so that each answer's tokens are known step by step; results are those of a run. What a
trace tells beside lengths (shared prefixes, sessions, routes) live requests do not have. The scenario's ``timeline``,
failures, spot market and autoscalers go on as in a run, from time 0 on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sim.columns import Columns
from sim.engine.batch import Batch
from sim.engine.clock import Clock
from sim.engine.gaps import GapHistogram
from sim.engine.listener import StepListener
from sim.engine.scheduler import Scheduler
from sim.errors import ConfigError
from sim.fleet.fleet import Fleet
from sim.fleet.roster import Roster
from sim.gateway.gateway import Gateway
from sim.gateway.policies import answering_pools
from sim.perf.steady import MeanRequest
from sim.plugins import Plugins, Policies
from sim.record import Recorder
from sim.record.result import OUTCOMES
from sim.spec import Scenario
from sim.workload import Trace


@dataclass(frozen=True)
class Ended:
    """How a live request ended."""

    row: int
    outcome: str
    """One of ``OUTCOMES``."""
    reason: str
    arrival_s: float
    first_token_s: float
    """Simulated seconds; NaN where there is no answer, as for the next."""
    finish_s: float
    queue_s: float
    output_tokens: int
    preemptions: int


class LiveFleet(StepListener):
    """The house of one scenario, live.

    Args:
        scenario: everything but the arrivals; ``workload`` tells only of which lengths requests are on average.
        mean: of what is to be expected, for autoscalers that plan by lengths.
        most_requests: how many requests it can ever take.
        on_token: told of each token of a request as soon as it is known when it comes: row and simulated seconds, which
            may lie ahead. A request's last token is told of by ``on_end`` alone.
        on_end: told how a request ended, when that is so.
        policies: as ``simulate``'s.
    """

    def __init__(
        self,
        scenario: Scenario,
        mean: MeanRequest,
        most_requests: int,
        on_token: Callable[[int, float], None],
        on_end: Callable[[Ended], None],
        policies: Policies | None = None,
    ) -> None:
        self.scenario = scenario
        self.clock = Clock()
        self._on_token, self._on_end = on_token, on_end
        nothing = np.ones(most_requests, dtype=np.int64)
        trace = Trace(np.zeros(most_requests), nothing, nothing.copy(), {})
        self.recorder = Recorder(Columns(most_requests), (*scenario.fleet.all_pools(), *answering_pools(scenario.gateway)))
        self.roster = Roster(self.clock, scenario, self.recorder)
        plugins = Plugins(scenario.seed, policies)
        self.gateway = Gateway(scenario, trace, self.clock, self.recorder, self.roster.endpoints, plugins)
        if self.recorder.on_outcome is not None:
            raise ConfigError("gateway.users: live requests come from outside; use gateway.users={kind: open}")
        self.recorder.on_outcome = self._ended
        Fleet(scenario, self.roster, self.gateway.dispatcher, GapHistogram(), mean, plugins, self)
        self._most = most_requests
        self._next = 0
        self._under_way: set[int] = set()
        """Rows without an outcome."""

    @property
    def full(self) -> bool:
        """Whether no more requests can be taken."""
        return self._next >= self._most

    @property
    def under_way(self) -> int:
        """Requests without an outcome."""
        return len(self._under_way)

    def send(self, now_s: float, input_tokens: int, output_tokens: int) -> int:
        """A request comes at ``now_s``; its row. It may have its outcome before this returns."""
        self.run_until(now_s)
        row = self._next
        self._next += 1
        self._under_way.add(row)
        self.gateway.take(row, input_tokens, output_tokens)
        return row

    def run_until(self, now_s: float) -> None:
        """Let everything happen that is due by ``now_s``."""
        while self.clock.peek() <= now_s:
            self.clock.step()
        self.clock.now = max(self.clock.now, now_s)

    def next_s(self) -> float:
        """When the next thing is due; infinite where nothing is."""
        return self.clock.peek()

    def closed(self, name: str, step: int, scheduler: Scheduler, batch: Batch) -> None:
        """See ``StepListener``: each request that decodes after this step has one more token at its end."""
        for request in scheduler.books.running:
            attempt = request.owner
            if request.decoding and attempt is not None and attempt.request.row in self._under_way:
                self._on_token(attempt.request.row, batch.end + attempt.one_way_s)

    def _ended(self, row: int) -> None:
        recorder = self.recorder
        self._under_way.discard(row)
        self._on_end(Ended(
            row, OUTCOMES[recorder.outcome[row]], recorder.reason_of(row), self.gateway.arrival_s[row],
            recorder.first_token_s[row], recorder.finish_s[row], recorder.queue_s[row], recorder.output_tokens[row],
            recorder.preemptions[row],
        ))  # fmt: skip
