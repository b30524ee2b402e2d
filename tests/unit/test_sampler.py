"""The time series' own arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

import sim
from sim.run.sampler import grid_s, on_grid, p95


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_the_rolling_p95_is_numpys_to_the_last_bit(values: list[float]) -> None:
    assert p95(np.array(values)) == float(np.quantile(np.array(values), 0.95))


def test_of_nothing_it_is_undefined() -> None:
    assert math.isnan(p95(np.zeros(0)))


def test_the_grid_is_coarser_where_many_servers_are_looked_at() -> None:
    """A thousand points of 4,096 servers would cost more than the run."""
    day_s = 86_400.0
    assert [grid_s(day_s, servers) for servers in (1, 256, 1024, 4096, 10_000)] == [100.0, 100.0, 500.0, 1000.0, 1000.0]
    assert grid_s(10.0, 4096) == 1.0


def test_a_run_that_does_not_end_is_read_less_and_less_often() -> None:
    """Three days of waiting for a fleet that never comes up were read every second."""
    slow = {"provisioning": {"kind": "constant", "seconds": 1e6}}
    never = sim.scenario(
        workload={"limit": 50}, fleet={"replicas": 0, "min_replicas": 0, "cold_start": slow},
        autoscaler={"kind": "requests_in_flight", "target": 12.0},
    )  # fmt: skip
    result = sim.simulate(never)
    assert set(result.requests["reason"]) == {"never_served"}
    times_s = result.timeseries["time_s"].to_numpy()
    assert 2000 < len(times_s) <= 4096 + 1
    assert np.allclose(times_s, np.arange(1, len(times_s) + 1) * times_s[0])
    assert result.timeseries["arrivals"].sum() == 50


@given(st.integers(1, 3), st.lists(st.integers(0, 9), min_size=8, max_size=60), st.sampled_from([1.0, 2.0, 5.0]))
def test_a_coarser_grid_counts_the_same(doublings: int, arrivals: list[int], every_s: float) -> None:
    fine = pd.DataFrame({"time_s": every_s * np.arange(1, len(arrivals) + 1), "arrivals": arrivals, "waiting": arrivals})
    times = 2**doublings
    coarse = on_grid(fine, every_s * times)
    whole = len(arrivals) // times
    assert coarse["time_s"].tolist() == [every_s * times * (place + 1) for place in range(whole)]
    assert coarse["arrivals"].tolist() == [sum(arrivals[place * times : (place + 1) * times]) for place in range(whole)]
    assert coarse["waiting"].tolist() == [arrivals[(place + 1) * times - 1] for place in range(whole)]
    assert on_grid(coarse, every_s * times) is coarse


def test_a_series_that_was_read_less_often_later_on_is_even() -> None:
    """Rows at 1, 2, 3, 4 and then at 6, 8: on the grid of 2."""
    arrivals = [1, 2, 3, 4, 5, 6]
    rows = pd.DataFrame({"time_s": [1.0, 2.0, 3.0, 4.0, 6.0, 8.0], "arrivals": arrivals, "kv_used": arrivals})
    even = on_grid(rows, 2.0)
    assert even["time_s"].tolist() == [2.0, 4.0, 6.0, 8.0]
    assert even["arrivals"].tolist() == [3, 7, 5, 6]
    assert even["kv_used"].tolist() == [2, 4, 5, 6]
