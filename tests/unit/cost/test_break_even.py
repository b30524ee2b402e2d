from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.cost.break_even import Economics, break_even_tokens_per_day, curve, flips, with_value
from sim.cost.capacity_curve import CapacityCurve
from sim.errors import ConfigError
from sim.units import DAYS_PER_MONTH

BASE = Economics(
    capacity=CapacityCurve.of([(1, 50e6)]), usd_per_gpu_hour=1.5, api_input_usd_per_1m=0.05, api_output_usd_per_1m=0.6,
    input_per_output=4.0,
)  # fmt: skip


def test_by_hand() -> None:
    assert BASE.capacity.replicas(50e6) == 1
    assert BASE.capacity.replicas(50.1e6) == 2
    assert BASE.self_host_usd_per_month(50e6) == pytest.approx(1.5 * 730)
    assert BASE.api_usd_per_month(50e6) == pytest.approx(50 * 0.8 * DAYS_PER_MONTH)


def test_replicas_are_sold_by_the_instance() -> None:
    sold = replace(BASE, instance_gpus=8, gpus_per_replica=4)
    assert sold.self_host_usd_per_month(60e6) == pytest.approx(8 * 1.5 * 730)
    assert sold.self_host_usd_per_month(120e6) == pytest.approx(16 * 1.5 * 730)


def test_an_api_below_the_marginal_cost_is_never_beaten() -> None:
    assert break_even_tokens_per_day(replace(BASE, api_output_usd_per_1m=0.3, api_input_usd_per_1m=0.0)) is None


_POSITIVE = st.floats(0.1, 100)


@given(
    _POSITIVE, st.floats(1e5, 1e9), st.floats(1, 2), st.floats(0, 1e5), _POSITIVE, st.sampled_from([1, 4, 8]),
    st.floats(0, 0.5), st.floats(0, 0.05),
)  # fmt: skip
def test_from_the_break_even_on_home_stays_cheaper(usd, tokens, pooling, fixed, api, sold, on_top, by_volume) -> None:
    numbers = Economics(
        capacity=CapacityCurve.of([(1, tokens), (16, 16 * tokens * pooling)]), usd_per_gpu_hour=usd, instance_gpus=sold,
        on_top_fraction=on_top, usd_per_1m_output_tokens=by_volume, fixed_usd_per_month=fixed, api_output_usd_per_1m=api,
        input_per_output=0.0,
    )  # fmt: skip
    volume = break_even_tokens_per_day(numbers)
    if volume is None:
        per_1m = usd * 24e6 / (tokens * pooling) * (1 + on_top) + by_volume
        assert api <= per_1m * (1 + 1e-3) or fixed > 0
        return
    for more in (1e-6, 0.3, 0.999999, 1.000001, 1.7, 2.000001, 7.000001, 100.3):
        beyond = volume + more * tokens
        assert numbers.self_host_usd_per_month(beyond) <= numbers.api_usd_per_month(beyond) * (1 + 1e-6)
    below = volume * (1 - 1e-6)
    assert numbers.self_host_usd_per_month(below) >= numbers.api_usd_per_month(below) * (1 - 1e-4)


def test_what_flips_the_decision_flips_it() -> None:
    for flip in flips(BASE, 500e6):
        if flip.flips_at is None:
            continue
        at = with_value(BASE, flip.name, flip.flips_at)
        home = 500e6 / at.capacity.load(1) * at.usd_per_gpu_hour * 730 + at.fixed_usd_per_month
        assert home == pytest.approx(at.api_usd_per_month(500e6), rel=1e-6)
    assert {flip.name for flip in flips(BASE, 500e6) if flip.flips_at is not None} >= {"replica speed", "usd_per_gpu_hour"}


def test_curve_rows() -> None:
    rows = curve(BASE, [1e6, 1e9])
    assert rows[1]["self_host_usd_per_month"] < rows[1]["api_usd_per_month"]
    assert rows[0]["self_host_usd_per_month"] > rows[0]["api_usd_per_month"]


@pytest.mark.parametrize("change", [{"usd_per_gpu_hour": -1.0}, {"fixed_usd_per_month": math.nan}])
def test_impossible_numbers_are_refused(change) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(BASE, **change)


_POINTS = st.lists(st.tuples(st.integers(1, 64), st.floats(1e3, 1e9)), min_size=1, max_size=6)


@given(_POINTS, _POINTS, st.floats(1e3, 1e11))
def test_a_capacity_curve_and_its_inverse_agree(held, missed, volume) -> None:
    found = CapacityCurve.of(held, missed)
    n = found.replicas(volume)
    assert found.load(n) >= volume
    assert all(found.load(count) > 0 for count in (1, 2, 63))
    assert found.faster(2.0).load(n) == pytest.approx(2 * found.load(n))


@given(_POINTS)
def test_a_replica_of_a_larger_fleet_carries_no_less(held) -> None:
    found = CapacityCurve.of(held)
    each = [found.load(n) / n for n in range(1, 130)]
    assert all(after >= before * (1 - 1e-12) for before, after in itertools.pairwise(each))
    assert all(found.load(n) >= volume * (1 - 1e-12) for n, volume in held)


def test_a_load_that_missed_bounds_the_curve() -> None:
    found = CapacityCurve.of([(1, 10.0), (6, 50.0)], [(5, 50.0)])
    assert found.load(5) < 50.0 <= found.load(6)
    assert found.replicas(50.0) == 6


def test_a_curve_needs_a_load_that_held() -> None:
    with pytest.raises(ConfigError, match="loads that held"):
        CapacityCurve.of([])
