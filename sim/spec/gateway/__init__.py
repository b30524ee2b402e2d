"""What stands between the user and the engines: users, deadlines, retries, admission, routing, caches, passes, APIs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.gateway.admission import Admission, QueueSpec
from sim.spec.gateway.answers import ApiSpec, Hybrid, PassSpec, ResponseCache
from sim.spec.gateway.disaggregation import Disaggregation
from sim.spec.gateway.retrying import Hedging, Outliers, Retries
from sim.spec.gateway.routing import LeastTokensInFlight, RoundRobin, Router, StaticWeights
from sim.spec.gateway.users import OpenLoop, Users
from sim.spec.strict import STRICT

__all__ = ["ApiSpec", "GatewaySpec", "LeastTokensInFlight", "RoundRobin", "Router"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GatewaySpec:
    """The life of a request outside the engines. The defaults route, and do nothing else."""

    name: str = "plain"
    """What pages call it."""
    router: Router = Field(default_factory=LeastTokensInFlight)
    """Which replica gets a request."""
    disaggregation: Disaggregation | None = None
    """Which requests a prefill and a decode replica serve together, where pools of the fleet have these roles; null = all of
    them then (kind always)."""
    users: Users = Field(default_factory=OpenLoop)
    """Who sends: at the trace's times, or when the last answer is there."""
    client_timeout_s: float | None = Field(default=None, gt=0)
    """The client gives up so long after it sent an attempt, or the call; null = waits for ever."""
    client_timeout_covers: Literal["attempt", "call"] = "attempt"
    """attempt: each try has ``client_timeout_s``, and may be followed by a retry; call: all tries together, with the waits
    between them (gRPC's deadline, Envoy's route timeout)."""
    abort_on_disconnect: bool = True
    """False: the engine finishes the dead request, and its tokens are wasted."""
    max_queue_requests: int | None = Field(default=None, ge=0)
    """Shed a request when so many already wait (not yet running) in the replica it is routed to; None = unbounded."""
    retries: Retries | None = None
    """What follows a failed try; null = nothing, the request has failed."""
    hedging: Hedging | None = None
    """Second attempts before the first has failed; null = none."""
    outliers: Outliers | None = None
    """Who is left out after failures; null = nobody."""
    queue: QueueSpec = Field(default_factory=QueueSpec)
    """The gateway's own queue before the replicas."""
    admission: tuple[Admission, ...] = ()
    """Asked in this order; the first that refuses decides."""
    cache: ResponseCache | None = None
    """Exact answers kept by prompt; null = none."""
    dedupe: bool = False
    """A request equal to one under way (same ``prompt_id``) waits for its answer."""
    passes: tuple[PassSpec, ...] = ()
    """Classifiers and rewriters, in order."""
    apis: dict[str, ApiSpec] = Field(default_factory=dict)
    """Providers, tried in this order."""
    hybrid: Hybrid | None = None
    """Which requests leave for a larger pool or an API; null = none."""
    pools: tuple[str, ...] = ()
    """Fleet pools that ordinary requests go to; empty = all that neither a pass nor ``hybrid.larger_pool`` names."""
    network_one_way_s: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Pool or zone -> seconds from the clients to it, and as long back: part of every TTFT. A pool's own number goes before
    its zone's; 0 where neither is named. An API's latency stands with the API."""
    routes: dict[str, str] = Field(default_factory=dict)
    """Route -> the fleet pool that serves it (two models on two routes); the other routes go to the pools that none names,
    or to all where every pool is named."""
    plain_routes: tuple[str, ...] = ()
    """Routes that are only routed: no policy applies to them, and they cost the simulation nothing extra."""

    def named_pools(self) -> dict[str, str]:
        """The pools of the fleet that it names, by key."""
        named = {f"gateway.pools.{place}": pool for place, pool in enumerate(self.pools)}
        named |= {f"gateway.routes.{route}": pool for route, pool in self.routes.items()}
        named |= {f"gateway.passes.{place}.pool": one.pool for place, one in enumerate(self.passes) if one.pool is not None}
        if self.hybrid is not None and self.hybrid.larger_pool is not None:
            named["gateway.hybrid.larger_pool"] = self.hybrid.larger_pool
        if isinstance(self.router, StaticWeights):
            named |= {f"gateway.router.pools.{pool}": pool for pool in self.router.pools}
        return named

    @model_validator(mode="after")
    def _check(self) -> GatewaySpec:
        if self.hybrid is not None and self.hybrid.api_first and not self.apis:
            raise ValueError("hybrid.api_first needs a provider: choose one with api=NAME")
        reserved = sorted(set(self.apis) & {"cache", "dedupe"})
        if reserved:
            raise ValueError(f"an API cannot be called {reserved}: the records use these names for other answers")
        return self

    def passes_of(self, stage: Literal["before", "after"]) -> tuple[PassSpec, ...]:
        """The passes of one stage, in order."""
        return tuple(one for one in self.passes if one.stage == stage)
