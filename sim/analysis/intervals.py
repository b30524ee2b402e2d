"""Intervals: how far a percentile of one run can be trusted, and how much longer the run must be where it cannot.

Nothing in a plain trace replay is random, so repeating it tells nothing. What could have been otherwise is the traffic. A
percentile Q of level q holds when the share of requests beyond it is p = 1 - q; so the interval is sought for that share
and read back as percentiles (Woodruff 1952). Requests that queue together are not independent, hence batch means:

    batches   b = 30 stretches of equal trace time (fewer where there are fewer than 10 requests in each)
    r_j       (requests beyond Q in batch j) - p x (requests in batch j)
    D(p)      variance of r_j over that of independent requests, n p q / b: the geometric mean of the plain variance and of
              that by second differences, in which a day's trend is no noise
    D         the largest of D(p), 0.4 D(4 p), which more requests tell of, and 1
    K         n p / (q D): how many independent requests those beyond Q are worth
    I         index of dispersion of arrivals: variance / mean of the requests a batch, by second differences; 1 for Poisson
    D'        the larger of D (1 + 18 / K), since of few bursts the largest is seldom among them, and 1 + 22 g sqrt(I - 1.2):
              what arrivals make of it, whatever this run's slow requests happen to show
    g         0 to 1, whether slow requests come by the busy period: D(p) / D(1/2) - 1 or 2 - K / 10, whichever is more; 0
              where the slow hang together less than others do (the time between tokens; a first token that waits for no one)
    s         sqrt(D' q / (n p)): standard error of the share as a fraction of it
    share     p exp(-(t + skew) s) ... p (1 + t s),   t = Student's quantile with b / 2 - 1 degrees of freedom
    skew      0.4 max(0, g1) (2 t^2 + 1) / (6 sqrt(b)),   g1 = skewness of r_j (Johnson 1978)
    Q         between the quantiles of those levels of the run's own requests

The share's lower end is on a scale of ratios: a run without its usual burst has a low percentile and a small D, and how much
larger the true one is goes by factors. Constants were calibrated in ``experiments/coverage``, which counts how often the
truth is covered, under several fleets, loads and arrivals. Where the share's lower end lies below one request the run never
saw what the upper end of the interval would be made of, and with fewer than 50 requests beyond the percentile (1,000 in all
for a p95), or with all of them in two stretches, whole bursts are missing too often: no claim is made, and ``needs_s`` says
for which length one would be.

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
LEAST_BEYOND = 50.0
"""Fewest requests beyond a percentile of which a claim is made."""
LEAST_STRETCHES = 3
"""Fewest batches in which they must lie: two neighbours may share one burst."""
FEW_BURSTS = 18.0
"""By so much over K the measured D is raised."""
OF_MORE = 0.4
"""Of D at four times the share."""
OF_ARRIVALS, DISPERSED = 22.0, 1.2
"""What dispersed arrivals make of D, and the index of dispersion from which they count as burstier than Poisson's."""
FEW, LEAST_RATIO = 10.0, 0.75
"""K below twice which arrivals count, and D(p) / D(1/2) below which they do not."""
SKEW = 0.4
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


def quantile_interval(time_s: np.ndarray, values: np.ndarray, quantile: float, confidence: float = CONFIDENCE) -> Interval:
    """The interval of a quantile of ``values`` (one a request, in order of ``time_s``); see the module's head."""
    known = np.isfinite(values)
    time_s, values = where(known, time_s), where(known, values)
    if not len(values):
        return Interval(math.nan, math.nan, math.nan, confidence)
    p = 1.0 - quantile
    value, of_more, middle = np.quantile(values, [quantile, max(1 - 4 * p, 0.5), 0.5]).tolist()
    let_go()
    batched = _Batched.of(time_s, values > value)
    if batched is None:
        return Interval(value, math.nan, math.nan, confidence, _until(time_s, LEAST_BEYOND / p))
    more, all_of_it = (_Batched.of(time_s, values > level) for level in (of_more, middle))
    share = batched.interval(p, confidence, more, all_of_it)
    if math.isnan(share.low):
        return Interval(value, math.nan, math.nan, confidence, share.needs_s)
    low, high = np.quantile(values, [max(1.0 - share.high, 0.0), 1.0 - share.low])
    return Interval(value, min(float(low), value), max(float(high), value), confidence)


