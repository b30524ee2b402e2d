"""``Observations``: one measured run, as what a fit replays and compares with."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from sim.measured import Aggregate, Load
from sim.rng import stream
from sim.workload.trace import Trace

_REQUESTS_A_SEAT = 6
"""Requests a user sends at most in the closed loop that stands for a run of means."""
_OPEN_REQUESTS = 300
_OVERLOADED_REQUESTS = 2000
"""Behind an open load that the server does not keep up with, latency depends on how many came: so many at most."""


@dataclass(frozen=True)
class Observations:
    """One measured run: its arrivals, and each request's latencies (seconds; NaN = not known)."""

    source: str
    trace: Trace
    ttft_s: np.ndarray
    e2e_s: np.ndarray
    concurrency: int | None = None
    """Not None: closed loop with this many in flight."""
    point: Aggregate | None = None
    """Not None: only these means are known; trace and latencies stand for the run."""

    @property
    def tpot_s(self) -> np.ndarray:
        """(e2e - ttft) / (output tokens - 1), or the reported mean; NaN for a single token."""
        if self.point is not None and not math.isnan(self.point.tpot_s):
            return np.full(len(self.trace), self.point.tpot_s)
        gaps = np.where(self.trace.output_tokens > 1, self.trace.output_tokens - 1, np.nan)
        return np.asarray((self.e2e_s - self.ttft_s) / gaps)

    @property
    def known_means(self) -> tuple[str, ...]:
        """Of a run of means, what a fit compares: TPOT and TTFT, E2E where it has neither."""
        known = tuple(name for name in ("tpot_s", "ttft_s") if np.isfinite(getattr(self, name)[0]))
        return known or ("e2e_s",)

    @property
    def words(self) -> str:
        """The run in one line."""
        if self.point is not None:
            return self.point.words
        span_s = self.trace.duration_s
        return f"{len(self.trace):,} requests in {span_s:,.4g} s, each with its times"


def standing_for(point: Aggregate, in_flight: float | None = None) -> Observations:
    """A run whose simulated means are to be ``point``'s: a closed loop of so many, or Poisson (Gamma) arrivals.

    ``in_flight`` is what a user knows; it takes the place of a load that the report does not state.
    """
    if in_flight is not None and (point.load.assumed or point.load.by_littles_law):
        point = replace(point, load=Load(in_flight=in_flight))
    load, n = point.load, min(point.requests, _OPEN_REQUESTS)
    if load.rate_per_s is not None and point.throughput_per_s < 0.9 * load.rate_per_s:
        n = min(point.requests, _OVERLOADED_REQUESTS)
    concurrency = None if load.in_flight is None else max(1, round(load.in_flight))
    if concurrency is not None:
        n = max(min(point.requests, _REQUESTS_A_SEAT * concurrency), 1)
    if point.lengths:
        pairs = np.array([point.lengths[place % len(point.lengths)] for place in range(n)], dtype=np.int64)
        inputs, outputs = pairs[:, 0], pairs[:, 1]
    else:
        inputs = np.full(n, max(round(point.input_tokens), 1), dtype=np.int64)
        outputs = np.full(n, max(round(point.output_tokens), 1), dtype=np.int64)
    arrival_s = np.zeros(n)
    if concurrency is None and load.rate_per_s is not None:
        gaps_s = stream(0, "calibrate", "open load").gamma(load.burstiness, 1 / (load.burstiness * load.rate_per_s), n)
        arrival_s = np.cumsum(gaps_s) - gaps_s[0]
    trace = Trace(arrival_s, inputs, outputs)
    return Observations(
        point.source, trace, np.full(n, point.ttft_s), np.full(n, point.e2e_s), concurrency=concurrency, point=point
    )
