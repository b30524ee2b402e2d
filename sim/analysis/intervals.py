"""Intervals: how far a percentile of one run can be trusted.

Nothing in a plain trace replay is random, so repeating it tells nothing. What could have been otherwise is the traffic:
the moving-block bootstrap draws stretches of trace time with replacement and asks for the percentile again. Blocks keep
neighbouring requests together, which waited in the same queue; a bootstrap of single requests would be too narrow.

    blocks       = max(10, n^(1/3)) stretches of equal trace time, moved by half a length
    interval     = the alpha/2 and 1 - alpha/2 quantiles of the resampled statistic

Source: Kuensch (1989), Liu and Singh (1992). Left out: that another trace would have met other queue states at the seams.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sim.analysis.latency import answered_mask, measured_requests
from sim.analysis.slo import split_target
from sim.record.result import Result
from sim.rng import stream

RESAMPLES = 400
LEAST_BLOCKS = 10


@dataclass(frozen=True)
class Interval:
    """A number with its confidence interval."""

    value: float
    low: float
    high: float
    confidence: float = 0.95

    def against(self, limit: float) -> str:
        """pass when the whole interval is within ``limit``, fail when none of it is, else undecided."""
        if np.isnan(self.value):
            return "undecided"
        return "pass" if self.high <= limit else "fail" if self.low > limit else "undecided"


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean over independent replications and its interval (Student t); without bounds (NaN) for fewer than two."""
    found = np.asarray(values, dtype=float)
    mean = float(found.mean()) if len(found) else math.nan
    if len(found) < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(stats.t.ppf((1 + confidence) / 2, len(found) - 1) * found.std(ddof=1) / math.sqrt(len(found)))
    return Interval(mean, mean - half, mean + half)


def block_rows(arrival_s: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """``values`` in overlapping blocks of equal trace time (each half of one shared with the next)."""
    if not len(values):
        return []
    blocks = max(LEAST_BLOCKS, round(len(values) ** (1 / 3)))
    span = float(arrival_s[-1] - arrival_s[0])
    length = span / blocks
    if length <= 0:
        return [values]
    starts = arrival_s[0] + np.arange(2 * blocks - 1) * length / 2
    lows = np.searchsorted(arrival_s, starts, side="left")
    highs = np.searchsorted(arrival_s, starts + length, side="left")
    highs[-1] = len(values)
    return [values[low:high] for low, high in zip(lows, highs, strict=True) if high > low]


def bootstrap(
    arrival_s: np.ndarray,
    values: np.ndarray,
    statistic: Callable[[np.ndarray], float],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The interval of ``statistic`` of ``values`` (one a request, in order of ``arrival_s``) over trace time."""
    known = np.isfinite(values)
    arrival_s, values = arrival_s[known], values[known]
    blocks = block_rows(arrival_s, values)
    if len(blocks) < 2:
        value = statistic(values) if len(values) else float("nan")
        return Interval(value, float("nan"), float("nan"), confidence)
    random = stream(seed, "analysis", "bootstrap")
    drawn = random.integers(0, len(blocks), size=(resamples, (len(blocks) + 1) // 2))
    resampled = [statistic(np.concatenate([blocks[index] for index in row])) for row in drawn]
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(float(statistic(values)), float(low), float(high), confidence)


def percentile_interval(
    result: Result, target: str, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The interval of one target, e.g. ``ttft_p95_s`` (ITL targets have no requests to resample: ``ValueError``)."""
    metric, statistic = split_target(target)
    if metric == "itl_s":
        raise ValueError("an ITL percentile comes from a histogram and has no bootstrap over requests")
    quantile = float("0." + statistic[1:])
    requests = measured_requests(result)
    requests = requests[answered_mask(requests)]
    return bootstrap(
        requests["arrival_s"].to_numpy(dtype=float),
        requests[metric].to_numpy(dtype=float),
        lambda values: float(np.quantile(values, quantile)),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def slo_intervals(
    result: Result, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """The interval of every fleet-wide target of the run's SLO."""
    return {
        target: percentile_interval(result, target, confidence=confidence, resamples=resamples, seed=seed)
        for target in result.scenario.slo.targets()
        if not target.startswith("itl")
    }
