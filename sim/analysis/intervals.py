"""Intervals: how far a percentile of one run can be trusted, and how much longer the run must be where it cannot.

Nothing in a plain trace replay is random, so repeating it tells nothing. What could have been otherwise is the traffic. A
percentile Q of level q holds when the share of requests beyond it is p = 1 - q; so the interval is sought for that share
and read back as percentiles (Woodruff 1952). Requests that queue together are not independent, hence batch means:

    batches    b = 30 stretches of equal trace time (fewer where there are fewer than 10 requests in each)
    r_j        (requests beyond Q in batch j) - p x (requests in batch j)
    s          standard error of the share, sqrt(b / (b - 1) x sum of r_j^2) / n
    share      p - (t + skew) s ... p + t s,   t = Student's quantile with b - 5 degrees of freedom
    skew       0.75 x max(0, g) (2 t^2 + 1) / (6 sqrt(b)),   g = skewness of r_j (Johnson 1978)
    Q          between the quantiles of levels q - t s and q + (t + skew) s of the run's own requests

The skew term is there since bursts are few and large: a run without its burst has a low percentile and a small s. Its
factor, the degrees of freedom and the least length were calibrated in ``experiments/coverage``, which counts how often the
truth is covered. Where the share's lower end reaches 0 the run never saw the requests that the upper end of the interval
would be made of: no claim can be made, and ``needs_s`` says for which length s would be small enough (it falls with the root
of the length). Nor can one where a run without its usual burst would be no surprise: with fewer than 80 sqrt(I) or 20 I
requests beyond the percentile, where I is the index of dispersion of the batches' arrivals (variance / mean, by successive
differences, so that a day's trend is no burst; 1 for Poisson, whose p95 thus needs 1,600 requests). That is so of what waits
in a queue (TTFT, E2E), whose slow requests come by the busy period; the time between tokens has none to wait in, is as slow
as the batch around it, and needs 50 or 5 I of them.

A difference of two runs: sectioning. The same percentile of 10 sections of trace time, d_j, scatters about that of the
whole, D: D +- t_9 sqrt(sum of (d_j - D)^2 / 90). The interval is centred on the estimate, whatever the sections' own bias
(Asmussen and Glynn, Stochastic Simulation, 2007, III.5; Nakayama 2014).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from sim.analysis.latency import answered_mask, measured_requests
from sim.analysis.slo import split_target
from sim.columns import let_go, slices, where
from sim.record.result import Result, holds
from sim.spec import Slo

BATCHES = 30
LEAST_BATCHES = 5
A_BATCH = 10
"""Fewest requests of a batch on average."""
FREEDOM_LOST = 5
SKEW = 0.75
LEAST_BEYOND, LEAST_BURSTS = 80.0, 20.0
"""Of a metric that waits in a queue: at least so many requests x sqrt(I), and x I."""
LEAST_BEYOND_OF_STEPS, LEAST_BURSTS_OF_STEPS = 50.0, 5.0
"""Of the time between tokens: at least so many requests, and x I."""
SECTIONS = 10
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A number with its confidence interval; bounds are NaN where no claim can be made."""

    value: float
    low: float
    high: float
    confidence: float = CONFIDENCE
    needs_s: float | None = None
    """Seconds of such traffic from which on a claim is possible; None where it is, or cannot be told."""

    @property
    def known(self) -> bool:
        """Whether a claim is possible."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def against(self, limit: float) -> str:
        """pass when the whole interval is within ``limit``, fail when none of it is, else undecided."""
        if not self.known:
            return "undecided"
        return "pass" if self.high <= limit else "fail" if self.low > limit else "undecided"


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The mean over independent replications and its interval (Student t); without bounds (NaN) for fewer than two."""
    found = np.asarray(values, dtype=float)
    mean = float(found.mean()) if len(found) else math.nan
    if len(found) < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(stdtrit(len(found) - 1, (1 + confidence) / 2) * found.std(ddof=1) / math.sqrt(len(found)))
    return Interval(mean, mean - half, mean + half)


def quantile_interval(
    time_s: np.ndarray, values: np.ndarray, quantile: float, confidence: float = CONFIDENCE, *, waits: bool = True
) -> Interval:
    """The interval of a quantile of ``values`` (one a request, in order of ``time_s``); see the module's head. ``waits``:
    whether a queue's waiting is in them."""
    known = np.isfinite(values)
    time_s, values = where(known, time_s), where(known, values)
    n = len(values)
    if not n:
        return Interval(math.nan, math.nan, math.nan, confidence)
    value = float(np.quantile(values, quantile))
    let_go()
    share = share_interval(time_s, values > value, 1.0 - quantile, confidence, waits=waits)
    if math.isnan(share.low):
        return Interval(value, math.nan, math.nan, confidence, share.needs_s)
    low, high = np.quantile(values, [max(1.0 - share.high, 0.0), 1.0 - share.low])
    return Interval(value, min(float(low), value), max(float(high), value), confidence)


