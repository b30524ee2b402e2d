"""The stated uncertainty of a decision: which inputs may be elsewhere, how far, and what becomes of the answer.

Inputs and their ranges (low, middle, high), all assumptions to be replaced by measurements:

    GPU price      spread of the checked offers of this GPU
    replica speed  model error, see ``servecap validate``; ``calibrate`` narrows it
    overhead       software, storage, ops: 20-40 % of compute
    context        prompt tokens per answer token, as a factor: more to read at home (the prompt's share of a replica's
                   work grows with it) and more to pay at the API
    API price      list prices of open models fell by a third within a year more often than they rose

An interval of the break-even takes all of them at once and states where 90 % of the draws lie (Latin hypercube); draws
without any break-even count as "never". Inputs are independent, and as likely below their middle as above it, uniformly on
either side: the middle is each one's median, wherever in its range it lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sim.analysis.sensitivity import Screening, Swing, Uncertain, morris, tornado
from sim.analysis.steady import steady_replica
from sim.cost.break_even import Economics, break_even_tokens_per_day
from sim.cost.prices import price_spread
from sim.rng import stream
from sim.spec import Scenario

STEP_TIME_ERROR = 0.15
OVERHEAD = (0.2, 0.4)
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
    today_tokens_per_day: float
    inputs: tuple[Uncertain, ...]

    def at(self, inputs: Mapping[str, float]) -> Economics:
        """The comparison with ``inputs`` in the place of its own."""
        numbers, context = self.numbers, inputs["context"]
        return replace(
            numbers,
            usd_per_gpu_hour=inputs["GPU price"],
            committed_usd_per_hour=numbers.committed_usd_per_hour * inputs["GPU price"] / numbers.usd_per_gpu_hour,
            capacity=numbers.capacity.faster(inputs["replica speed"] / (1 + self.prompt_share * (context - 1))),
            on_top_fraction=inputs["overhead"],
            input_per_output=numbers.input_per_output * context,
            api_input_usd_per_1m=numbers.api_input_usd_per_1m * inputs["API price"],
            api_output_usd_per_1m=numbers.api_output_usd_per_1m * inputs["API price"],
        )

    def home_usd_per_month(self, inputs: Mapping[str, float]) -> float:
        """US$ a month at home at today's volume, with as many whole replicas as ``inputs`` then need."""
        return self.at(inputs).self_host_usd_per_month(self.today_tokens_per_day)

    def saved_usd_per_month(self, inputs: Mapping[str, float]) -> float:
        """What today's volume costs less at home than at the API."""
        numbers = self.at(inputs)
        home = numbers.self_host_usd_per_month(self.today_tokens_per_day)
        return numbers.api_usd_per_month(self.today_tokens_per_day) - home

    def swings(self) -> tuple[Swing, ...]:
        """The month at home with each input at its ends, widest first."""
        at_home = [one for one in self.inputs if one.name != "API price"]
        middle = {one.name: one.middle for one in self.inputs}
        return tuple(tornado(at_home, lambda inputs: self.home_usd_per_month({**middle, **inputs})))

    def screening(self) -> tuple[Screening, ...]:
        """Morris's screening of what is saved at home: all inputs move, most influential first."""
        return tuple(morris(self.inputs, self.saved_usd_per_month, trajectories=40))

    def break_even(self) -> Spread:
        """Over joint draws of all inputs: where 90 % of the break-even volumes lie."""
        today = self.today_tokens_per_day

        def at(draw: Mapping[str, float]) -> tuple[float | None, bool]:
            numbers = self.at(draw)
            at_home = numbers.self_host_usd_per_month(today) <= numbers.api_usd_per_month(today)
            return break_even_tokens_per_day(numbers), at_home

        return spread_of(self.inputs, at)


def spread_of(
    inputs: Sequence[Uncertain], answer: Callable[[Mapping[str, float]], tuple[float | None, bool]]
) -> Spread:
    """Over ``DRAWS`` joint draws of ``inputs``; ``answer`` says of one where it breaks even (None: nowhere), and whether
    home is cheaper at today's volume."""
    random, k = stream(0, "analysis", "ranges"), len(inputs)
    strata = random.permuted(np.tile(np.arange(DRAWS), (k, 1)), axis=1).T  # a Latin hypercube: each stratum once
    draws = (strata + random.random((DRAWS, k))) / DRAWS
    volumes, at_home = [], 0
    for draw in draws:
        volume, cheaper = answer({one.name: _quantile(one, u) for one, u in zip(inputs, draw.tolist(), strict=True)})
        volumes.append(math.inf if volume is None else volume)
        at_home += cheaper
    low, high = np.quantile(volumes, [0.05, 0.95], method="inverted_cdf").tolist()
    never = sum(map(math.isinf, volumes))
    return Spread(_finite(low), _finite(high), never / DRAWS, at_home / DRAWS)


def price_inputs(scenario: Scenario, numbers: Economics) -> tuple[Uncertain, Uncertain, Uncertain]:
    """What can be priced again without another run: the GPU, the overhead, the API."""
    low, _, high = price_factors(scenario)
    usd, stated = numbers.usd_per_gpu_hour, numbers.on_top_fraction
    return (
        Uncertain("GPU price", usd * low, usd, usd * high, "spread of checked offers"),
        Uncertain("overhead", min(OVERHEAD[0], stated), stated, max(OVERHEAD[1], stated), "20-40 % of compute"),
        Uncertain("API price", *API_PRICE, "list prices move, mostly down"),
    )


def ranges_of(
    scenario: Scenario, numbers: Economics, prompt: float, answer: float, today_tokens_per_day: float
) -> Ranges:
    """``numbers`` with the stated ranges; ``prompt`` and ``answer`` are mean tokens of a request."""
    gpu_price, overhead, api_price = price_inputs(scenario, numbers)
    steady = steady_replica(scenario, prompt, answer)
    read_s, write_s = steady.s_per_input_token * prompt, steady.s_per_output_token * answer
    inputs = (
        gpu_price,
        Uncertain("replica speed", 1 - STEP_TIME_ERROR, 1.0, 1 + STEP_TIME_ERROR, "model error"),
        overhead,
        Uncertain("context", *CONTEXT, "prompt tokens per answer token, as a factor"),
        api_price,
    )
    return Ranges(numbers, read_s / (read_s + write_s), today_tokens_per_day, inputs)


def price_factors(scenario: Scenario) -> tuple[float, float, float]:
    """Lowest and highest checked on-demand price of the scenario's GPU over the one it states; middle 1."""
    stated = scenario.gpu.price.on_demand_usd_per_hour
    low, _, high = price_spread(scenario.gpu.name, folder=scenario.cost.price_folder)
    if not stated or math.isnan(low):
        return (0.7, 1.0, 1.5)
    return (min(low / stated, 1.0), 1.0, max(high / stated, 1.0))


def _quantile(one: Uncertain, share: float) -> float:
    if share < 0.5:
        return one.low + 2 * share * (one.middle - one.low)
    return one.middle + (2 * share - 1) * (one.high - one.middle)


def _finite(volume: float) -> float | None:
    return None if math.isinf(volume) else volume
