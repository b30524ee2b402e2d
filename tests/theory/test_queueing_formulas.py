"""The formulas that nail the simulation down, against textbook values and each other."""

from __future__ import annotations

import math

import pytest

from sim.analysis import theory


def test_erlang_b_table_values() -> None:
    # a = 10 erlang on 10 and 15 lines: 21.5 % and 3.65 % blocked
    assert theory.erlang_b(10, 10) == pytest.approx(0.2146, abs=5e-5)
    assert theory.erlang_b(10, 15) == pytest.approx(0.0365, abs=5e-5)


def test_erlang_c_textbook_value() -> None:
    # M/M/2 at rho = 0.75: C = 2 rho^2 / (1 + rho)
    assert theory.erlang_c(1.5, 2) == pytest.approx(2 * 0.75**2 / 1.75)
    assert theory.erlang_c(8, 10) == pytest.approx(0.4092, abs=5e-5)


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9, 0.99])
def test_one_server_of_many_is_one_server(rho: float) -> None:
    assert theory.mmc_wait_s(rho, 1.0, 1) == pytest.approx(theory.mm1_wait_s(rho, 1.0))
    assert theory.mm1_wait_s(rho, 1.0) == pytest.approx(rho / (1 - rho))


def test_constant_service_halves_the_wait() -> None:
    assert theory.md1_wait_s(0.8, 1.0) == pytest.approx(2.0)
    assert theory.mm1_wait_s(0.8, 1.0) == pytest.approx(4.0)


def test_pollaczek_khinchine_grows_with_variance() -> None:
    waits = [theory.pollaczek_khinchine_wait_s(0.5, 1.0, scv) for scv in (0.0, 0.5, 1.0, 4.0)]
    assert waits == pytest.approx([0.5, 0.75, 1.0, 2.5])


def test_an_unstable_queue_waits_for_ever() -> None:
    assert math.isinf(theory.mm1_wait_s(1.0, 1.0))
    assert math.isinf(theory.mmc_wait_s(3.0, 1.0, 3))
    assert theory.erlang_c(3.0, 3) == 1.0


def test_many_servers_hardly_wait() -> None:
    assert theory.mmc_wait_s(8.0, 1.0, 16) < theory.mmc_wait_s(8.0, 1.0, 10) < theory.mm1_wait_s(0.8, 1.0)
    assert theory.little_mean_in_system(8.0, 1.25) == 10.0
