"""From a run to the decision: this fleet against every API that sells its model, at this run's traffic.

What both cost at the traffic that was simulated is certain: the fleet's month is the bill (``cost.window.usd_per_month``),
the API's month is its price of the same tokens, prompts included, under the terms of its contract, and what is paid whoever
answers (storage of logs, egress, GPUs committed to). What they cost at another volume needs the fleet's
capacity within the SLO: only a search knows it (``summary["capacity"]``), and without one there is no break-even. The
capacity curve's own points were simulated; between them, and beyond the largest, it is a closed form, and said to be one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.analysis.ranges import Spread, ranges_of
from sim.analysis.sensitivity import Screening, Swing
from sim.cost import committed_usd_per_hour, gpus_per_replica, instances_needed
from sim.cost.api_terms import ApiBill, ApiMonth, effective_usd_per_1m
from sim.cost.break_even import Economics, break_even_tokens_per_day
from sim.cost.capacity_curve import CapacityCurve
from sim.cost.sold_as import offers_of
from sim.spec import Scenario
from sim.spec.gateway.answers import ApiSpec
from sim.units import DAYS_PER_MONTH, HOURS_PER_MONTH, SECONDS_PER_HOUR, TOKENS_PER_MILLION

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

    name: str
    """The provider's."""
    at_home: bool
    """Whether machines stand at home; if not the bill is that of the APIs that answer."""
    apis: tuple[ApiSpec, ...]
    """One, or one for each model of the fleet."""
    home_usd_per_month: float
    """The bill."""
    api_usd_per_month: float
    """The same tokens at the API's price, and what is paid either way."""
    either_way_usd_per_month: float
    """Of both: storage of logs, egress, GPUs committed to."""
    today_tokens_per_day: float
    """Output tokens a day."""
    holds: bool
    """Whether the fleet meets its SLO; if not it is no alternative, whatever it costs."""
    other_volumes: OtherVolumes | None
    """None where no capacity was searched."""

    @property
    def model(self) -> str:
        """The provider's name of the model, or of the models."""
        return " + ".join((one.model or self.name).removeprefix(f"{self.name}/") for one in self.apis)

    @property
    def cheaper(self) -> str:
        """``self-hosting`` (without a machine at home: ``the API that answers``), ``the API``, or ``neither`` within half a
        percent."""
        if abs(self.home_usd_per_month - self.api_usd_per_month) <= TIE * self.api_usd_per_month:
            return "neither"
        home = "self-hosting" if self.at_home else "the API that answers"
        return home if self.home_usd_per_month < self.api_usd_per_month else "the API"

    def as_dict(self) -> dict[str, Any]:
        """The facts of the decision, for ``answer.json``; a break-even of None = at no volume."""
        facts: dict[str, Any] = {
            "provider": self.name,
            "model": self.model,
            "cheaper": self.cheaper,
            "self_host_meets_slo": self.holds,
            "self_host_usd_per_month": self.home_usd_per_month,
            "api_usd_per_month": self.api_usd_per_month,
            "either_way_usd_per_month": self.either_way_usd_per_month,
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
    window = summary["cost"]["window"]
    volume = window.get("output_tokens_per_day")
    if not volume or window["usd_per_month"] is None or summary["slo"]["verdict"] == "overloaded":
        return []
    found = []
    for name, apis in offers_of(scenario):
        specs = tuple(apis.values())
        month = api_month(scenario, summary, specs)
        either_way = month.by_volume_usd + month.fixed_usd
        found.append(
            Decision(
                name, scenario.has_machines, specs, window["usd_per_month"], month.usd(), either_way, volume,
                summary["slo"]["holds"], _other_volumes(scenario, summary, month),
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: one.api_usd_per_month)


def api_month(scenario: Scenario, summary: Mapping[str, Any], apis: Sequence[ApiSpec]) -> ApiMonth:
    """The month of the tokens that a run answered, had ``apis`` answered them all: each its routes, the one that names none
    the rest."""
    window = summary["cost"]["window"]
    left = np.array([*_tokens_a_month(window), _requests_a_month(summary)])
    bills = []
    for spec in sorted(apis, key=lambda spec: not spec.routes):
        share = left if not spec.routes else _of_routes(summary, spec.routes)
        left = left - share
        bills.append(_bill(spec, *share.tolist()))
    fixed = committed_usd_per_hour(scenario) * HOURS_PER_MONTH
    return ApiMonth(tuple(bills), by_volume_usd=window["either_way_usd_per_month"], fixed_usd=fixed)


def _bill(spec: ApiSpec, read: float, written: float, requests: float) -> ApiBill:
    for_prompts, for_answers = effective_usd_per_1m(spec, read / max(requests, 1.0))
    listed = (read * for_prompts + written * for_answers) / TOKENS_PER_MILLION
    return ApiBill(spec, listed, read + written * spec.output_tokens_factor)


def _of_routes(summary: Mapping[str, Any], routes: Sequence[str]) -> np.ndarray:
    """Prompt tokens, answer tokens and answered requests of ``routes`` a month."""
    rows = [row for name, row in summary["by_route"].items() if name in routes]
    counts = [
        (row["input_tokens"], row["output_tokens"], row["requests"]["completed"] + row["requests"]["escalated"])
        for row in rows
    ]
    to_month: float = HOURS_PER_MONTH * SECONDS_PER_HOUR / summary["cost"]["window"]["window_s"]
    total: np.ndarray = np.array(counts, dtype=float).reshape(-1, 3).sum(axis=0)
    return total * to_month


def _other_volumes(scenario: Scenario, summary: Mapping[str, Any], month: ApiMonth) -> OtherVolumes | None:
    numbers = economics(scenario, summary, month)
    if numbers is None:
        return None
    answered = max(summary["requests"]["completed"] + summary["requests"]["escalated"], 1)
    tokens, today = summary["tokens"], summary["cost"]["window"]["output_tokens_per_day"]
    ranges = ranges_of(scenario, numbers, tokens["input"] / answered, tokens["output"] / answered, today)
    simulated = tuple(n for n, _ in numbers.capacity.held)
    return OtherVolumes(
        numbers, break_even_tokens_per_day(numbers), simulated, ranges.break_even(), ranges.swings(), ranges.screening()
    )


def economics(scenario: Scenario, summary: Mapping[str, Any], month: ApiMonth) -> Economics | None:
    """The comparison with an API at every volume, from the month that was simulated: its price of a GPU-hour is the one
    that gives the bill's compute at today's replicas. None where no capacity is known, or a fleet does not grow by equal
    replicas."""
    capacity, window = summary.get("capacity"), summary["cost"]["window"]
    held = [(p["replicas"], p["output_tokens_per_day"]) for p in capacity or () if p["holds"]]
    unequal = scenario.fleet.pools or scenario.autoscaler.kind != "none"
    if not held or unequal or not window["compute_usd_per_month"]:
        return None
    gpus, sold = gpus_per_replica(scenario.engine), scenario.gpu.price.instance_gpus
    gpu_hours = instances_needed(scenario.fleet.replicas, gpus, sold) * sold * HOURS_PER_MONTH
    missed = [(p["replicas"], p["output_tokens_per_day"]) for p in capacity or () if not p["holds"]]
    return _numbers(
        scenario, summary, month, capacity=CapacityCurve.of(held, missed), gpu_hours=gpu_hours, gpus_per_replica=gpus,
        instance_gpus=sold,
    )  # fmt: skip


def economics_as_it_stands(scenario: Scenario, summary: Mapping[str, Any], month: ApiMonth) -> Economics:
    """The comparison with an API at today's volume, of any fleet: all of it is one replica that carries today's load."""
    volume = summary["cost"]["window"]["output_tokens_per_day"]
    gpus = max(round(summary["fleet"]["gpus_mean"]), 1)
    gpu_hours = summary["fleet"]["gpus_mean"] * HOURS_PER_MONTH
    return _numbers(
        scenario, summary, month, capacity=CapacityCurve.of([(1, volume)]), gpu_hours=gpu_hours, gpus_per_replica=gpus,
        instance_gpus=gpus,
    )  # fmt: skip


def _numbers(
    scenario: Scenario, summary: Mapping[str, Any], month: ApiMonth, *, capacity: CapacityCurve, gpu_hours: float,
    gpus_per_replica: int, instance_gpus: int,
) -> Economics:  # fmt: skip
    window = summary["cost"]["window"]
    compute, volume = window["compute_usd_per_month"], window["output_tokens_per_day"]
    bought = ApiMonth(api_bills(scenario, window))
    alone = window["by_volume_usd_per_month"] - window["either_way_usd_per_month"] - bought.usd()
    commitment = scenario.cost.commitment
    committed = commitment.gpus if commitment is not None else 0
    usd_per_hour = committed_usd_per_hour(scenario)
    read, written = _tokens_a_month(window)
    # of several providers the first one's prices stand for all, in proportion
    for_prompts, for_answers = effective_usd_per_1m(month.bills[0].spec, read / _requests_a_month(summary))
    factor = month.listed_usd / (read * for_prompts + written * for_answers) * TOKENS_PER_MILLION
    return Economics(
        capacity=capacity,
        usd_per_gpu_hour=compute / gpu_hours if compute else scenario.gpu.price.on_demand_usd_per_hour or 1.0,
        gpus_per_replica=gpus_per_replica,
        instance_gpus=instance_gpus,
        on_top_fraction=window["on_top_usd_per_month"] / compute if compute else 0.0,
        committed_gpus=committed,
        committed_usd_per_hour=usd_per_hour,
        fixed_usd_per_month=window["fixed_usd_per_month"] - window["commitment_usd_per_month"],
        usd_per_1m_output_tokens=max(alone, 0.0) / written * TOKENS_PER_MILLION,
        either_way_usd_per_1m_output_tokens=window["either_way_usd_per_month"] / written * TOKENS_PER_MILLION,
        bought=bought,
        today_tokens_per_day=volume,
        input_per_output=read / written,
        api_input_usd_per_1m=for_prompts * factor,
        api_output_usd_per_1m=for_answers * factor,
        contract=month if any(bill.spec.has_terms for bill in month.bills) else None,
    )


def api_bills(scenario: Scenario, window: Mapping[str, Any]) -> tuple[ApiBill, ...]:
    """What ``window`` says that the scenario's own APIs billed, as a month of today's traffic."""
    return tuple(
        ApiBill(scenario.gateway.apis[name], bill["listed_usd_per_month"], bill["tokens_per_month"])
        for name, bill in (window.get("apis") or {}).items()
    )


def _tokens_a_month(window: Mapping[str, Any]) -> tuple[float, float]:
    return window["input_tokens_per_day"] * DAYS_PER_MONTH, window["output_tokens_per_day"] * DAYS_PER_MONTH


def _requests_a_month(summary: Mapping[str, Any]) -> float:
    answered = summary["requests"]["completed"] + summary["requests"]["escalated"]
    return float(answered * HOURS_PER_MONTH * SECONDS_PER_HOUR / summary["cost"]["window"]["window_s"])
