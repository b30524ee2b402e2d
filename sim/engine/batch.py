"""``Batch``: what the scheduler composed. One step, or a run of decode-only steps in closed form.

A run of k steps with n sequences: step j (from 0) starts with context C + j n and takes a + s j, where
``a = intercept + slope C`` and ``s = slope n`` come from the step-time model's affine piece. Hence

    end of step j-1 = start + j a + s j (j - 1) / 2

and the step in progress at a moment is found by solving the quadratic, then correcting by comparison so that the answer
agrees with the sums above. Whole numbers below 2^53, a recording's nanoseconds, stay exact.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import Final

from sim.engine.request import NOBODY, EngineRequest
from sim.perf.step_time import Verified

_NO_CHUNKS: Final[list[tuple[EngineRequest, int, int]]] = []
"""Of two batches in three; nobody adds to it."""


class Speculation:
    """What a step of an engine that speculates verifies, and what it brings: its tokens are known when it has returned."""

    __slots__ = ("alike", "delivered", "drafts", "next_drafts", "padded", "prompts", "tokens", "verified", "verifying")

    def __init__(
        self, drafts: dict[EngineRequest, int], padded: dict[EngineRequest, None], alike: list[EngineRequest]
    ) -> None:
        self.drafts = drafts
        """Drafts that it verifies, of requests that have some."""
        self.padded = padded
        """Of these, requests whose drafts were made by nobody."""
        self.alike = alike
        """Requests that verify all their drafts, beside the batch's ``prefills``."""
        self.next_drafts = 0
        """Drafts that follow it."""
        self.verifying = 0
        """Requests that verify drafts: each gets what it samples at once, after one gap."""
        self.prompts: list[tuple[int, int]] = []
        """``(tokens, computed before)`` of those of the batch's ``prefills`` that are prompts ..."""
        self.verified: Verified | None = None
        """... and all others together; None = there are none."""
        self.delivered: list[tuple[EngineRequest, int]] = []
        """Tokens that it has brought to whom, ``alike`` left out ..."""
        self.tokens = 0
        """... and to all."""


class Batch:
    """Composed work: ``steps`` engine steps with the same sequences.

    Only a decode-only batch has ``steps > 1``; its plan may be cut short until it is closed.
    """

    __slots__ = (
        "admitted", "announces", "committed", "context", "end", "finishing", "first", "held_blocks", "increment",
        "last_context", "least_time", "load_time", "n_decode", "not_before", "number", "order", "preempted", "prefills",
        "sampled", "sched_at", "since", "speculation", "start", "steps", "used_blocks",
    )  # fmt: skip

    def __init__(self, n_decode: int, context: int) -> None:
        self.n_decode = n_decode
        self.context = context
        """Sum over the decodes of the tokens computed before the first step."""
        self.prefills = _NO_CHUNKS
        """``(request, tokens, computed before)`` of every chunk."""
        self.steps = 1
        self.committed = 0
        """Steps whose blocks and ticks are in the books."""
        self.number = 0
        """Number of its last composed step."""
        self.admitted = NOBODY
        self.preempted = NOBODY
        self.sampled = NOBODY
        """Requests whose chunk was their last: they sample a token at the end."""
        self.announces = False
        """Somebody waits for the first token of one of them."""
        self.finishing = NOBODY
        """Requests that sample their last token in the last step."""
        self.order: list[tuple[EngineRequest, int, int]] | None = None
        """Composition in the scheduler's order, when it is being recorded."""
        self.speculation: Speculation | None = None
        self.not_before = 0.0
        """It starts no earlier."""
        self.load_time = 0.0
        """Time for which it waits for loads, of adapters or KV, before it computes."""
        self.least_time = 0.0
        """What comes beside its computing takes so long."""
        self.used_blocks = 0
        """KV blocks in use at ``since``."""
        self.since = 0.0
        """Its start, or the latest moment at which others took blocks beside it."""
        self.last_context = inf
        """Up to which its steps' times are on one line."""
        self.held_blocks = 0.0
        """KV blocks in use over its time, on average."""
        self.first = 0.0
        """How long its first step takes."""
        self.increment = 0.0
        """How much longer each step takes than the one before."""
        self.sched_at = 0.0
        self.start = 0.0
        self.end = 0.0

    def give(self, request: EngineRequest, tokens: int, before: int) -> None:
        """``request`` gets a chunk of ``tokens`` behind the ``before`` that it has computed."""
        if not self.prefills:
            self.prefills = []
        self.prefills.append((request, tokens, before))

    def admit(self, request: EngineRequest, tokens: int, before: int) -> None:
        """The same of one that is seated with it."""
        if not self.admitted:
            self.admitted = []
        self.admitted.append(request)
        self.give(request, tokens, before)

    def preempt(self, request: EngineRequest) -> None:
        """``request`` lost its seat while it was composed."""
        if not self.preempted:
            self.preempted = []
        self.preempted.append(request)

    def sample(self, request: EngineRequest) -> None:
        """The chunk of ``request`` was its last."""
        if not self.sampled:
            self.sampled = []
        self.sampled.append(request)

    def set_times(self, start: float, first: float, increment: float) -> None:
        """Place the batch on the clock: step j takes ``first + increment * j``."""
        self.start = self.since = start
        self.first = first
        self.increment = increment
        self.end = self.time_after(self.steps)

    def cut_to(self, steps: int) -> None:
        """The plan ends after ``steps`` steps."""
        self.steps = steps
        self.end = self.time_after(steps)

    def time_after(self, steps: int) -> float:
        """Clock at the end of the first ``steps`` steps."""
        if steps <= 1:
            return self.start + self.first * steps
        return self.start + steps * self.first + self.increment * (steps * (steps - 1)) / 2

    def duration_of(self, step: int) -> float:
        """How long step ``step`` (from 0) takes."""
        return self.first + self.increment * step

    def steps_started(self, now: float) -> int:
        """How many steps must be in the plan so that the step in progress at ``now`` is the last: the smallest k >= 1
        with ``time_after(k) >= now``, and 0 when ``now`` is not after the start."""
        if now <= self.start:
            return 0
        elapsed = now - self.start
        a, half = self.first, self.increment / 2
        if half != 0.0:
            b = a - half
            k = int((sqrt(b * b + 4 * half * elapsed) - b) / (2 * half))
        else:
            k = int(elapsed / a)
        k = max(1, min(k, self.steps))
        while k > 1 and self.time_after(k - 1) >= now:
            k -= 1
        while k < self.steps and self.time_after(k) < now:
            k += 1
        return k

    def steps_completed(self, now: float) -> int:
        """Steps whose end is not after ``now``."""
        if now >= self.end:
            return self.steps
        k = self.steps_started(now)
        return k if k and self.time_after(k) <= now else max(0, k - 1)
