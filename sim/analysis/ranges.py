"""The stated uncertainty of a decision: which inputs may be elsewhere, how far, and what becomes of the answer.

Inputs and their ranges (low, middle, high), all assumptions to be replaced by measurements:

    GPU price      spread of the checked offers of this GPU
    utilisation    share of a replica's capacity that a month of traffic uses; 60-80 % is what is claimed to pay
    replica speed  model error, see ``servecap validate``; ``calibrate`` narrows it
    overhead       software, storage, ops: 20-40 % of compute
    retries        tokens produced per token delivered
    context        prompt tokens per answer token, as a factor: more to read at home (the prompt's share of a replica's
                   work grows with it) and more to pay at the API
    API price      list prices of open models fell by a third within a year more often than they rose

An interval of the break-even takes all of them at once and states where 90 % of the draws lie (Latin hypercube); draws
without any break-even count as "never". Inputs are independent, and as likely below their middle as above it, uniformly on
either side: the middle is each one's median, wherever in its range it lies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from sim.analysis.sensitivity import Screening, Swing, Uncertain, morris, tornado
from sim.analysis.steady import steady_replica
from sim.cost.break_even import DAYS_PER_MONTH, Economics, break_even_tokens_per_day
from sim.cost.prices import price_spread
from sim.rng import stream
from sim.spec import Scenario
from sim.units import TOKENS_PER_MILLION

UTILISATION = (0.4, 0.6, 0.8)
STEP_TIME_ERROR = 0.15
OVERHEAD = (0.2, 0.4)
RETRIES = (1.0, 1.0, 1.3)
CONTEXT = (0.75, 1.0, 1.5)
API_PRICE = (0.67, 1.0, 1.1)
DRAWS = 512


@dataclass(frozen=True)
class Spread:
    """The break-even over the joint ranges, output tokens a day; None = the API stays cheaper at any volume."""

    low: float | None
    high: float | None
    never_share: float
    """Share of the draws in which no volume pays."""
    home_share: float
    """Share of the draws in which self-hosting is cheaper at today's volume."""


@dataclass(frozen=True)
class Ranges:
    """A comparison with the ranges of its inputs."""

    numbers: Economics
    prompt_share: float
    """Share of a replica's work that prompts are, in [0, 1]."""
    inputs: tuple[Uncertain, ...]

    def at(self, inputs: Mapping[str, float]) -> Economics:
        """The comparison with ``inputs`` in the place of its own."""
        numbers, context = self.numbers, inputs["context"]
        return replace(
            numbers,
            usd_per_replica_hour=inputs["GPU price"],
            utilisation=inputs["utilisation"],
            tokens_per_day=inputs["replica speed"] / (1 + self.prompt_share * (context - 1)),
            overhead_fraction=inputs["overhead"],
            retry_amplification=inputs["retries"],
            input_per_output=numbers.input_per_output * context,
            api_input_usd_per_1m=numbers.api_input_usd_per_1m * inputs["API price"],
            api_output_usd_per_1m=numbers.api_output_usd_per_1m * inputs["API price"],
        )

    def home_usd_per_1m(self, inputs: Mapping[str, float]) -> float:
        """US$ per 1M output tokens at home, replicas as a fraction."""
        return home_usd_per_1m(self.at(inputs))

    def saved_usd_per_1m(self, inputs: Mapping[str, float]) -> float:
        """What 1M output tokens cost less at home than at the API, fixed costs apart."""
        numbers = self.at(inputs)
        return numbers.api_usd_per_month(TOKENS_PER_MILLION) / DAYS_PER_MONTH - home_usd_per_1m(numbers)

    def swings(self) -> tuple[Swing, ...]:
        """Cost at home with each input at its ends, widest first."""
        at_home = [one for one in self.inputs if one.name != "API price"]
        middle = {one.name: one.middle for one in self.inputs}
        return tuple(tornado(at_home, lambda inputs: self.home_usd_per_1m({**middle, **inputs})))

    def screening(self) -> tuple[Screening, ...]:
        """Morris's screening of what is saved at home: all inputs move, most influential first."""
        return tuple(morris(self.inputs, self.saved_usd_per_1m, trajectories=40))

    def break_even(self, today_tokens_per_day: float) -> Spread:
        """Over joint draws of all inputs: where 90 % of the break-even volumes lie."""
        random, k = stream(0, "analysis", "ranges"), len(self.inputs)
        strata = random.permuted(np.tile(np.arange(DRAWS), (k, 1)), axis=1).T  # a Latin hypercube: each stratum once
        draws = (strata + random.random((DRAWS, k))) / DRAWS
        volumes, at_home = [], 0
        for draw in draws:
            numbers = self.at({one.name: _quantile(one, u) for one, u in zip(self.inputs, draw.tolist(), strict=True)})
            volume = break_even_tokens_per_day(numbers)
            volumes.append(math.inf if volume is None else volume)
            home = numbers.self_host_usd_per_month(today_tokens_per_day)
            at_home += home <= numbers.api_usd_per_month(today_tokens_per_day)
        low, high = np.quantile(volumes, [0.05, 0.95], method="inverted_cdf").tolist()
        never = sum(map(math.isinf, volumes))
        return Spread(_finite(low), _finite(high), never / DRAWS, at_home / DRAWS)


