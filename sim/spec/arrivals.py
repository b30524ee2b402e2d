"""When requests come: arrival processes (drawn in ``sim.workload.arrivals``), and how their rate changes over time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PoissonArrivals:
    """Independent arrivals: exponential gaps."""

    kind: Literal["poisson"] = "poisson"
    rate_per_s: float = Field(gt=0)
    """Mean requests (with sessions: conversations) a second."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GammaArrivals:
    """Renewal arrivals with Gamma gaps; ``cv`` above 1 is burstier than Poisson."""

    kind: Literal["gamma"] = "gamma"
    rate_per_s: float = Field(gt=0)
    """Mean requests (with sessions: conversations) a second."""
    cv: float = Field(gt=0)
    """Standard deviation of the gaps over their mean; 1 = Poisson."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WeibullArrivals:
    """Renewal arrivals with Weibull gaps; ``shape`` below 1 is burstier than Poisson."""

    kind: Literal["weibull"] = "weibull"
    rate_per_s: float = Field(gt=0)
    """Mean requests (with sessions: conversations) a second."""
    shape: float = Field(gt=0)
    """Of the gaps' Weibull distribution; 1 = Poisson."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MarkovModulatedArrivals:
    """Poisson arrivals whose rate jumps between states; each state lasts an exponential time, the next is any other
    with equal chance."""

    kind: Literal["mmpp"] = "mmpp"
    rates_per_s: tuple[float, ...] = Field(min_length=2, json_schema_extra={"legal": "each >= 0, one above 0; 2 or more"})
    """Arrivals a second in each state; at least 0, one above 0."""
    mean_sojourn_s: tuple[float, ...] = Field(min_length=2, json_schema_extra={"legal": "each > 0, one a state"})
    """Mean stay in each state; above 0."""

    @model_validator(mode="after")
    def _check(self) -> MarkovModulatedArrivals:
        if len(self.rates_per_s) != len(self.mean_sojourn_s):
            raise ValueError("rates_per_s and mean_sojourn_s need one entry a state each")
        if min(self.rates_per_s) < 0 or max(self.rates_per_s) <= 0 or min(self.mean_sojourn_s) <= 0:
            raise ValueError("rates must be at least 0 with one above 0, sojourns above 0")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OnOffArrivals:
    """Silence and bursts in turn, with exponential or heavier (``cv``, lognormal) lengths; Gamma gaps in a burst."""

    kind: Literal["on_off"] = "on_off"
    on_rate_per_s: float = Field(gt=0)
    """Mean arrivals a second within a burst."""
    mean_on_s: float = Field(gt=0)
    """Mean length of a burst."""
    mean_off_s: float = Field(gt=0)
    """Mean length of a silence."""
    on_cv: float = Field(default=1.0, gt=0)
    """Standard deviation of a burst's length over its mean (lognormal)."""
    off_cv: float = Field(default=1.0, gt=0)
    """Standard deviation of a silence's length over its mean (lognormal)."""
    gap_cv: float = Field(default=1.0, gt=0)
    """Standard deviation of the gaps within a burst over their mean; 1 = Poisson."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SelfExcitingArrivals:
    """Hawkes process: every arrival brings ``branching`` more on average, each after an exponential ``decay_s``.

    The mean rate, offspring included, is ``rate_per_s``.
    """

    kind: Literal["self_exciting"] = "self_exciting"
    rate_per_s: float = Field(gt=0)
    """Mean requests a second, offspring included."""
    branching: float = Field(ge=0, lt=1)
    """Offspring of an arrival, on average; 0 = Poisson."""
    decay_s: float = Field(gt=0)
    """Mean time from an arrival to one of its offspring."""


Arrivals = Annotated[
    PoissonArrivals | GammaArrivals | WeibullArrivals | MarkovModulatedArrivals | OnOffArrivals | SelfExcitingArrivals,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RateProfile:
    """Multipliers of the arrival rate, one for each ``bin_s`` seconds, repeated without end (24 of 3,600 s: a day)."""

    bin_s: float = Field(gt=0)
    """Length of a bin."""
    multipliers: tuple[float, ...] = Field(min_length=1, json_schema_extra={"legal": "each >= 0, one above 0"})
    """Of the rate, bin by bin; at least 0, one above 0."""

    @model_validator(mode="after")
    def _check(self) -> RateProfile:
        if min(self.multipliers) < 0 or max(self.multipliers) <= 0:
            raise ValueError(f"multipliers must be at least 0 and one above 0, but got {self.multipliers}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FlashCrowd:
    """The rate rises to ``factor`` times itself over ``rise_s``, stays ``hold_s`` and falls back over ``fall_s``."""

    start_s: float = Field(ge=0)
    """When the rate begins to rise."""
    factor: float = Field(gt=0)
    """The rate at the top over the rate without it."""
    rise_s: float = Field(default=10.0, gt=0)
    """From the usual rate to the top; the default is an assumption."""
    hold_s: float = Field(default=60.0, ge=0)
    """At the top; the default is an assumption."""
    fall_s: float = Field(default=60.0, gt=0)
    """From the top to the usual rate; the default is an assumption."""
