"""Whose bill, and from when to when: the GPU of a pool, and the time for which a replica is paid."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sim.spec import GpuSpec, Scenario


def gpu_of_pool(scenario: Scenario, pool: str) -> GpuSpec:
    """The GPU of ``pool``; pools that the scenario does not name run on its own GPU."""
    spec = scenario.fleet.all_pools().get(pool)
    return (spec.gpu if spec else None) or scenario.gpu


def billed_interval(
    replicas: pd.DataFrame, end_s: float, until_s: float = math.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Start and stop of each replica's bill, seconds, as far as it lies before ``until_s``; one that was never stopped is
    billed to ``end_s``."""
    start_s = replicas["billed_start_s"].to_numpy(dtype=float)
    stop_s = replicas["billed_stop_s"].to_numpy(dtype=float)
    start_s = np.minimum(np.where(np.isfinite(start_s), start_s, 0.0), until_s)
    stop_s = np.minimum(np.where(np.isfinite(stop_s), stop_s, end_s), until_s)
    return start_s, np.maximum(stop_s, start_s)
