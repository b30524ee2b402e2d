"""Runs side by side: differences with intervals, and "no significant difference" when there is none.

Runs of the same arrivals are compared request by request (pairs share a ``request_id`` and an arrival time), which takes
the traffic out of the difference; the interval is that of sectioning over trace time (``sim.analysis.intervals``), centred
on the difference itself. Runs of other arrivals are compared without pairing: each side's sections scatter about its own
percentile, and the two errors add up in squares. Percentiles are over answers, so the shares of requests that were answered,
lost and good stand beside them. Money and throughput are one number a run and have no interval unless replications under
several seeds are given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.intervals import CONFIDENCE, Interval, mean_interval, sectioned
from sim.analysis.latency import answered_mask
from sim.analysis.slo import good_mask
from sim.record.result import OUTCOMES
from sim.spec import Slo

PERCENTILES = (50, 95)
LATENCIES = ("ttft_s", "tpot_s", "e2e_s")
MOST_ROUTES = 12


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


def compare_requests(
    a: pd.DataFrame, b: pd.DataFrame, slos: tuple[Slo, Slo] | None = None, confidence: float = CONFIDENCE
) -> list[Difference]:
    """Differences between two tables of requests (``requests.parquet``): shares by outcome, the share within the SLO of its
    own side (``slos``, when given), latency percentiles; then TTFT and TPOT p95 of each route that both sides have."""
    pairs = _paired(a, b)
    found = _outcomes(a, b, pairs, confidence)
    if slos is not None:
        good = [good_mask(side, slo).astype(float) for side, slo in zip((a, b), slos, strict=True)]
        found.append(_difference("goodput.fraction", (a, b), good, _mean, 1, pairs, confidence))
    for metric in LATENCIES:
        for percentile in PERCENTILES:
            found.append(_percentile(a, b, metric, percentile, pairs, confidence))
    for route in _routes(a, b):
        first, second = (side[side["route"].astype(str) == route] for side in (a, b))
        also = _paired(first, second)
        for metric in LATENCIES[:2]:
            one = _percentile(first, second, metric, 95, also, confidence)
            found.append(Difference(f"{route}: {one.metric}", one.a, one.b, one.low, one.high, one.paired))
    return found


def _paired(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    return len(a) == len(b) and bool(
        np.array_equal(a["request_id"].to_numpy(), b["request_id"].to_numpy())
        and np.allclose(a["arrival_s"].to_numpy(dtype=float), b["arrival_s"].to_numpy(dtype=float))
    )


def _outcomes(a: pd.DataFrame, b: pd.DataFrame, pairs: bool, confidence: float) -> list[Difference]:
    found = []
    for outcome in OUTCOMES:
        shares = [(side["outcome"].astype(object) == outcome).to_numpy(dtype=float) for side in (a, b)]
        if outcome == "completed" or any(share.any() for share in shares):
            found.append(_difference(f"{outcome} share", (a, b), shares, _mean, 1, pairs, confidence))
    return found


def _routes(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    if "route" not in a or "route" not in b:
        return []
    both = sorted(({str(x) for x in a["route"].unique()} & {str(x) for x in b["route"].unique()}) - {"", "nan"})
    return both[:MOST_ROUTES] if len(both) > 1 else []


def _percentile(
    a: pd.DataFrame, b: pd.DataFrame, metric: str, percentile: int, pairs: bool, confidence: float
) -> Difference:
    name = f"{metric[:-2]}_p{percentile}_s"
    answers = [np.where(answered_mask(side), side[metric].to_numpy(dtype=float), np.nan) for side in (a, b)]

    def quantile(values: np.ndarray) -> float:
        known = values[np.isfinite(values)]
        return float(np.quantile(known, percentile / 100)) if len(known) else math.nan

    return _difference(name, (a, b), answers, quantile, math.ceil(100 / (100 - percentile)), pairs, confidence)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _difference(
    metric: str,
    sides: tuple[pd.DataFrame, pd.DataFrame],
    values: Sequence[np.ndarray],
    statistic: Any,
    fewest: int,
    pairs: bool,
    confidence: float,
) -> Difference:
    """One row: ``statistic`` of the values of each side, and the interval of their difference."""
    times = [side["arrival_s"].to_numpy(dtype=float) for side in sides]
    first, second = (statistic(side) for side in values)
    if pairs:
        rows = np.column_stack(values)
        both = sectioned(times[0], rows, lambda part: statistic(part[:, 1]) - statistic(part[:, 0]), fewest, confidence)
        return Difference(metric, first, second, both.low, both.high, True)
    alone = [sectioned(at, side, statistic, fewest, confidence) for at, side in zip(times, values, strict=True)]
    half = math.hypot(*(_half(one) for one in alone))
    return Difference(metric, first, second, second - first - half, second - first + half, False)


def _half(one: Interval) -> float:
    return (one.high - one.low) / 2


SUMMARY_METRICS = (
    "cost.window.usd_per_1m_output_tokens", "cost.window.usd_per_month", "cost.usd_per_1m_output_tokens",
    "cost.usd_per_hour", "throughput.output_tokens_per_s", "utilisation.gpu_busy", "fleet.replicas_mean", "fleet.gpus_mean",
)  # fmt: skip


def compare_summaries(
    a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]], *, confidence: float = CONFIDENCE
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
        value = value.get(part) if isinstance(value, Mapping) else None
    return math.nan if value is None else float(value)
