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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClosedLoop:
    """``users`` take the trace's requests in order, each its next one an exponential ``think_s`` (mean) after the
    outcome of its last. The trace's arrival times are not used."""

    kind: Literal["closed"] = "closed"
    users: int = Field(ge=1)
    """How many there are."""
    think_s: float = Field(default=0.0, ge=0)
    """Mean thought between an outcome and the next request, seconds."""


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
