"""The spot market: how machines are taken away, with what notice, and what the fleet does about it.

Notice: AWS 120 s, Google Cloud and Azure 30 s. No public trace of L40S, H100 or newer spot machines is known: what is
used here comes from V100 and A100 traces, scaled by assumption.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExponentialHazard:
    """Machines are taken independently, at a constant rate."""

    kind: Literal["exponential"] = "exponential"
    mean_life_h: float = Field(ge=0.001)
    """Mean time from a machine's start to its taking, h."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WeibullHazard:
    """Life Weibull(scale, shape): below 1 most losses come early, as traces show."""

    kind: Literal["weibull"] = "weibull"
    scale_h: float = Field(ge=0.001)
    """Time by which 63 % are taken, h."""
    shape: float = Field(ge=0.1, le=20)
    """Of the life's distribution: below 1 most losses come early; 1 = exponential."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TimeOfDayHazard:
    """Exponential with a rate that follows the hour of the day: ``multipliers`` of 24 hours, from the run's midnight."""

    kind: Literal["time_of_day"] = "time_of_day"
    mean_life_h: float = Field(ge=0.001)
    """Mean life where the multiplier is 1, h."""
    multipliers: tuple[float, ...] = Field(min_length=1, json_schema_extra={"legal": "each >= 0, one above 0"})
    """Of the rate, hour by hour; fewer than 24 repeat sooner."""

    @model_validator(mode="after")
    def _check(self) -> TimeOfDayHazard:
        if min(self.multipliers) < 0 or max(self.multipliers) <= 0:
            raise ValueError(f"multipliers must be at least 0 and one above 0, but got {self.multipliers}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ZoneRuns:
    """Each zone has capacity and has none in turn, for lognormal times given by mean and median: when it has none, all
    its machines are taken together and none is launched."""

    kind: Literal["zone_runs"] = "zone_runs"
    up_mean_h: float = Field(ge=0.001)
    """Mean time with capacity, h."""
    up_median_h: float = Field(ge=0.0001)
    """Median time with capacity, h."""
    down_mean_h: float = Field(ge=0.001)
    """Mean time without, h."""
    down_median_h: float = Field(ge=0.0001)
    """Median time without, h."""

    @model_validator(mode="after")
    def _check(self) -> ZoneRuns:
        if self.up_mean_h < self.up_median_h or self.down_mean_h < self.down_median_h:
            raise ValueError("a lognormal time has a mean at least its median")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SpotTrace:
    """Replays recorded zones. ``availability``: could one be launched now (gates launches, takes nothing);
    ``preemption``: how many of those held are alive (takes the rest)."""

    kind: Literal["trace"] = "trace"
    meaning: Literal["availability", "preemption"] = "preemption"
    """What the counts say; see above."""
    paths: dict[str, str] = Field(min_length=1)
    """Zone -> file: SkyPilot spot-traces JSON, Bamboo event CSV or gcloud count samples."""
    offset_s: float = Field(default=0.0, ge=0)
    """Where in the recording the run begins."""
    gap_s: float | None = Field(default=None, ge=0.1)
    """Replaces the tick, s, that a JSON file states (some state it wrongly)."""


Hazard = Annotated[ExponentialHazard | WeibullHazard | TimeOfDayHazard | ZoneRuns | SpotTrace, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SpotSpec:
    """What happens to replicas on the spot market. ``hazard`` None: nothing."""

    name: str = "none"
    """Of the preset; for display."""
    hazard: Hazard | None = None
    """How machines are taken; None = not at all."""
    notice_s: float = Field(default=120.0, ge=0)
    """A taking is told so long before, s: AWS 120, Google Cloud and Azure 30."""
    on_notice: Literal["drain", "hand_back", "ignore"] = "drain"
    """drain: no new requests, the old ones finish if they can; hand_back: give the machine up at once."""
    correlation: float = Field(default=0.0, ge=0, le=1)
    """Chance that an eviction takes each other spot machine of the same zone with it, each with its notice; not for
    ``zone_runs`` and ``trace``, whose zones fall as they fall."""
    replace_on_notice: bool = True
    """Ask for a replacement at the notice; False: once the machine is gone."""
    on_demand_share: float = Field(default=0.0, ge=0, le=1)
    """Part of a spot pool that stays on demand."""
    fallback: Literal["none", "on_demand"] = "none"
    """on_demand: where spot has no capacity, on demand stands in until spot comes back."""
    price_usd_per_gpu_hour: tuple[tuple[float, Annotated[float, Field(ge=0)]], ...] = Field(
        default=(), json_schema_extra={"legal": "pairs in order of time, usd >= 0"}
    )
    """``(from_s, usd)``: the spot price over time; empty = the GPU's own spot price."""
    price_only: bool = False
    """True: spot machines are bought at their price and never taken, and this is meant."""
    source: str = ""
    """Where the numbers are from; for display."""

    @model_validator(mode="after")
    def _check(self) -> SpotSpec:
        times = [time_s for time_s, _ in self.price_usd_per_gpu_hour]
        if times != sorted(times):
            raise ValueError(f"price_usd_per_gpu_hour must be in order of time, but got {times}")
        return self
