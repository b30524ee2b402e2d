"""The time series' own arithmetic."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sim.run.sampler import p95


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_the_rolling_p95_is_numpys_to_the_last_bit(values: list[float]) -> None:
    assert p95(np.array(values)) == float(np.quantile(np.array(values), 0.95))


def test_of_nothing_it_is_undefined() -> None:
    assert math.isnan(p95(np.zeros(0)))
