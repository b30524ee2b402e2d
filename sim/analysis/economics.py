"""From a run to the decision: self-host against API against hybrid at this run's traffic, with stated uncertainties.

A replica's daily tokens are those it delivered in the steady window, which a search found to be close to its most within
the SLO; the utilisation says how much of that a month of real traffic uses. The API price is that of the same open model
where a provider sells it; else there is no comparison. Ranges and intervals: ``sim.analysis.ranges``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.analysis.ranges import UTILISATION, Spread, ranges_of
from sim.analysis.sensitivity import Screening, Swing
from sim.cost import fleet_usd_per_hour
from sim.cost.break_even import Economics, break_even_tokens_per_day
from sim.cost.prices import ApiPrice, api_price
from sim.spec import Scenario
from sim.units import SECONDS_PER_DAY

SOLD_AS: dict[str, tuple[tuple[str, str], ...]] = {
    "llama3_8b": (
        ("groq", "llama-3.1-8b-instant"), ("together", "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo"),
    ),
    "llama3_70b": (
        ("groq", "llama-3.3-70b-versatile"), ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    ),
    "qwen3_32b": (("groq", "qwen/qwen3-32b"),),
    "mixtral_8x7b": (("together", "mistralai/Mixtral-8x7B-Instruct-v0.1"),),
}  # fmt: skip
"""Preset -> where the same weights are sold by the token (3.3-70B stands for 3.1-70B: the same shape)."""


@dataclass(frozen=True)
class Decision:
    """The comparison at one run's traffic."""

    numbers: Economics
    api: ApiPrice
    today_tokens_per_day: float
    break_even_tokens_per_day: float | None
    spread: Spread
    """The break-even with every input anywhere in its range."""
    swings: tuple[Swing, ...]
    """US$ per 1M output tokens at home, each uncertain input at its ends, widest first."""
    screening: tuple[Screening, ...]
    """Morris's screening of US$ per 1M saved at home against the API, most influential first."""

    @property
    def cheaper(self) -> str:
        """``self-hosting`` or ``the API`` at today's volume."""
        volume = self.today_tokens_per_day
        home, api = self.numbers.self_host_usd_per_month(volume), self.numbers.api_usd_per_month(volume)
        return "self-hosting" if home <= api else "the API"


    def as_dict(self) -> dict[str, Any]:
        """The facts of the decision, for ``answer.json``; None = at no volume."""
        return {
            "provider": self.api.provider,
            "model": self.api.model,
            "cheaper": self.cheaper,
            "output_tokens_per_day": self.today_tokens_per_day,
            "break_even_tokens_per_day": self.break_even_tokens_per_day,
            "interval_90_percent": [self.spread.low, self.spread.high],
            "draws_without_break_even": self.spread.never_share,
            "draws_with_self_hosting_cheaper": self.spread.home_share,
            "measure_first": [found.name for found in self.screening[:2]],
        }


def decide(scenario: Scenario, summary: Mapping[str, Any]) -> list[Decision]:
    """One decision for each provider that sells the run's model; empty when none does or the run delivered nothing."""
    rate = summary["throughput"]["output_tokens_per_s"]
    tokens = summary["tokens"]
    replicas = sum(pool.replicas for pool in scenario.fleet.all_pools().values())
    if not rate or not tokens["output"] or not replicas or summary["slo"]["verdict"] == "overloaded":
        return []
    answered = max(summary["requests"]["completed"], 1)
    cost = scenario.cost
    fixed = cost.engineers_fte * cost.engineer_usd_per_year / 12
    per_replica = fleet_usd_per_hour(scenario) / replicas / (1 + cost.overhead_fraction)
    found = []
    for provider, model in SOLD_AS.get(scenario.model.name, ()):
        api = api_price(provider, model, cost.price_folder)
        numbers = Economics(
            usd_per_replica_hour=per_replica,
            tokens_per_day=rate / replicas * SECONDS_PER_DAY,
            utilisation=UTILISATION[1],
            overhead_fraction=cost.overhead_fraction,
            fixed_usd_per_month=fixed,
            input_per_output=tokens["input"] / tokens["output"],
            api_input_usd_per_1m=api.input_usd_per_1m,
            api_output_usd_per_1m=api.output_usd_per_1m,
        )
        ranges = ranges_of(scenario, numbers, tokens["input"] / answered, tokens["output"] / answered)
        today = rate * SECONDS_PER_DAY
        found.append(
            Decision(
                numbers, api, today, break_even_tokens_per_day(numbers), ranges.break_even(today), ranges.swings(),
                ranges.screening(),
            )
        )  # fmt: skip
    return found
