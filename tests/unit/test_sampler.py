"""The time series' own arithmetic."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sim.run.sampler import grid_s, p95


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
