"""Runs side by side: differences with intervals, and "no significant difference" when there is none.

Runs of the same arrivals are compared request by request (pairs share a ``request_id`` and an arrival time), which takes
the traffic out of the difference; its interval is a moving-block bootstrap over trace time, as pairs that arrived
together are not independent. Runs of other arrivals are compared block-wise without pairing, which is wider. Money and
throughput are one number a run and have no interval unless replications under several seeds are given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.intervals import RESAMPLES, block_rows, mean_interval
from sim.analysis.latency import answered_mask
from sim.rng import stream

PERCENTILES = (50, 95)
LATENCIES = ("ttft_s", "tpot_s", "e2e_s")


@dataclass(frozen=True)
class Difference:
    """``b - a`` of one metric; seconds, dollars or shares as the metric says."""

    metric: str
    a: float
    b: float
    low: float
    high: float
    """Bounds of the interval of ``b - a``; NaN when it is one number a run."""
    paired: bool

    @property
    def difference(self) -> float:
        """``b - a``."""
        return self.b - self.a

    @property
    def significant(self) -> bool | None:
        """Whether the interval leaves zero out; None without an interval."""
        if math.isnan(self.low):
            return None
        return self.low > 0 or self.high < 0

    def words(self) -> str:
        """``lower``, ``higher``, ``no significant difference``, or ``no interval``."""
        if self.significant is None:
            return "no difference" if self.difference == 0 else "one number a run: no interval"
        if not self.significant:
            return "no significant difference"
        return "lower" if self.high < 0 else "higher"


def compare_requests(a: pd.DataFrame, b: pd.DataFrame, *, confidence: float = 0.95, seed: int = 0) -> list[Difference]:
    """Differences of latency percentiles between two tables of requests (``requests.parquet``)."""
    paired = len(a) == len(b) and bool(
        np.array_equal(a["request_id"].to_numpy(), b["request_id"].to_numpy())
        and np.allclose(a["arrival_s"].to_numpy(dtype=float), b["arrival_s"].to_numpy(dtype=float))
    )
    found = []
    for metric in LATENCIES:
        first, second = _answered(a, metric), _answered(b, metric)
        if paired:
            both = np.isfinite(first) & np.isfinite(second)
            blocks = _paired_blocks(a["arrival_s"].to_numpy(dtype=float)[both], first[both], second[both])
        for percentile in PERCENTILES:
            name = f"{metric[:-2]}_p{percentile}_s"
            values = [_quantile(values, percentile) for values in (first, second)]
            if paired:
                low, high = _paired_interval(blocks, percentile, confidence, seed)
            else:
                low, high = _unpaired_interval(a, b, metric, percentile, confidence, seed)
            found.append(Difference(name, values[0], values[1], low, high, paired))
    return found


def _answered(requests: pd.DataFrame, metric: str) -> np.ndarray:
    return np.where(answered_mask(requests), requests[metric].to_numpy(dtype=float), np.nan)


def _quantile(values: np.ndarray, percentile: float) -> float:
    values = values[np.isfinite(values)]
    return float(np.quantile(values, percentile / 100)) if len(values) else math.nan


def _paired_blocks(arrival_s: np.ndarray, first: np.ndarray, second: np.ndarray) -> list[np.ndarray]:
    return block_rows(arrival_s, np.column_stack([first, second]))


def _paired_interval(blocks: list[np.ndarray], percentile: float, confidence: float, seed: int) -> tuple[float, float]:
    if len(blocks) < 2:
        return math.nan, math.nan
    random = stream(seed, "analysis", "compare")
    differences = []
    for row in random.integers(0, len(blocks), size=(RESAMPLES, (len(blocks) + 1) // 2)):
        first, second = np.quantile(np.concatenate([blocks[index] for index in row]), percentile / 100, axis=0)
        differences.append(second - first)
    return _bounds(differences, confidence)


def _unpaired_interval(
    a: pd.DataFrame, b: pd.DataFrame, metric: str, percentile: float, confidence: float, seed: int
) -> tuple[float, float]:
    resampled = []
    for name, requests in (("a", a), ("b", b)):
        values = _answered(requests, metric)
        known = np.isfinite(values)
        blocks = block_rows(requests["arrival_s"].to_numpy(dtype=float)[known], values[known])
        if len(blocks) < 2:
            return math.nan, math.nan
        random = stream(seed, "analysis", "compare", name)
        drawn = random.integers(0, len(blocks), size=(RESAMPLES, (len(blocks) + 1) // 2))
        resampled.append([np.quantile(np.concatenate([blocks[i] for i in row]), percentile / 100) for row in drawn])
    return _bounds((np.array(resampled[1]) - np.array(resampled[0])).tolist(), confidence)


def _bounds(differences: Sequence[float], confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return float(low), float(high)


SUMMARY_METRICS = (
    "cost.usd_per_1m_output_tokens", "cost.usd_per_hour", "throughput.output_tokens_per_s", "goodput.fraction",
    "utilisation.gpu_busy", "fleet.replicas_mean",
)  # fmt: skip


def compare_summaries(
    a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]], *, confidence: float = 0.95
) -> list[Difference]:
    """Differences of run-level numbers; with two or more summaries a side (replications under the same seeds, in the
    same order) the interval is a paired Student t."""
    if len(a) != len(b):
        raise ValueError(f"paired replications need as many runs on both sides, but got {len(a)} and {len(b)}")
    found = []
    for metric in SUMMARY_METRICS:
        first, second = (np.array([_dotted(summary, metric) for summary in side]) for side in (a, b))
        paired = mean_interval((second - first).tolist(), confidence)
        found.append(Difference(metric, float(first.mean()), float(second.mean()), paired.low, paired.high, len(a) >= 2))
    return found


def _dotted(summary: Mapping[str, Any], key: str) -> float:
    value: Any = summary
    for part in key.split("."):
        value = value[part]
    return math.nan if value is None else float(value)
