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
    mean_life_h: float = Field(gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WeibullHazard:
    """Life Weibull(scale, shape): below 1 most losses come early, as traces show."""

    kind: Literal["weibull"] = "weibull"
    scale_h: float = Field(gt=0)
    shape: float = Field(gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TimeOfDayHazard:
    """Exponential with a rate that follows the hour of the day: ``multipliers`` of 24 hours, from the run's midnight."""

    kind: Literal["time_of_day"] = "time_of_day"
    mean_life_h: float = Field(gt=0)
    multipliers: tuple[float, ...] = Field(min_length=1)

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
    up_mean_h: float = Field(gt=0)
    up_median_h: float = Field(gt=0)
    down_mean_h: float = Field(gt=0)
    down_median_h: float = Field(gt=0)

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
    paths: dict[str, str] = Field(min_length=1)
    """Zone -> file: SkyPilot spot-traces JSON, Bamboo event CSV or gcloud count samples."""
    offset_s: float = Field(default=0.0, ge=0)
    """Where in the recording the run begins."""
    gap_s: float | None = Field(default=None, gt=0)
    """Replaces the tick that a JSON file states (some state it wrongly)."""


Hazard = Annotated[ExponentialHazard | WeibullHazard | TimeOfDayHazard | ZoneRuns | SpotTrace, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SpotSpec:
    """What happens to replicas on the spot market. ``hazard`` None: nothing."""

    name: str = "none"
    hazard: Hazard | None = None
    notice_s: float = Field(default=120.0, ge=0)
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
    price_usd_per_gpu_hour: tuple[tuple[float, float], ...] = ()
    """``(from_s, usd)``: the spot price over time; empty = the GPU's own spot price."""
    source: str = ""

    @model_validator(mode="after")
    def _check(self) -> SpotSpec:
        times = [time_s for time_s, _ in self.price_usd_per_gpu_hour]
        if times != sorted(times):
            raise ValueError(f"price_usd_per_gpu_hour must be in order of time, but got {times}")
        return self
