from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.cost.break_even import DAYS_PER_MONTH, Economics, break_even_tokens_per_day, curve, flips
from sim.errors import ConfigError

BASE = Economics(
    usd_per_replica_hour=1.5, tokens_per_day=100e6, utilisation=0.5, api_input_usd_per_1m=0.05,
    api_output_usd_per_1m=0.6, input_per_output=4.0,
)  # fmt: skip


def test_by_hand() -> None:
    assert BASE.replicas(50e6) == 1
    assert BASE.replicas(50.1e6) == 2
    assert BASE.self_host_usd_per_month(50e6) == pytest.approx(1.5 * 730)
    assert BASE.api_usd_per_month(50e6) == pytest.approx(50 * 0.8 * DAYS_PER_MONTH)
    assert BASE.hybrid_usd_per_month(100e6) == pytest.approx(2 * 1.5 * 730 + 30 * 0.8 * DAYS_PER_MONTH)
    assert BASE.usd_per_1m(BASE.api_usd_per_month(3e6), 3e6) == pytest.approx(0.8)


def test_an_api_below_the_marginal_cost_is_never_beaten() -> None:
    assert break_even_tokens_per_day(replace(BASE, api_output_usd_per_1m=0.3, api_input_usd_per_1m=0.0)) is None


_POSITIVE = st.floats(0.1, 100)


@given(_POSITIVE, st.floats(1e5, 1e9), st.floats(0.1, 1), st.floats(0, 1e5), _POSITIVE, st.floats(1, 3))
def test_from_the_break_even_on_home_stays_cheaper(usd, tokens, used, fixed, api, retries) -> None:
    numbers = Economics(
        usd_per_replica_hour=usd, tokens_per_day=tokens, utilisation=used, fixed_usd_per_month=fixed,
        api_output_usd_per_1m=api, retry_amplification=retries, input_per_output=0.0,
    )  # fmt: skip
    volume = break_even_tokens_per_day(numbers, most_tokens_per_day=float("inf"))
    if volume is None:
        per_token = usd * 730 / (tokens * used / retries)
        assert numbers.api_usd_per_month(1.0) <= per_token * (1 + 1e-9)
        return
    step = tokens * used / retries
    for more in (1e-6, 0.3, 0.999999, 1.000001, 1.7, 2.000001, 7.000001):
        beyond = volume + more * step
        assert numbers.self_host_usd_per_month(beyond) <= numbers.api_usd_per_month(beyond) * (1 + 1e-6)
    if volume > 0:
        below = volume * (1 - 1e-6) if volume * (1 - 1e-6) > 0 else volume
        assert numbers.self_host_usd_per_month(below) >= numbers.api_usd_per_month(below) * (1 - 1e-4)


def test_what_flips_the_decision_flips_it() -> None:
    for flip in flips(BASE, 500e6):
        if flip.flips_at is None:
            continue
        at = replace(BASE, **{flip.name: flip.flips_at})
        need = 500e6 * at.retry_amplification / (at.tokens_per_day * at.utilisation)
        home = need * at.usd_per_replica_hour * 730 + at.fixed_usd_per_month
        assert home == pytest.approx(at.api_usd_per_month(500e6), rel=1e-6)
    assert {flip.name for flip in flips(BASE, 500e6) if flip.flips_at is not None} >= {"utilisation", "usd_per_replica_hour"}


def test_retries_cost_both_ways_alike() -> None:
    assert next(f for f in flips(BASE, 5e8) if f.name == "retry_amplification").flips_at is None


def test_curve_rows() -> None:
    rows = curve(BASE, [1e6, 1e9])
    assert rows[0]["api_usd_per_1m"] == pytest.approx(0.8)
    assert rows[1]["self_host_usd_per_month"] < rows[1]["api_usd_per_month"]
    assert rows[0]["self_host_usd_per_month"] > rows[0]["api_usd_per_month"]


@pytest.mark.parametrize(
    "change", [{"utilisation": 0.0}, {"retry_amplification": 0.5}, {"home_share": 1.5}, {"tokens_per_day": 0}]
)
def test_impossible_numbers_are_refused(change) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(BASE, **change)
