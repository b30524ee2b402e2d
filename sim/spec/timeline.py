"""What changes during a run: a typed list of events, each at its time.

Rate, context, output and route mix change the arrivals before the run (``sim.workload.timeline``); the rest happens to
fleet, market or gateway while it runs.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.engine import EngineSpec
from sim.spec.gpu import Market
from sim.spec.model import ModelSpec
from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _At:
    at_s: float = Field(ge=0)
    """When, s from the start of the run."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _During(_At):
    until_s: float | None = Field(default=None, gt=0)
    """Until when, s. None: to the end."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RateChange(_During):
    """Arrivals times ``factor`` (thinned, or joined by shifted copies)."""

    kind: Literal["rate"] = "rate"
    factor: float = Field(gt=0, le=1000)
    """Arrivals a second after over before."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ContextChange(_During):
    """Prompts times ``factor``: the feature flag that sends more context."""

    kind: Literal["context"] = "context"
    factor: float = Field(gt=0, le=1000)
    """Prompt tokens after over before."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Prompts grow to so many tokens at most; None = without a limit."""
    routes: tuple[str, ...] = ()
    """Only these routes; empty = all."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OutputChange(_During):
    """Answers times ``factor``: a chattier model, a retuned prompt."""

    kind: Literal["output"] = "output"
    factor: float = Field(gt=0, le=1000)
    """Answer tokens after over before."""
    routes: tuple[str, ...] = ()
    """Only these routes; empty = all."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RouteMixChange(_During):
    """Routes are dealt anew, by ``shares``."""

    kind: Literal["route_mix"] = "route_mix"
    shares: dict[str, Annotated[float, Field(ge=0)]] = Field(
        min_length=1, json_schema_extra={"legal": "each >= 0, one above 0"}
    )
    """Route -> its share; they are scaled to add up to 1."""

    @model_validator(mode="after")
    def _check(self) -> RouteMixChange:
        if sum(self.shares.values()) <= 0:
            raise ValueError(f"shares need a sum above 0, but got {self.shares}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Deploy(_At):
    """A rolling deploy: each replica of ``pool`` is replaced by one with what is stated here (None = as before)."""

    kind: Literal["deploy"] = "deploy"
    pool: str = "main"
    """Which of the fleet's pools; main is that of a plain fleet."""
    model: ModelSpec | None = None
    """The new model; on the command line also a preset's name."""
    engine: EngineSpec | None = None
    """The new engine; on the command line also a preset's name."""
    max_surge: int = Field(default=1, ge=0)
    """Replicas that may be there beside the wanted ones meanwhile; they need GPUs (maxSurge of a Kubernetes Deployment,
    whose default is 25 %)."""
    max_unavailable: int = Field(default=0, ge=0)
    """Ready replicas that may be missing meanwhile (maxUnavailable, whose default is 25 %). With neither surge nor this, or
    without GPUs for the surge, a deploy is stuck, and says so."""

    @model_validator(mode="after")
    def _check(self) -> Deploy:
        if not self.max_surge and not self.max_unavailable:
            raise ValueError("`max_surge + max_unavailable >= 1` must hold: nothing could be replaced, but got 0 and 0")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PriceChange(_During):
    """GPU prices of a market times ``factor``."""

    kind: Literal["price"] = "price"
    factor: float = Field(ge=0, le=1e6)
    """Price after over before; 0 = free."""
    market: Market | None = None
    """Only this market; None = all."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SpotHazardChange(_During):
    """Spot evictions come ``factor`` times as fast (hazard rates, not recordings)."""

    kind: Literal["spot_hazard"] = "spot_hazard"
    factor: float = Field(ge=0, le=1e6)
    """Of the rate at which machines are taken."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReplicaLoss(_At):
    """``count`` replicas of ``pool`` lose a GPU at once, and die whole."""

    kind: Literal["replica_loss"] = "replica_loss"
    pool: str = "main"
    """Which of the fleet's pools; main is that of a plain fleet."""
    count: int = Field(default=1, ge=1)
    """How many of its ready replicas, the oldest first."""
    repair: Literal["replace", "restart", "none"] = "replace"
    """replace: a new machine; restart: the same one comes up again (link flap); none: gone for good. A replica that comes up
    again on the GPUs that are left, with a smaller tensor parallel size, is not modelled: state none, and a ``deploy`` of an
    ``engine`` with that size, which replaces the whole pool."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ZoneLoss(_During):
    """Every machine of a zone dies, whatever it was bought as, and none comes up there before ``until_s``."""

    kind: Literal["zone_loss"] = "zone_loss"
    zone: str = "zone_a"
    """The zone; a pool's ``zones``, or its ``zone``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PoolSize(_At):
    """A pool is given another size (scheduled scaling)."""

    kind: Literal["pool_size"] = "pool_size"
    pool: str = "main"
    """Which of the fleet's pools; main is that of a plain fleet."""
    replicas: int = Field(ge=0, le=10_000)
    """Its size from then on, headroom on top; within its limits where an autoscaler scales it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ApiOutage(_During):
    """An API provider does not answer."""

    kind: Literal["api_outage"] = "api_outage"
    provider: str = ""
    """Name of the API in ``gateway.apis``; empty = all of them."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EscalationChange(_During):
    """The chance of escalating to an API becomes ``factor`` times itself (the small model was tuned)."""

    kind: Literal["escalation"] = "escalation"
    factor: float = Field(ge=0, le=1e6)
    """Chance after over before."""


TraceChange = RateChange | ContextChange | OutputChange | RouteMixChange
"""Changes of the arrivals themselves."""

Change = Annotated[
    RateChange | ContextChange | OutputChange | RouteMixChange | Deploy | PriceChange | SpotHazardChange | ReplicaLoss
    | ZoneLoss | PoolSize | ApiOutage | EscalationChange,
    Field(discriminator="kind"),
]  # fmt: skip
