"""Overload, told by trend: did waiting grow to the end of the run?

A first-come-first-served queue offered more than it can serve waits ever longer: at an overload of x the wait grows by
x seconds a second, and a percentile of it measures the length of the run. A run is overloaded when, over the mean waits
of ``BLOCKS`` equal slices of its measured arrivals,

    1. the trend upwards is significant (Mann-Kendall, one-sided 1 %): bursts alone do not rise slice by slice, and
    2. it is steep (Theil-Sen slope above 0.01 s/s, i.e. 1 % more load than served), and
    3. it matters: the last fifth waits at least one second and a hundredth of the run on average.

A request that was never scheduled waited at least until its outcome. Deadlines and bounded queues keep waits short:
such a run fails by its lost requests instead. Theil-Sen and Mann-Kendall need no assumption on the waits' distribution.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sim.columns import slices, where

BLOCKS = 12
SIGNIFICANT_Z = 2.326
STEEP_S_PER_S = 0.01


def waits_s(requests: pd.DataFrame) -> np.ndarray:
    """Seconds each request waited for its first scheduling, or until it was given up."""
    queue, finish, arrival = (requests[name].to_numpy(dtype=float) for name in ("queue_s", "finish_s", "arrival_s"))
    waits = np.empty(len(queue))
    for here in slices(len(waits)):
        waits[here] = np.where(np.isfinite(queue[here]), queue[here], finish[here] - arrival[here])
    return waits


def is_overloaded(requests: pd.DataFrame) -> bool:
    """True when the waits of ``requests`` (in order of arrival) grow to the end; see the module's head."""
    arrivals = requests["arrival_s"].to_numpy(dtype=float)
    waits = waits_s(requests)
    known = np.isfinite(waits)
    arrivals, waits = where(known, arrivals), where(known, waits)
    if len(arrivals) < 2 * BLOCKS:
        return False
    span_s = float(arrivals[-1] - arrivals[0])
    if span_s <= 0:
        return False
    last_fifth = waits[arrivals >= arrivals[-1] - span_s / 5]
    if last_fifth.mean() < max(1.0, span_s / 100):
        return False
    block = np.empty(len(waits), dtype=np.int8)
    for here in slices(len(block)):
        block[here] = np.minimum(((arrivals[here] - arrivals[0]) / span_s * BLOCKS).astype(int), BLOCKS - 1)
    filled = [index for index in range(BLOCKS) if (block == index).any()]
    means = np.array([waits[block == index].mean() for index in filled])
    middles = np.array([(index + 0.5) * span_s / BLOCKS for index in filled])
    return mann_kendall_z(means) > SIGNIFICANT_Z and theil_sen_slope(middles, means) > STEEP_S_PER_S


def mann_kendall_z(values: np.ndarray) -> float:
    """Standard normal score of the Mann-Kendall statistic (with continuity correction): above 0 is rising."""
    n = len(values)
    if n < 4:
        return 0.0
    rows, columns = np.triu_indices(n, k=1)
    score = float(np.sign(values[columns] - values[rows]).sum())
    return float(score - np.sign(score)) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)


def theil_sen_slope(x: np.ndarray, y: np.ndarray) -> float:
    """Median of the slopes between all pairs of points."""
    rows, columns = np.triu_indices(len(x), k=1)
    return float(np.median((y[columns] - y[rows]) / (x[columns] - x[rows])))
