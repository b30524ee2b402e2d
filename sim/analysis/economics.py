"""From a run to the decision: self-host against API against hybrid at this run's traffic, with stated uncertainties.

A replica's daily tokens are those it delivered in the steady window, which a search found to be close to its most within
the SLO; ``UTILISATION`` says how much of that a month of real traffic uses. The API price is that of the same open
model where a provider sells it; else there is no comparison. Intervals come from the spread of checked GPU prices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sim.analysis.sensitivity import Swing, Uncertain, tornado
from sim.cost import fleet_usd_per_hour
from sim.cost.break_even import Economics, break_even_tokens_per_day
from sim.cost.prices import ApiPrice, api_price, price_spread
from sim.spec import Scenario
from sim.units import SECONDS_PER_DAY, TOKENS_PER_MILLION

UTILISATION = (0.4, 0.6, 0.8)
"""Low, middle, high share of a replica's capacity that a month of traffic uses; 60-80 % is what is claimed to pay."""
STEP_TIME_ERROR = 0.15
"""Share by which a replica may be slower or faster than simulated; measure it with ``validate`` and ``calibrate``."""
OVERHEAD = (0.2, 0.3, 0.4)
RETRIES = (1.0, 1.0, 1.3)

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
    interval: tuple[float | None, float | None]
    """Break-even at the cheapest and at the dearest checked GPU price; None = the API stays cheaper at any volume."""
    swings: tuple[Swing, ...]
    """US$ per 1M output tokens at home, each uncertain input at its ends, widest first."""

    @property
    def cheaper(self) -> str:
        """``self-hosting`` or ``the API`` at today's volume."""
        volume = self.today_tokens_per_day
        home, api = self.numbers.self_host_usd_per_month(volume), self.numbers.api_usd_per_month(volume)
        return "self-hosting" if home <= api else "the API"


def decide(scenario: Scenario, summary: Mapping[str, Any]) -> list[Decision]:
    """One decision for each provider that sells the run's model; empty when none does or the run delivered nothing."""
    rate = summary["throughput"]["output_tokens_per_s"]
    tokens = summary["tokens"]
    replicas = sum(pool.replicas for pool in scenario.fleet.all_pools().values())
    if not rate or not tokens["output"] or not replicas or summary["slo"]["verdict"] == "overloaded":
        return []
    cost = scenario.cost
    fixed = cost.engineers_fte * cost.engineer_usd_per_year / 12
    per_replica = fleet_usd_per_hour(scenario) / replicas / (1 + cost.overhead_fraction)
    found = []
    for provider, model in SOLD_AS.get(scenario.model.name, ()):
        api = api_price(provider, model)
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
        low, middle, high = price_factors(scenario)
        ends = [replace(numbers, usd_per_replica_hour=per_replica * factor) for factor in (low, high)]
        found.append(
            Decision(
                numbers,
                api,
                rate * SECONDS_PER_DAY,
                break_even_tokens_per_day(numbers),
                (break_even_tokens_per_day(ends[0]), break_even_tokens_per_day(ends[1])),
                tuple(tornado(uncertainties(numbers, (low, middle, high)), home_usd_per_1m)),
            )
        )
    return found


def price_factors(scenario: Scenario) -> tuple[float, float, float]:
    """Lowest and highest checked on-demand price of the scenario's GPU over the one it states; middle 1."""
    stated = scenario.gpu.price.on_demand_usd_per_hour
    low, _, high = price_spread(scenario.gpu.name)
    if not stated or math.isnan(low):
        return (0.7, 1.0, 1.5)
    return (min(low / stated, 1.0), 1.0, max(high / stated, 1.0))


def uncertainties(numbers: Economics, price_factor: tuple[float, float, float]) -> list[Uncertain]:
    """The inputs of ``home_usd_per_1m`` with their stated ranges."""
    usd, tokens = numbers.usd_per_replica_hour, numbers.tokens_per_day
    low, middle, high = (usd * factor for factor in price_factor)
    return [
        Uncertain("GPU price", low, middle, high, "spread of checked offers"),
        Uncertain("utilisation", *UTILISATION, "nights and headroom"),
        Uncertain("replica speed", tokens * (1 - STEP_TIME_ERROR), tokens, tokens * (1 + STEP_TIME_ERROR), "model error"),
        Uncertain("overhead", *OVERHEAD, "20-40 % of compute"),
        Uncertain("retries", *RETRIES, "up to 30 % repeated"),
    ]


def home_usd_per_1m(inputs: Mapping[str, float]) -> float:
    """US$ per 1M output tokens at home, replicas as a fraction."""
    tokens = inputs["replica speed"] * inputs["utilisation"] / inputs["retries"]
    return inputs["GPU price"] * 24 / tokens * TOKENS_PER_MILLION * (1 + inputs["overhead"])
