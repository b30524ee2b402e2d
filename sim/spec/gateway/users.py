"""Who sends: users who do not care about the last answer, users who wait for it, and conversations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OpenLoop:
    """Requests are sent at the trace's times, whatever became of those before."""

    kind: Literal["open"] = "open"


START_PHASE = 0.12
"""Chosen on 35 measured closed loops with fixed lengths (``experiments/validation``): with 0, TTFT is 62 % too long in the
median, with 0.5 56 % too short."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClosedLoop:
    """``users`` take the trace's requests in order, each its next one an exponential ``think_s`` (mean) after the
    outcome of its last. The trace's arrival times are not used.

    Users that start together, with answers of one length, finish together for ever, and every prompt then waits for all
    others'. Real ones do not start so exactly: they come by chance over the first ``start_phase`` of an answer's time.
    """

    kind: Literal["closed"] = "closed"
    users: int = Field(ge=1)
    """How many there are."""
    think_s: float = Field(default=0.0, ge=0)
    """Mean thought between an outcome and the next request, seconds."""
    start_phase: float = Field(default=START_PHASE, ge=0, le=1)
    """Share of a mean answer's time over which the users come; 0 = all at once, in step for ever where lengths are equal.
    The default fits measured closed loops best."""
    answer_s_per_token: float = Field(default=0.02, ge=0)
    """What a mean answer's time is taken to be for that, seconds a token; an assumption."""
    own_rows: bool = False
    """Whether the trace's column ``user`` says who sends what: each user then sends its own rows in order, the first at the
    trace's time, so that a user whose rows are through leaves; ``users`` and ``start_phase`` do not count. False = any user
    takes the next row."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WaitingSessions:
    """A session's next turn is sent when its last one has its outcome and the user has thought: the trace's gap between
    the two less ``answer_s_per_token`` x the answer (what the gap already held of serving), at least ``min_think_s``.
    Requests without a session, and first turns, are sent at the trace's times."""

    kind: Literal["sessions"] = "sessions"
    answer_s_per_token: float = Field(default=0.02, ge=0)
    """What the trace's gap already holds of serving, seconds a token; an assumption."""
    min_think_s: float = Field(default=0.5, ge=0)
    """Shortest thought, seconds; an assumption."""


Users = Annotated[OpenLoop | ClosedLoop | WaitingSessions, Field(discriminator="kind")]
