"""Dynamo's SLA planner by hand, on an engine whose step costs 10 ms + 0.01 ms a new token + 1 ms a sequence."""

from __future__ import annotations

from typing import Any

import pytest

from sim.fleet.scaling.signals import FleetWindow, Latencies
from sim.fleet.scaling.sla_planner import EngineProfile, SlaPlannerScaler
from sim.perf import AffineStepTime
from sim.spec import EngineSpec
from sim.spec.autoscaler import SlaPlanner

PROFILE = EngineProfile(
    AffineStepTime(0.010, per_new_token=1e-5, per_seq=1e-3),
    EngineSpec(max_num_seqs=64, max_num_batched_tokens=2048, max_model_len=8192), kv_tokens=1_000_000,
)  # fmt: skip


def scaler(ttft_s: float = 0.5, itl_s: float = 0.05, **options: Any) -> SlaPlannerScaler:
    return SlaPlannerScaler(SlaPlanner(**options), PROFILE, ttft_s, itl_s)


def at(time_s: float, rate: float, ready: int = 4, ttft_s: float = 0.0, itl_s: float = 0.0) -> FleetWindow:
    """Requests of 1000 and 100 tokens; latencies 0 = what the model expects."""
    e2e_s = 2.0
    batch = rate * e2e_s / ready
    seen = Latencies(
        int(rate * 180), 1000.0, 100.0, ttft_s or PROFILE.lone_ttft_s(1000.0),
        itl_s or PROFILE.itl_s(batch, 1000.0, 100.0, 1000.0), e2e_s,
    )  # fmt: skip
    return FleetWindow(time_s, ready, ready, 0.0, 0.0, 0.0, 0.0, 0.0, rate, seen)


def test_the_best_rate_by_hand() -> None:
    """A batch of x computes 10 x prompt tokens a step beside x decodes: 10 ms + 0.01 (10 x + x) + 1 (x + 1) ms = 11 + 1.11 x.
    Within 50 ms: x = 35, 49.85 ms, 35 / (100 x 49.85 ms) = 7.02/s. The first token then takes 1,350 tokens beside 35 decodes:
    10 + 13.5 + 0.35 + 36 = 59.85 ms."""
    assert PROFILE.itl_s(35, 1000.0, 100.0, 1000.0) == pytest.approx(0.04985)
    assert PROFILE.best_rate_per_s(1000.0, 100.0, 1000.0, 0.5, 0.05) == pytest.approx(35 / 4.985)
    assert PROFILE.best_rate_per_s(1000.0, 100.0, 1000.0, 0.05, 0.05) < 35 / 4.985  # the TTFT target binds first


def test_a_target_that_nobody_meets_leaves_a_batch_of_one() -> None:
    assert PROFILE.best_rate_per_s(1000.0, 100.0, 1000.0, 1e-6, 1e-6) == pytest.approx(1 / (100 * 0.01211))


def test_replicas_are_rate_over_best_rate_rounded_up() -> None:
    """30/s / 7.02 = 4.3."""
    assert scaler().desired(at(180.0, 30.0)) == 5
    assert scaler().desired(at(180.0, 28.0)) == 4


def test_an_itl_twice_the_expected_halves_the_target() -> None:
    """Half of 50 ms is 25 ms: x = 12, 24.32 ms, 4.93/s; 30/s need 7."""
    expected_s = PROFILE.itl_s(30.0 * 2.0 / 4, 1000.0, 100.0, 1000.0)
    assert scaler().desired(at(180.0, 30.0, itl_s=2 * expected_s)) == 7


def test_prompts_that_cost_less_than_alone_count_less_and_a_queue_does_not_count_more() -> None:
    lone_s = PROFILE.lone_ttft_s(1000.0)
    waited = scaler().desired(at(180.0, 30.0, ttft_s=20 * lone_s))
    assert waited == 5
    assert scaler().desired(at(180.0, 200.0, ttft_s=0.1 * lone_s)) < scaler().desired(at(180.0, 200.0, ttft_s=lone_s))


def test_a_trend_is_read_one_interval_ahead() -> None:
    """10, 20, 30 a second: the line says 40 next, and 40 / 7.02 = 5.7; without it 30 / 7.02 = 4.3."""
    for predictor, wanted in (("trend", 6), ("constant", 5)):
        policy = scaler(predictor=predictor)
        for tick, rate in enumerate((10.0, 20.0)):
            policy.desired(at(180.0 * (tick + 1), rate))
        assert policy.desired(at(540.0, 30.0)) == wanted


def test_no_answer_yet_changes_nothing_and_silence_lets_go() -> None:
    silent = FleetWindow(180.0, 4, 4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    policy = scaler(predictor="constant")
    assert policy.desired(silent._replace(arrivals_per_s=30.0)) == 4
    assert policy.desired(at(360.0, 30.0)) == 5
    assert policy.desired(silent) == 1
