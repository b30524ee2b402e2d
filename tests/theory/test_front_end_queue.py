"""The API server in front of an engine is a queue of its own: one process, first come, first served, then a delay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.analysis import theory
from sim.perf import FrontEnd
from sim.perf.constants import FRONT_END_BUSY_SHARE
from sim.run import simulate
from sim.spec import Scenario, parse_scenario
from sim.workload import Trace
from tests.conftest import L40S, LLAMA3_8B

SLOW = 100.0
"""Slows the front end until every other second of a short request is noise: the engine is always idle."""
N = 40_000
"""Enough for the mean wait at half load: its standard error is about 2.5 %."""


def scenario(replicas: int = 1) -> Scenario:
    parsed = parse_scenario(
        {
            "model": LLAMA3_8B, "gpu": L40S, "engine": {"enable_prefix_caching": False}, "fleet": {"replicas": replicas},
            "workload": {"path": "by-hand.csv"},
        }
    )  # fmt: skip
    return replace(parsed, gpu=replace(parsed.gpu, step_time_scale={"front_end": SLOW}))


def ttft_s(arrival_s: NDArray[Any], replicas: int = 1) -> NDArray[Any]:
    n = len(arrival_s)
    trace = Trace(arrival_s, np.full(n, 8, dtype=np.int64), np.full(n, 1, dtype=np.int64))
    times: NDArray[Any] = simulate(scenario(replicas), trace).requests.ttft_s.to_numpy(dtype=float)
    return times


def delay_s() -> float:
    return FrontEnd(scenario().gpu).delay_s(8)


def busy_s() -> float:
    return FRONT_END_BUSY_SHARE * delay_s()


def poisson(rho: float) -> NDArray[Any]:
    gaps = np.random.default_rng(3).exponential(busy_s() / rho, N)
    return np.cumsum(gaps) - float(gaps[0])


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_each_request_waits_as_lindley_says(rho: float) -> None:
    arrival, free, left = poisson(rho), 0.0, np.empty(N)
    for i, at in enumerate(arrival.tolist()):
        starts = max(at, free)
        free = starts + busy_s()
        left[i] = starts + delay_s()
    behind = ttft_s(arrival) - (left - arrival)
    assert behind.min() > 0  # the engine's own step
    assert np.ptp(behind) < 1e-3 * busy_s()


def test_the_mean_wait_is_m_d_1() -> None:
    times = ttft_s(poisson(0.5))
    assert times.mean() - times.min() == pytest.approx(theory.md1_wait_s(0.5 / busy_s(), busy_s()), rel=0.1)


def test_every_replica_has_its_own() -> None:
    together = np.zeros(2)
    one, two = ttft_s(together), ttft_s(together, replicas=2)
    assert one.max() - one.min() == pytest.approx(busy_s(), rel=1e-2)
    assert two.max() - two.min() < 1e-2 * busy_s()