def ranges_of(scenario: Scenario, numbers: Economics, prompt: float, answer: float) -> Ranges:
    """``numbers`` with the stated ranges; ``prompt`` and ``answer`` are mean tokens of a request."""
    low, middle, high = price_factors(scenario)
    usd, tokens = numbers.usd_per_replica_hour, numbers.tokens_per_day
    stated = numbers.overhead_fraction
    steady = steady_replica(scenario, prompt, answer)
    read_s, write_s = steady.s_per_input_token * prompt, steady.s_per_output_token * answer
    inputs = (
        Uncertain("GPU price", usd * low, usd * middle, usd * high, "spread of checked offers"),
        Uncertain("utilisation", *UTILISATION, "nights and headroom"),
        Uncertain("replica speed", tokens * (1 - STEP_TIME_ERROR), tokens, tokens * (1 + STEP_TIME_ERROR), "model error"),
        Uncertain("overhead", min(OVERHEAD[0], stated), stated, max(OVERHEAD[1], stated), "20-40 % of compute"),
        Uncertain("retries", *RETRIES, "up to 30 % repeated"),
        Uncertain("context", *CONTEXT, "prompt tokens per answer token, as a factor"),
        Uncertain("API price", *API_PRICE, "list prices move, mostly down"),
    )
    return Ranges(numbers, read_s / (read_s + write_s), inputs)


def price_factors(scenario: Scenario) -> tuple[float, float, float]:
    """Lowest and highest checked on-demand price of the scenario's GPU over the one it states; middle 1."""
    stated = scenario.gpu.price.on_demand_usd_per_hour
    low, _, high = price_spread(scenario.gpu.name, folder=scenario.cost.price_folder)
    if not stated or math.isnan(low):
        return (0.7, 1.0, 1.5)
    return (min(low / stated, 1.0), 1.0, max(high / stated, 1.0))


def home_usd_per_1m(numbers: Economics) -> float:
    """US$ per 1M output tokens at home, replicas as a fraction, fixed costs apart."""
    tokens = numbers.tokens_per_day * numbers.utilisation / numbers.retry_amplification
    return numbers.usd_per_replica_hour * 24 / tokens * TOKENS_PER_MILLION * (1 + numbers.overhead_fraction)


def _quantile(one: Uncertain, share: float) -> float:
    if share < 0.5:
        return one.low + 2 * share * (one.middle - one.low)
    return one.middle + (2 * share - 1) * (one.high - one.middle)


def _finite(volume: float) -> float | None:
    return None if math.isinf(volume) else volume