def share_interval(time_s: np.ndarray, hits: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """The interval of the share of requests that are ``hits``. No bounds where the run is too short for batches; no lower
    one where it would lie below one request; an upper one of 0 where there are none (see ``sim.analysis.judge``)."""
    batched = _Batched.of(time_s, hits)
    p = float(hits.mean()) if len(hits) else math.nan
    if batched is None:
        return Interval(p, math.nan, math.nan, confidence, _until(time_s, LEAST_BATCHES * A_BATCH))
    return batched.interval(p, confidence) if p > 0 else Interval(p, math.nan, 0.0, confidence)


def _until(time_s: np.ndarray, needed: float) -> float | None:
    """Seconds in which so many requests come; None where it cannot be told."""
    span_s = float(time_s[-1] - time_s[0]) if len(time_s) else 0.0
    return span_s * needed / len(time_s) if span_s > 0 else None


@dataclass(frozen=True)
class _Batched:
    """Requests and hits in stretches of equal trace time."""

    counts: np.ndarray
    hits: np.ndarray
    span_s: float

    @classmethod
    def of(cls, time_s: np.ndarray, hits: np.ndarray) -> _Batched | None:
        """None where there are too few."""
        n = len(hits)
        span_s = float(time_s[-1] - time_s[0]) if n else 0.0
        batches = min(BATCHES, n // A_BATCH)
        if batches < LEAST_BATCHES or span_s <= 0:
            return None
        counts, found = np.zeros(batches), np.zeros(batches)
        for here in slices(n):
            place = np.minimum(((time_s[here] - time_s[0]) / span_s * batches).astype(int), batches - 1)
            counts += np.bincount(place, minlength=batches)
            found += np.bincount(place, hits[here], batches)
        return cls(counts, found, span_s)

    def residuals(self, p: float) -> np.ndarray:
        """r_j, without their mean."""
        found: np.ndarray = self.hits - p * self.counts
        return found - float(found.mean())

    def clustering(self) -> float:
        """D(p) at the share of the hits that there are; 0 where all or none are."""
        n, p = float(self.counts.sum()), float(self.hits.sum() / self.counts.sum())
        independent = n * p * (1 - p) / len(self.counts)
        if independent <= 0:
            return 0.0
        rest = self.residuals(p)
        return math.sqrt(float(np.var(rest, ddof=1)) * _without_trend(rest)) / independent

    def interval(
        self, p: float, confidence: float, more: _Batched | None = None, middle: _Batched | None = None
    ) -> Interval:
        """The interval of the share, at the value ``p``. ``more``: the requests beyond a lower level, ``middle``: beyond the
        median; without them it is a share of its own, and no percentile's."""
        b, n = len(self.counts), float(self.counts.sum())
        beyond, q = n * p, max(1.0 - p, 1.0 / n)
        own = self.clustering()
        measured = max(own, OF_MORE * more.clustering() if more is not None else 0.0, 1.0)
        worth = beyond / (q * measured)
        clustered = measured * (1 + FEW_BURSTS / worth)
        if middle is not None:
            ratio = max(own, 1.0) / max(middle.clustering(), 1.0)
            queued = min(max(ratio - 1, 2 - worth / FEW, 0.0), 1.0) if ratio > LEAST_RATIO else 0.0
            dispersion = _without_trend(self.counts) / float(self.counts.mean())
            clustered = max(clustered, 1 + OF_ARRIVALS * queued * math.sqrt(max(dispersion - DISPERSED, 0.0)))
        error = math.sqrt(clustered * q / beyond)
        t = float(stdtrit(max(b // 2 - 1, 2), (1 + confidence) / 2))
        rest = self.residuals(p)
        square = float(np.mean(rest**2))
        skewness = float(np.mean(rest**3)) / square**1.5 if square > 0 else 0.0
        down = (t + SKEW * max(skewness, 0.0) * (2 * t * t + 1) / (6 * math.sqrt(b))) * error
        high = min(p * (1 + t * error), 1.0)
        stretches = max(int(np.count_nonzero(self.hits)), 1)
        shortness = max(LEAST_BEYOND / beyond, LEAST_STRETCHES / stretches) if middle is not None else 0.0
        if shortness > 1:
            return Interval(p, math.nan, high, confidence, self.span_s * shortness)
        if beyond * math.exp(-down) >= 1.0:
            return Interval(p, p * math.exp(-down), high, confidence)
        needs_s = self.span_s * (down / math.log(beyond)) ** 2 * _MARGIN if beyond > math.e else None
        return Interval(p, math.nan, high, confidence, needs_s)


def _without_trend(values: np.ndarray) -> float:
    """Variance of one of ``values``, by second differences: what changes as slowly as a line counts for nothing."""
    return float(np.mean(np.diff(values, 2) ** 2)) / 6


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
    return quantile_interval(where(known, arrival_s), where(known, values), quantile, confidence)


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