def share_interval(
    time_s: np.ndarray, hits: np.ndarray, share: float | None = None, confidence: float = CONFIDENCE, *, waits: bool = True
) -> Interval:
    """The interval of the share of requests that are ``hits``, at the value ``share`` (default: as many as there are).

    No lower end where it would lie below one request: the run is too short.
    """
    n = len(hits)
    span_s = float(time_s[-1] - time_s[0]) if n else 0.0
    batches = min(BATCHES, n // A_BATCH)
    p = float(hits.mean()) if share is None and n else share or 0.0
    if batches < LEAST_BATCHES or span_s <= 0:
        needed = max(LEAST_BATCHES * A_BATCH, least_beyond(1.0, waits) / p if p > 0 else 0.0)
        longer = span_s * needed / n if n and span_s > 0 else None
        return Interval(p, math.nan, math.nan, confidence, longer)
    counts, residuals = np.zeros(batches), np.zeros(batches)
    for here in slices(n):
        place = np.minimum(((time_s[here] - time_s[0]) / span_s * batches).astype(int), batches - 1)
        counts += np.bincount(place, minlength=batches)
        residuals += np.bincount(place, hits[here] - p, batches)
    if share is not None:
        shortness = least_beyond(_dispersion(counts), waits) / (n * p)
        if shortness > 1:
            return Interval(p, math.nan, math.nan, confidence, span_s * shortness)
    residuals = residuals - residuals.mean()
    square = float(np.mean(residuals**2))
    error = max(math.sqrt(batches / (batches - 1) * batches * square), math.sqrt(p * (1 - p))) / n
    skewness = float(np.mean(residuals**3)) / square**1.5 if square > 0 else 0.0
    t = float(stdtrit(max(batches - FREEDOM_LOST, 2), (1 + confidence) / 2))
    down = (t + SKEW * max(skewness, 0.0) * (2 * t * t + 1) / (6 * math.sqrt(batches))) * error
    high = min(p + t * error, 1.0)
    if p - down >= 1.0 / n:
        return Interval(p, p - down, high, confidence)
    needs_s = span_s * max((down / p) ** 2, 1.0 / (n * p)) * _MARGIN if p > 0 else None
    return Interval(p, math.nan, high, confidence, needs_s)


def least_beyond(dispersion: float, waits: bool) -> float:
    """Requests beyond the percentile that a claim needs, of arrivals with this index of dispersion."""
    if not waits:
        return max(LEAST_BEYOND_OF_STEPS, LEAST_BURSTS_OF_STEPS * dispersion)
    return max(LEAST_BEYOND * math.sqrt(dispersion), LEAST_BURSTS * dispersion)


def _dispersion(counts: np.ndarray) -> float:
    """Index of dispersion of the requests a batch, at least 1."""
    return max(float(np.sum(np.diff(counts) ** 2)) / (2 * (len(counts) - 1)) / float(counts.mean()), 1.0)


_MARGIN = 1.2
"""On what a run must last: its own scatter is known no better."""


def percentile_interval(
    result: Result, target: str, *, confidence: float = CONFIDENCE, chosen: np.ndarray | None = None
) -> Interval:
    """The interval of one target, e.g. ``ttft_p95_s``, over the measured requests (those of the mask ``chosen``). ITL
    targets come from a histogram and have no requests to batch: ``ValueError``."""
    metric, statistic = split_target(target)
    if metric == "itl_s":
        raise ValueError("an ITL percentile comes from a histogram and has no interval over requests")
    rows = measured_requests(result)
    arrival_s, values = (rows[name].to_numpy(dtype=float) for name in ("arrival_s", metric))
    known = answered_mask(rows) & np.isfinite(values)
    if chosen is not None:
        known &= chosen
    quantile = float("0." + statistic[1:])
    return quantile_interval(where(known, arrival_s), where(known, values), quantile, confidence, waits=metric != "tpot_s")


def slo_intervals(result: Result, slo: Slo | None = None, *, confidence: float = CONFIDENCE) -> dict[str, Interval]:
    """The interval of every target of ``slo`` (default: the run's) but ITL's; of routes and tenants over their own
    requests."""
    measured, slo = measured_requests(result), slo or result.scenario.slo
    found = {
        target: percentile_interval(result, target, confidence=confidence)
        for target in slo.targets()
        if not target.startswith("itl")
    }
    for label, values in slo.labelled().items():
        for value, targets in values.items():
            chosen = holds(measured[label], value)
            for target in targets.targets():
                if not target.startswith("itl"):
                    found[f"{label}.{value}.{target}"] = percentile_interval(
                        result, target, confidence=confidence, chosen=chosen
                    )
    return found


Statistic = Callable[[np.ndarray], float]
"""Of rows of values (one a request) to a number, e.g. a difference of percentiles."""


def sectioned(
    time_s: np.ndarray, rows: np.ndarray, statistic: Statistic, fewest: int, confidence: float = CONFIDENCE
) -> Interval:
    """The interval of ``statistic(rows)`` by sectioning; NaN bounds where not even three sections have ``fewest`` rows."""
    n = len(rows)
    if not n:
        return Interval(math.nan, math.nan, math.nan, confidence)
    value = statistic(rows)
    span_s = float(time_s[-1] - time_s[0])
    for sections in range(SECTIONS, 2, -1):
        place = np.minimum(((time_s - time_s[0]) / span_s * sections).astype(int), sections - 1) if span_s > 0 else None
        if place is None or np.bincount(place, minlength=sections).min() < fewest:
            continue
        found = np.array([statistic(rows[place == section]) for section in range(sections)])
        error = math.sqrt(float(np.sum((found - value) ** 2)) / (sections * (sections - 1)))
        half = float(stdtrit(sections - 1, (1 + confidence) / 2)) * error
        return Interval(value, value - half, value + half, confidence)
    return Interval(value, math.nan, math.nan, confidence)
