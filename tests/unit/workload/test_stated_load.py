"""A load stated in requests a second or tokens a day is the rate scale that makes it so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sim.cli.compose import composed_scenario
from sim.search import ScenarioEvaluator, with_point
from sim.spec import WorkloadSpec
from sim.workload.load import load_as_scale, load_workload

PACKAGED = WorkloadSpec(packaged="chat_synthetic.parquet", duration_s=300.0)


@pytest.mark.parametrize("rate_per_s", [2.0, 5.5, 20.0])
def test_requests_a_second(rate_per_s: float) -> None:
    trace = load_workload(replace(PACKAGED, rate_per_s=rate_per_s), 0)
    assert len(trace) / 300.0 == pytest.approx(rate_per_s, rel=0.05)  # thinning and copies draw whole requests


def test_tokens_a_day() -> None:
    trace = load_workload(replace(PACKAGED, tokens_per_day=500e6), 0)
    tokens = trace.input_tokens.sum() + trace.output_tokens.sum()
    assert tokens / 300.0 * 86_400 == pytest.approx(500e6, rel=0.05)


def test_it_is_a_scale_that_searches_vary() -> None:
    stated = replace(PACKAGED, rate_per_s=11.0)
    scaled = load_as_scale(stated, 0)
    assert (scaled.rate_per_s, scaled.tokens_per_day) == (None, None)
    assert np.array_equal(load_workload(stated, 0).arrival_s, load_workload(scaled, 0).arrival_s)
    evaluator = ScenarioEvaluator(composed_scenario(["workload.rate_per_s=11", "workload.duration_s=300"]))
    half = with_point(evaluator.scenario, 1, evaluator.scenario.workload.rate_scale / 2)
    assert len(load_workload(half.workload, 0)) / 300.0 == pytest.approx(5.5, rel=0.05)


def test_a_squeezed_trace_reaches_it_exactly() -> None:
    trace = load_workload(replace(PACKAGED, rate_per_s=11.0, rate_mode="squeeze"), 0)
    again = load_as_scale(replace(PACKAGED, rate_per_s=11.0, rate_mode="squeeze"), 0).rate_scale
    assert trace.duration_s * again == pytest.approx(load_workload(PACKAGED, 0).duration_s)


def test_both_are_refused() -> None:
    with pytest.raises(ValueError, match="state one of them"):
        replace(PACKAGED, rate_per_s=1.0, tokens_per_day=1.0)
