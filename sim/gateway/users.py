"""Users who wait: they send the next request when the last one has its outcome. See ``sim.spec.gateway.users``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sim.engine.clock import ARRIVAL, Clock
from sim.errors import TraceError
from sim.spec.gateway.users import ClosedLoop, OpenLoop, WaitingSessions
from sim.spec.gateway.users import Users as UsersSpec
from sim.workload import Trace

Send = Callable[[int], None]
"""Sends the request of a row of the trace now."""


class ClosedLoopUsers:
    """A fixed number of users who take requests in order."""

    def __init__(self, clock: Clock, spec: ClosedLoop, trace: Trace, send: Send, rng: np.random.Generator) -> None:
        requests = len(trace)
        self._clock = clock
        self._requests = requests
        self._send = send
        self._next = 0
        self._think_s = (rng.exponential(spec.think_s, requests) if spec.think_s else np.zeros(requests)).tolist()
        self._users = min(spec.users, requests)
        answer_s = spec.answer_s_per_token * float(trace.output_tokens.mean()) if requests else 0.0
        coming_s = spec.start_phase * answer_s
        self._comes_s = np.sort(rng.uniform(0.0, coming_s, self._users)).tolist() if coming_s else [0.0] * self._users

    def start(self) -> None:
        """Every user comes, and thinks first."""
        for user in range(self._users):
            self._clock.at(self._comes_s[user] + self._think_s[user], ARRIVAL, self._turn)
        self._thought = self._users

    def _turn(self, _: object) -> None:
        row = self._next
        self._next += 1
        self._send(row)

    def outcome(self, row: int) -> None:
        """Request ``row`` has its outcome: its user thinks and takes the next."""
        if self._thought < self._requests:
            self._clock.at(self._clock.now + self._think_s[self._thought], ARRIVAL, self._turn)
            self._thought += 1


Chain = tuple[list[tuple[float, int]], dict[int, tuple[int, float]]]
"""(time, row) of what everybody sends first; row -> the next row of the same user and the thought before it, s."""


class ChainedUsers:
    """Users who each send rows of their own: the first at the trace's time, each next one after the last's outcome."""

    def __init__(self, clock: Clock, chain: Chain, send: Send) -> None:
        self._clock = clock
        self._send = send
        self._first, self._follower = chain

    def start(self) -> None:
        """First rows come at the trace's times."""
        for at_s, row in self._first:
            self._clock.at(at_s, ARRIVAL, lambda moment: self._send(moment.value), row)

    def outcome(self, row: int) -> None:
        """Request ``row`` has its outcome: its user goes on after a thought."""
        following = self._follower.get(row)
        if following is not None:
            next_row, think_s = following
            self._clock.at(self._clock.now + think_s, ARRIVAL, lambda moment: self._send(moment.value), next_row)


def rows_of_users(spec: ClosedLoop, trace: Trace, rng: np.random.Generator) -> Chain:
    """Each ``user`` of the trace, with exponential thoughts."""
    named = trace.labels.get("user")
    if named is None:
        raise TraceError("gateway.users.own_rows: the trace has no column `user`, which says who sends what")
    think_s = (rng.exponential(spec.think_s, len(trace)) if spec.think_s else np.zeros(len(trace))).tolist()
    first: list[tuple[float, int]] = []
    follower: dict[int, tuple[int, float]] = {}
    last: dict[object, int] = {}
    for row, (user, arrival_s) in enumerate(zip(named.tolist(), trace.arrival_s.tolist(), strict=True)):
        if user in last:
            follower[last[user]] = (row, think_s[row])
        else:
            first.append((arrival_s, row))
        last[user] = row
    return first, follower


def rows_of_sessions(spec: WaitingSessions, trace: Trace) -> Chain:
    """Each conversation of the trace, with the thoughts that its gaps hold; a row without one stands alone."""
    arrival, answer = trace.arrival_s.tolist(), trace.output_tokens.tolist()
    first: list[tuple[float, int]] = []
    follower: dict[int, tuple[int, float]] = {}
    last: dict[str, int] = {}
    sessions = trace.labels.get("session_id")
    for row, session in enumerate(sessions.tolist() if sessions is not None else [""] * len(trace)):
        before = last.get(session) if session else None
        if before is None:
            first.append((arrival[row], row))
        else:
            gap_s = arrival[row] - arrival[before] - spec.answer_s_per_token * answer[before]
            follower[before] = (row, max(gap_s, spec.min_think_s))
        if session:
            last[session] = row
    return first, follower


def make_users(
    spec: UsersSpec, clock: Clock, trace: Trace, send: Send, rng: np.random.Generator
) -> ClosedLoopUsers | ChainedUsers | None:
    """The users that ``spec`` names; None where nobody waits and the trace's times hold."""
    match spec:
        case ClosedLoop() if spec.own_rows:
            return ChainedUsers(clock, rows_of_users(spec, trace, rng), send)
        case ClosedLoop():
            return ClosedLoopUsers(clock, spec, trace, send, rng)
        case WaitingSessions():
            return ChainedUsers(clock, rows_of_sessions(spec, trace), send)
        case OpenLoop():
            return None
