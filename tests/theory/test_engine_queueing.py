"""The engine as a textbook queue: one slot and a constant step time make it M/D/1 or M/M/1.

A request of n output tokens takes n steps of one second each here (its whole prompt is computed in the first), so service
times are whole numbers of steps. With one slot the mean wait in the queue is Pollaczek-Khinchine's
lambda E[S^2] / (2 (1 - rho)). The interval of the simulated mean comes from batch means.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.engine.clock import ARRIVAL, Clock, Moment
from sim.engine.listener import EngineListener
from sim.engine.replica import Replica
from sim.engine.request import EngineRequest
from sim.engine.scheduler import Scheduler
from sim.perf.step_time import AffineStepTime
from sim.spec import EngineSpec

BATCHES = 20


class Answered(EngineListener):
    """In the order of their ends."""

    def __init__(self) -> None:
        self.requests: list[EngineRequest] = []

    def finished(self, request: EngineRequest) -> None:
        self.requests.append(request)


def served(arrivals: NDArray[Any], lengths: NDArray[Any], step_s: float, seats: int = 1) -> list[EngineRequest]:
    """The requests after an engine with ``seats`` seats has served them; every step takes ``step_s``."""
    spec = EngineSpec(
        max_num_seqs=seats, max_num_batched_tokens=64, max_model_len=100_000, enable_prefix_caching=False,
        async_scheduling=False,
    )  # fmt: skip
    clock = Clock()
    replica = Replica(clock, Scheduler(spec, 100_000), AffineStepTime(step_s), False, answered := Answered())

    def arrive(moment: Moment) -> None:
        replica.submit(moment.value)

    for index, (arrival, length) in enumerate(zip(arrivals.tolist(), lengths.tolist(), strict=True)):
        clock.at(arrival, ARRIVAL, arrive, EngineRequest(index, 1, length, arrival))
    clock.run()
    assert replica.scheduler.pool.free == replica.scheduler.pool.usable
    return answered.requests


def waits_of(requests: list[EngineRequest]) -> NDArray[Any]:
    return np.array([r.scheduled_at - r.arrival for r in sorted(requests, key=lambda r: r.request_id)])  # type: ignore[operator]


def assert_mean(values: NDArray[Any], expected: float) -> None:
    """``expected`` lies in the 99.9 % interval of the mean, from batch means; the interval is no excuse (under 10 %)."""
    means = values.reshape(BATCHES, -1).mean(axis=1)
    half = 3.88 * means.std(ddof=1) / np.sqrt(BATCHES)
    assert half < 0.1 * expected
    assert abs(means.mean() - expected) < half


def test_constant_lengths_are_m_d_1() -> None:
    rng = np.random.default_rng(1)
    n, rho, steps = 40_000, 0.6, 10
    arrivals = np.cumsum(rng.exponential(steps / rho, n))
    waits = waits_of(served(arrivals, np.full(n, steps), 1.0))
    assert_mean(waits, rho / (2 * (1 - rho)) * steps)


def test_geometric_lengths_are_m_g_1() -> None:
    """Geometric lengths of mean m are the exponential's nearest kin in whole steps: E[S^2] = 2 m^2 - m."""
    rng = np.random.default_rng(2)
    n, rho, mean = 60_000, 0.5, 30
    arrivals = np.cumsum(rng.exponential(mean / rho, n))
    waits = waits_of(served(arrivals, rng.geometric(1 / mean, n), 1.0))
    assert_mean(waits, (rho / mean) * (2 * mean**2 - mean) / (2 * (1 - rho)))


def test_seats_share_a_queue_as_m_m_c() -> None:
    """Constant step time and c seats: c servers with one queue. Short steps against the service time hide the lattice."""
    rng = np.random.default_rng(3)
    n, c, mean, rho = 40_000, 4, 60, 0.7
    arrivals = np.cumsum(rng.exponential(mean / (c * rho), n))
    waits = waits_of(served(arrivals, rng.geometric(1 / mean, n), 1.0, seats=c))
    load = c * rho
    below = sum(load**k / float(np.prod(np.arange(1, k + 1))) for k in range(c))
    top = load**c / float(np.prod(np.arange(1, c + 1))) / (1 - rho)
    erlang_c = top / (below + top)
    # A request that finds a free seat waits for the step in progress to end: half a step when the engine is busy.
    busy = 1 - 1 / (below + top)
    expected = erlang_c * mean / (c * (1 - rho)) + 0.5 * busy
    assert waits.mean() == pytest.approx(expected, rel=0.06)


def test_littles_law_is_an_identity() -> None:
    """Mean number in the system = arrival rate x mean time in it, exactly, over a window that begins and ends empty."""
    rng = np.random.default_rng(4)
    n = 2000
    done = served(np.cumsum(rng.exponential(3.0, n)), rng.integers(1, 20, n), 1.0, seats=5)
    times = sorted([(r.arrival, 1) for r in done] + [(r.finished_at or 0.0, -1) for r in done])
    area, present, last = 0.0, 0, 0.0
    for at, change in times:
        area += present * (at - last)
        present, last = present + change, at
    assert present == 0
    assert area == pytest.approx(sum((r.finished_at or 0.0) - r.arrival for r in done), rel=1e-12)


def test_same_input_same_output() -> None:
    rng = np.random.default_rng(5)
    arrivals, lengths = np.cumsum(rng.exponential(3.0, 500)), rng.integers(1, 40, 500)
    runs = [[(r.request_id, r.first_token_at, r.finished_at) for r in served(arrivals, lengths, 0.7, 3)] for _ in range(2)]
    assert runs[0] == runs[1]
