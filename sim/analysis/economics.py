"""From a run to the decision: this fleet against every API that sells its model, at this run's traffic.

What both cost at the traffic that was simulated is certain: the fleet's month is the bill (``cost.window.usd_per_month``),
the API's month is its price of the same tokens, prompts included. What they cost at another volume needs the fleet's
capacity within the SLO: only a search knows it (``summary["capacity"]``), and without one there is no break-even. The
capacity curve's own points were simulated; between them, and beyond the largest, it is a closed form, and said to be one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.analysis.ranges import Spread, ranges_of
from sim.analysis.sensitivity import Screening, Swing
from sim.cost import gpus_per_replica, instances_needed
from sim.cost.break_even import DAYS_PER_MONTH, Economics, break_even_tokens_per_day
from sim.cost.capacity_curve import CapacityCurve
from sim.cost.prices import ApiPrice
from sim.cost.sold_as import offered_by, sold_as
from sim.spec import Scenario
from sim.units import HOURS_PER_MONTH, TOKENS_PER_MILLION

TIE = 0.005
"""Dollars closer than this share are a tie: less than what a search's tolerance moves them by."""


@dataclass(frozen=True)
class OtherVolumes:
    """What a search knows besides today's bill."""

    numbers: Economics
    break_even_tokens_per_day: float | None
    """None: at no volume."""
    simulated: tuple[int, ...]
    """Counts of replicas whose capacity was simulated; the curve in between is a closed form."""
    spread: Spread
    """The break-even with every input anywhere in its range."""
    swings: tuple[Swing, ...]
    """US$ a month at home at today's volume, each uncertain input at its ends, widest first."""
    screening: tuple[Screening, ...]
    """Morris's screening of US$ a month saved at home against the API, most influential first."""


@dataclass(frozen=True)
class Decision:
    """One API beside the fleet, at one run's traffic."""

    api: ApiPrice
    home_usd_per_month: float
    """The bill."""
    api_usd_per_month: float
    """The same tokens at the API's list price, prompts uncached."""
    today_tokens_per_day: float
    """Output tokens a day."""
    holds: bool
    """Whether the fleet meets its SLO; if not it is no alternative, whatever it costs."""
    other_volumes: OtherVolumes | None
    """None where no capacity was searched."""

    @property
    def cheaper(self) -> str:
        """``self-hosting``, ``the API``, or ``neither`` within half a percent."""
        if abs(self.home_usd_per_month - self.api_usd_per_month) <= TIE * self.api_usd_per_month:
            return "neither"
        return "self-hosting" if self.home_usd_per_month < self.api_usd_per_month else "the API"

    def as_dict(self) -> dict[str, Any]:
        """The facts of the decision, for ``answer.json``; a break-even of None = at no volume."""
        facts: dict[str, Any] = {
            "provider": self.api.provider,
            "model": self.api.model,
            "cheaper": self.cheaper,
            "self_host_meets_slo": self.holds,
            "self_host_usd_per_month": self.home_usd_per_month,
            "api_usd_per_month": self.api_usd_per_month,
            "output_tokens_per_day": self.today_tokens_per_day,
        }
        found = self.other_volumes
        if found is None:
            return facts
        return facts | {
            "break_even_tokens_per_day": found.break_even_tokens_per_day,
            "interval_90_percent": [found.spread.low, found.spread.high],
            "capacity_simulated_at_replicas": list(found.simulated),
            "draws_without_break_even": found.spread.never_share,
            "draws_with_self_hosting_cheaper": found.spread.home_share,
            "measure_first": [one.name for one in found.screening[:2]],
        }


def decide(scenario: Scenario, summary: Mapping[str, Any]) -> list[Decision]:
    """One decision for each provider that sells the run's model or that its gateway states, cheapest first; empty when there
    is none, or the run delivered nothing."""
    window, tokens = summary["cost"]["window"], summary["tokens"]
    volume = window.get("output_tokens_per_day")
    if not volume or summary["slo"]["verdict"] == "overloaded":
        return []
    found = []
    stated = [offered_by(name, spec) for name, spec in scenario.gateway.apis.items()]
    for api in [*sold_as(scenario.model.name, scenario.cost.price_folder), *stated]:
        api_usd = api.bill_usd(window["input_tokens_per_day"], volume) * DAYS_PER_MONTH
        decision = Decision(
            api, window["usd_per_month"], api_usd, volume, summary["slo"]["holds"],
            _other_volumes(scenario, summary, api, tokens["input"] / tokens["output"]),
        )  # fmt: skip
        found.append(decision)
    return sorted(found, key=lambda one: one.api_usd_per_month)


def _other_volumes(
    scenario: Scenario, summary: Mapping[str, Any], api: ApiPrice, input_per_output: float
) -> OtherVolumes | None:
    numbers = economics(scenario, summary, api, input_per_output)
    if numbers is None:
        return None
    answered = max(summary["requests"]["completed"] + summary["requests"]["escalated"], 1)
    tokens, today = summary["tokens"], summary["cost"]["window"]["output_tokens_per_day"]
    ranges = ranges_of(scenario, numbers, tokens["input"] / answered, tokens["output"] / answered, today)
    simulated = tuple(n for n, _ in numbers.capacity.held)
    return OtherVolumes(
        numbers, break_even_tokens_per_day(numbers), simulated, ranges.break_even(), ranges.swings(), ranges.screening()
    )


def economics(
    scenario: Scenario, summary: Mapping[str, Any], api: ApiPrice, input_per_output: float
) -> Economics | None:
    """The comparison at every volume, from the month that was simulated: its price of a GPU-hour is the one that gives the
    bill's compute at today's replicas. None where no capacity is known, or a fleet does not grow by equal replicas."""
    capacity, window = summary.get("capacity"), summary["cost"]["window"]
    held = [(p["replicas"], p["output_tokens_per_day"]) for p in capacity or () if p["holds"]]
    unequal = scenario.fleet.pools or scenario.autoscaler.kind != "none" or scenario.cost.commitment is not None
    if not held or unequal or not window["compute_usd_per_month"]:
        return None
    gpus, sold = gpus_per_replica(scenario.engine), scenario.gpu.price.instance_gpus
    gpu_hours = instances_needed(scenario.fleet.replicas, gpus, sold) * sold * HOURS_PER_MONTH
    compute, volume = window["compute_usd_per_month"], window["output_tokens_per_day"]
    missed = [(p["replicas"], p["output_tokens_per_day"]) for p in capacity or () if not p["holds"]]
    return Economics(
        capacity=CapacityCurve.of(held, missed),
        usd_per_gpu_hour=compute / gpu_hours,
        gpus_per_replica=gpus,
        instance_gpus=sold,
        on_top_fraction=window["on_top_usd_per_month"] / compute,
        fixed_usd_per_month=window["fixed_usd_per_month"],
        usd_per_1m_output_tokens=window["by_volume_usd_per_month"] / (volume * DAYS_PER_MONTH) * TOKENS_PER_MILLION,
        input_per_output=input_per_output,
        api_input_usd_per_1m=api.input_usd_per_1m,
        api_output_usd_per_1m=api.output_usd_per_1m,
    )
