"""Noise of single steps: its mean and spread, its streams, and what runs with it say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.engine.noise import StepNoise
from sim.report.assumptions import regime_badge
from sim.run import simulate
from sim.search.randomness import is_random
from sim.spec import EngineSpec
from tests.laws.test_engine import asked, chat


def test_factors_have_the_mean_and_spread_that_were_asked_for() -> None:
    noise = StepNoise(EngineSpec(step_noise_cv=0.3, straggler_rate=0.0), 1, "main-0")
    factors = np.array([noise.factor() for _ in range(40_000)])
    assert factors.mean() == pytest.approx(1.0, abs=0.006)
    assert factors.std() == pytest.approx(0.3, rel=0.03)
    late = StepNoise(EngineSpec(straggler_rate=0.1, straggler_factor=4.0), 1, "main-0")
    drawn = np.array([late.factor() for _ in range(40_000)])
    assert set(drawn.tolist()) == {1.0, 4.0}
    assert drawn.mean() == pytest.approx(1.3, rel=0.03)


def test_each_replica_has_its_own_stream() -> None:
    engine = EngineSpec(step_noise_cv=0.3)
    first, again, other = (StepNoise(engine, 1, name) for name in ("main-0", "main-0", "main-1"))
    ours = [first.factor() for _ in range(10)]
    assert ours == [again.factor() for _ in range(10)]
    assert ours != [other.factor() for _ in range(10)]


def test_noise_keeps_the_mean_token_time_and_spreads_it() -> None:
    trace = chat(60, 3.0, 5)
    plain = asked()
    noisy = replace(plain, engine=replace(plain.engine, step_noise_cv=0.5))
    exact, strayed, other = (simulate(s, trace).requests for s in (plain, noisy, replace(noisy, seed=noisy.seed + 1)))
    assert strayed["tpot_s"].mean() == pytest.approx(exact["tpot_s"].mean(), rel=0.1)
    assert not strayed["tpot_s"].equals(exact["tpot_s"])
    assert not strayed["tpot_s"].equals(other["tpot_s"])
    assert strayed.equals(simulate(noisy, trace).requests)


def test_stragglers_lengthen_every_run() -> None:
    trace = chat(60, 3.0, 5)
    plain = asked()
    slow = replace(plain, engine=replace(plain.engine, straggler_rate=0.2, straggler_factor=4.0))
    exact, late = simulate(plain, trace).requests["tpot_s"].mean(), simulate(slow, trace).requests["tpot_s"].mean()
    assert late > 1.3 * exact  # 1 + rate (factor - 1) = 1.6, less where the batch shrinks


def test_a_noisy_scenario_is_random_and_says_that_it_steps() -> None:
    trace = chat(20, 3.0, 5)
    plain = asked()
    noisy = replace(plain, engine=replace(plain.engine, step_noise_cv=0.1))
    assert not is_random(plain, trace)
    assert is_random(noisy, trace)
    assert "every step was simulated" in regime_badge(noisy)
    assert "every step was simulated" not in regime_badge(plain)
