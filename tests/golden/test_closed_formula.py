"""The closed formula's goldens, each computable by hand."""

from __future__ import annotations

import pytest

from sim.cost import break_even_tokens_per_s, cost_per_1m_usd, kv_bytes_per_token
from sim.errors import ConfigError


@pytest.mark.parametrize(
    ("usd_per_hour", "tokens_per_s", "plain", "with_30_percent"),
    [
        pytest.param(1.5, 1500, 0.2778, 0.3611, id="8B on L40S, steady copilot"),
        pytest.param(3.5, 700, 1.3889, 1.8056, id="8B on A100-80, spiky chat"),
        pytest.param(96, 1200, 22.22, 28.89, id="70B on 8xH100"),
    ],
)
def test_cost_per_1m(usd_per_hour: float, tokens_per_s: float, plain: float, with_30_percent: float) -> None:
    assert cost_per_1m_usd(usd_per_hour, tokens_per_s) == pytest.approx(plain, abs=0.005 if plain > 20 else 5e-5)
    assert cost_per_1m_usd(usd_per_hour, tokens_per_s, 0.3) == pytest.approx(
        with_30_percent, abs=0.005 if plain > 20 else 5e-5
    )


def test_eight_h100s_cost_what_the_formula_says_not_what_is_claimed() -> None:
    assert cost_per_1m_usd(80, 1600) == pytest.approx(13.9, abs=0.05)
    assert cost_per_1m_usd(120, 900) == pytest.approx(37.0, abs=0.05)


def test_kv_bytes_of_a_multi_head_7b() -> None:
    assert kv_bytes_per_token(32, 32, 128, 2) == 524_288
    assert kv_bytes_per_token(32, 32, 128, 2) * 8192 == pytest.approx(4.29e9, rel=2e-3)
    assert kv_bytes_per_token(32, 8, 128, 2) == 524_288 / 4


def test_break_even_rate_inverts_the_formula() -> None:
    assert cost_per_1m_usd(2.0, break_even_tokens_per_s(2.0, 0.37)) == pytest.approx(0.37)


@pytest.mark.parametrize("tokens_per_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_no_rate_is_refused(tokens_per_s: float) -> None:
    with pytest.raises(ConfigError, match="tokens_per_s > 0"):
        cost_per_1m_usd(1.0, tokens_per_s)
