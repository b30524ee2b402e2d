"""The stated ranges of a decision: intervals that move as prices do, and the input that matters named first."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sim.analysis.ranges import Ranges, price_factors, ranges_of
from sim.analysis.sensitivity import Uncertain
from sim.cli.compose import composed_scenario
from sim.cost.break_even import Economics, break_even_tokens_per_day
from sim.cost.capacity_curve import CapacityCurve

SCENARIO = composed_scenario([])
NUMBERS = Economics(
    capacity=CapacityCurve.of([(1, 36e6)]), usd_per_gpu_hour=1.4, on_top_fraction=0.3, input_per_output=5.0,
    fixed_usd_per_month=2000.0, api_input_usd_per_1m=0.3, api_output_usd_per_1m=0.6,
)  # fmt: skip
TODAY = 300e6


def ranges(speed: float = 1.0, **changes: float) -> Ranges:
    numbers = replace(NUMBERS, capacity=NUMBERS.capacity.faster(speed), **changes)
    return ranges_of(SCENARIO, numbers, 1000.0, 200.0, TODAY)


def volume(found: float | None) -> float:
    return math.inf if found is None else found


def test_the_interval_holds_the_point() -> None:
    spread = ranges().break_even()
    assert volume(spread.low) < volume(break_even_tokens_per_day(NUMBERS)) < volume(spread.high)
    assert 0 <= spread.never_share <= 1
    assert ranges().break_even() == spread


@pytest.mark.parametrize(
    ("changes", "sign"),
    [
        ({"usd_per_gpu_hour": 2.1}, 1),
        ({"api_output_usd_per_1m": 0.9}, -1),
        ({"fixed_usd_per_month": 6000.0}, 1),
        ({"speed": 1.5}, -1),
    ],
)
def test_the_interval_moves_with_its_inputs(changes: dict[str, float], sign: int) -> None:
    before, after = ranges().break_even(), ranges(**changes).break_even()
    assert sign * (volume(after.low) - volume(before.low)) > 0
    assert sign * (after.home_share - before.home_share) <= 0


def test_an_input_that_cannot_move_has_no_effect_and_a_wide_one_is_named_first() -> None:
    found = ranges()
    fixed = tuple(Uncertain(one.name, one.middle, one.middle, one.middle) for one in found.inputs)
    only = tuple(
        one if one.name == "context" else Uncertain(one.name, one.middle, one.middle, one.middle) for one in found.inputs
    )
    assert {screen.mu_star for screen in replace(found, inputs=fixed).screening()} == {0.0}
    screening = replace(found, inputs=only).screening()
    assert screening[0].name == "context"
    assert screening[0].mu_star > 0 == screening[1].mu_star


def test_a_longer_context_needs_more_replicas_by_the_prompts_share() -> None:
    found = ranges()
    middle = {one.name: one.middle for one in found.inputs}
    longer = found.at({**middle, "context": 1.5}).capacity
    assert NUMBERS.capacity.load(1) / longer.load(1) == pytest.approx(1 + 0.5 * found.prompt_share)
    assert 0 < found.prompt_share < 1
    assert found.home_usd_per_month(middle) == NUMBERS.self_host_usd_per_month(TODAY)


def test_price_factors_are_those_of_checked_offers() -> None:
    low, middle, high = price_factors(SCENARIO)
    assert low <= middle == 1.0 <= high
