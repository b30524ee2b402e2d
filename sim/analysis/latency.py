"""Latency metrics of a run: mean and percentiles of what answered requests waited for.

    TTFT  = first token - client's send          queue, retries and routing included
    TPOT  = (E2E - TTFT) / (output tokens - 1)   the first token excluded; undefined for a one-token answer
    ITL   = gap between two tokens as the client sees them (a weighted histogram: one count a gap)
    E2E   = last token - client's send
    queue = first time an engine scheduled the request - client's send

Percentiles are linear-interpolated over the requests that were answered and arrived at or after ``warmup_s``. Undefined
is NaN, never 0. GuideLLM's TPOT divides by all output tokens, the first included: it is lower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from sim.columns import let_go, where
from sim.record.result import ANSWERED, ItlHistogram, Result, holds

STATISTICS = ("mean", "p50", "p90", "p95", "p99", "max")
METRICS = ("ttft_s", "tpot_s", "itl_s", "e2e_s", "queue_s")
_QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


def answered_mask(requests: pd.DataFrame) -> np.ndarray:
    """True for the requests that got an answer, whoever gave it."""
    return holds(requests["outcome"], *ANSWERED)


def measured_requests(result: Result) -> pd.DataFrame:
    """The requests that latency, goodput and the SLO look at: those that arrived after the warm-up."""
    requests, warmup_s = result.requests, result.scenario.workload.warmup_s
    return requests.iloc[int(np.searchsorted(requests["arrival_s"].to_numpy(), warmup_s)) :] if warmup_s > 0 else requests


def statistics(values: np.ndarray, more: Sequence[str] = ()) -> dict[str, float]:
    """Mean, percentiles and maximum of the finite ``values``, then ``more`` percentiles (``p75``); all NaN when there are
    none."""
    values = where(np.isfinite(values), values)
    if not len(values):
        return dict.fromkeys((*STATISTICS, *more), float("nan"))
    quantiles = np.quantile(values, list(_QUANTILES.values()))
    return {
        "mean": float(values.mean()),
        **{name: float(value) for name, value in zip(_QUANTILES, quantiles, strict=True)},
        "max": float(values.max()),
        **{name: float(np.quantile(values, quantile_of(name))) for name in more},
    }


def quantile_of(statistic: str) -> float:
    """``p95`` -> 0.95, ``p999`` -> 0.999."""
    return float("0." + statistic[1:])


def histogram_statistics(itl: ItlHistogram, more: Sequence[str] = ()) -> dict[str, float]:
    """The same of a weighted histogram: quantiles interpolated inside the bin, mean of the bins' midpoints, maximum the
    upper edge of the last bin that is not empty."""
    counts = np.asarray(itl.counts, dtype=float)
    total = counts.sum()
    if total <= 0:
        return dict.fromkeys((*STATISTICS, *more), float("nan"))
    edges = np.asarray(itl.edges_s, dtype=float)
    lower, upper = edges[:-1], edges[1:]
    cumulative = np.cumsum(counts)
    out = {"mean": float(np.dot(counts, (lower + upper) / 2) / total)}
    for name in (*_QUANTILES, *more):
        rank = quantile_of(name) * total
        index = int(np.searchsorted(cumulative, rank))
        below = cumulative[index] - counts[index]
        out[name] = float(lower[index] + (upper[index] - lower[index]) * (rank - below) / counts[index])
    out["max"] = float(upper[np.flatnonzero(counts)[-1]])
    return out


def latency_of(
    requests: pd.DataFrame, targets: Iterable[str] = (), chosen: np.ndarray | None = None
) -> dict[str, dict[str, float]]:
    """Statistics of each metric over the answered ones among ``requests`` (of the mask ``chosen``), and the percentiles that
    ``targets`` name besides; ITL has no column, hence no place here."""
    answered = answered_mask(requests) if chosen is None else answered_mask(requests) & chosen
    more = _more(targets)
    found = {}
    for metric in METRICS:
        if metric != "itl_s":
            values = requests[metric].to_numpy(dtype=float)
            found[metric] = statistics(where(answered & np.isfinite(values), values), more.get(metric, ()))
            let_go()
    return found


def _more(targets: Iterable[str]) -> dict[str, list[str]]:
    """The percentiles of ``targets`` (``ttft_p75_s``) that are not among ``STATISTICS``, by metric."""
    found: dict[str, list[str]] = {}
    for metric, statistic in (target.split("_")[:2] for target in targets):
        if statistic not in STATISTICS:
            found.setdefault(f"{metric}_s", []).append(statistic)
    return found


def latency_table(result: Result) -> dict[str, dict[str, float]]:
    """``{metric: {mean, p50, p90, p95, p99, max}}`` in seconds, in the order of ``METRICS``, and whatever other percentile
    the SLO asks for."""
    targets = result.scenario.slo.targets()
    table = latency_of(measured_requests(result), targets)
    table["itl_s"] = histogram_statistics(result.itl, _more(targets).get("itl_s", ()))
    return {metric: table[metric] for metric in METRICS}
