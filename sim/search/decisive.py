"""The hours of a long trace that decide whether an objective is met.

Of a month, the misses lie in its busiest hours: where these bring fewer than the objective allows the whole trace, the
calmer ones bring none. So a search replays the busiest hours alone, each stretch with the ten minutes before it and a pause
after it, and counts their misses against what the whole trace may miss:

    taken    the hours with the most work (GPU-seconds of ``sim.analysis.steady``), until they hold ``_COVER`` times the
             requests that may miss a target, and at least ``_FEWEST_HOURS``
    fails    more of them miss than the whole trace may
    holds    else; the answer is then run whole, which proves it or sends the search on (``solve``)

A stretch begins with an empty fleet, so that it misses a little less than in the whole run: a failure is one, a success has
to be proved. Left out (such scenarios are always run whole): what follows the clock, an autoscaler, a timeline, spot
machines, failures, users that wait for answers, a fleet in cells, and targets of single routes or of gaps between tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sim.analysis import price
from sim.analysis.steady import steady_replica
from sim.record import Result
from sim.search.point import Point
from sim.spec import Scenario
from sim.workload import Trace

HOUR_S = 3600.0
_LEAD_S = 600.0
_PAUSE_S = 1800.0
_FEWEST_REQUESTS = 100_000
_FEWEST_HOURS = 12
_COVER = 2.5
_WORTH = 0.6
"""Where more of the requests would be taken, the trace is run whole."""
_METRICS = ("ttft", "tpot", "e2e")


@dataclass(frozen=True)
class Decisive:
    """The busiest hours of a trace."""

    trace: Trace
    """Their requests, on a clock of their own."""
    of_requests: int
    """Requests of the whole trace."""
    hours: int
    of_hours: int
    rate_per_s: float
    """Mean arrivals a second in these hours."""

    @property
    def words(self) -> str:
        """What was simulated."""
        share = len(self.trace) / self.of_requests
        return f"the {self.hours} busiest of {self.of_hours:,} hours ({share:.0%} of {self.of_requests:,} requests)"

    def point(self, result: Result, replicas: int, rate_scale: float) -> Point:
        """What a run of these hours, given up once the whole trace is a certain miss, tells of the whole trace."""
        targets = result.scenario.slo.targets()
        rest = np.zeros(self.of_requests - len(self.trace))
        attained = {name: _quantile(result, name, rest) for name in targets}
        usd_per_hour = price(result).usd * HOUR_S / result.end_s if result.end_s > 0 else math.nan
        return Point(
            replicas=replicas, rate_scale=rate_scale, verdict="fail" if result.stopped_early else "pass",
            attained=attained, targets=targets, missed=(result.stopped_early,) if result.stopped_early else (),
            usd_per_hour=usd_per_hour, engine_steps=result.engine_steps, seed=result.scenario.seed,
            stopped_early=result.stopped_early, part=self.words,
        )  # fmt: skip


def decisive_hours(scenario: Scenario, trace: Trace) -> Decisive | None:
    """The hours of ``trace`` that decide under ``scenario``; None where the whole has to be run, or costs little more."""
    targets = scenario.slo.targets()
    of_hours = int(trace.duration_s // HOUR_S) + 1
    if len(trace) < _FEWEST_REQUESTS or of_hours < 2 * _FEWEST_HOURS or not targets or _follows_the_clock(scenario):
        return None
    if any(name.split("_")[0] not in _METRICS for name in targets):
        return None
    may_miss = max([scenario.slo.max_failed_fraction, *(1 - float("0." + name.split("_")[1][1:]) for name in targets)])
    hour = (trace.arrival_s // HOUR_S).astype(np.int64)
    steady = steady_replica(scenario, float(trace.input_tokens.mean()), float(trace.output_tokens.mean()))
    work_s = steady.s_per_input_token * trace.input_tokens + steady.s_per_output_token * trace.output_tokens
    by_work = np.argsort(-np.bincount(hour, work_s, of_hours), kind="stable")
    requests = np.bincount(hour, minlength=of_hours)
    enough = int(np.searchsorted(np.cumsum(requests[by_work]), _COVER * may_miss * len(trace))) + 1
    taken = np.zeros(of_hours, dtype=bool)
    taken[by_work[: max(enough, _FEWEST_HOURS)]] = True
    rows, times = _stretches(trace, taken)
    if len(rows) > _WORTH * len(trace):
        return None
    hours = int(taken.sum())
    rate_per_s = float(requests[taken].sum()) / (hours * HOUR_S)
    return Decisive(trace.take(rows, times), len(trace), hours, of_hours, rate_per_s)


def _follows_the_clock(scenario: Scenario) -> bool:
    pools, failures = scenario.fleet.all_pools().values(), scenario.fleet.failures
    return bool(
        scenario.fleet.cells > 1 or scenario.timeline or scenario.workload.warmup_s or scenario.gateway.users.kind != "open"
        or scenario.fleet.background is not None
        or failures.gpu_mtbf_h is not None or failures.link_mtbf_h is not None or failures.zone_mtbf_h is not None
        or any(pool.market == "spot" or scenario.scales(pool) for pool in pools)
    )  # fmt: skip


def _stretches(trace: Trace, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the ``taken`` hours and of the lead before each stretch of them, and their times on the new clock."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], taken, [False]]).astype(np.int8)))
    rows: list[np.ndarray] = []
    times: list[np.ndarray] = []
    begins_s = 0.0
    for first, last in edges.reshape(-1, 2).tolist():
        start_s = max(0.0, first * HOUR_S - _LEAD_S)
        low, high = np.searchsorted(trace.arrival_s, [start_s, last * HOUR_S])
        rows.append(np.arange(low, high))
        times.append(trace.arrival_s[low:high] - start_s + begins_s)
        begins_s += last * HOUR_S - start_s + _PAUSE_S
    return np.concatenate(rows), np.concatenate(times)


def _quantile(result: Result, target: str, rest: np.ndarray) -> float:
    """The percentile of the whole trace, were it not for the other hours' latencies, which are taken to be smaller."""
    metric, quantile = target.split("_", maxsplit=1)[0], float("0." + target.split("_")[1][1:])
    values = result.requests[f"{metric}_s"].to_numpy(dtype=float)
    return float(np.quantile(np.concatenate([values[np.isfinite(values)], rest]), quantile))
