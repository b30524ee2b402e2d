"""What no replica can exceed: a bound must bound, or closed forms say "never" of what simulations find."""

from __future__ import annotations

import math

import pytest

from sim.cli.compose import composed_scenario
from sim.decision.whole_replicas import WholeReplicas
from sim.search import ScenarioEvaluator, solve

SHORT = ["workload.rate_scale=1", "workload.duration_s=60", "output.timeseries=false", "search.replications=1", "fleet.replicas=2"]


def bound(*overrides: str) -> float:
    scenario = composed_scenario([*SHORT, *overrides])
    evaluate = ScenarioEvaluator(scenario)
    return WholeReplicas(solve(scenario, "none", evaluate), evaluate)._bound()


def test_what_an_api_answers_is_no_replicas_work() -> None:
    """A fifth of a hybrid's answers is an API's: its replicas "could not deliver" what four of them delivered."""
    assert bound("api=gpt_4o_mini", "gateway.hybrid={uncertain_fraction: 0.2}") == pytest.approx(bound() / 0.8, rel=0.15)
    by_load = "gateway.hybrid={uncertain_fraction: 0.2, overload_waiting: 5}"
    assert math.isinf(bound("api=gpt_4o_mini", by_load))
