"""What stands between the user and the engines: routing, deadlines, admission."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RoundRobin:
    """Replicas in turn."""

    kind: Literal["round_robin"] = "round_robin"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LeastTokensInFlight:
    """The replica with the fewest prompt tokens of unfinished requests sent to it by this gateway."""

    kind: Literal["least_tokens_in_flight"] = "least_tokens_in_flight"


Router = Annotated[RoundRobin | LeastTokensInFlight, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GatewaySpec:
    """The life of a request outside the engines."""

    router: Router = Field(default_factory=LeastTokensInFlight)
    client_timeout_s: float | None = Field(default=None, gt=0)
    """The client gives up this long after it sent the request; None = waits for ever."""
    abort_on_disconnect: bool = True
    """False: the engine finishes the dead request, and its tokens are wasted."""
    max_queue_requests: int | None = Field(default=None, ge=0)
    """Shed a request when so many already wait (not yet running) in the replica it is routed to; None = unbounded."""
