"""Fleets of another make (pools, scaled, taken as they stand): simulated at other loads until the month meets an API's.

    saved(x) = the API's month of x times the traffic - the simulated month of the fleet at x times the load

Bracketed by doubling and halved geometrically to 1 %, then a straight line between the two runs. Volumes are the traffic's,
in proportion to the load: what a thinned run delivers of it is its sample. Where home is dearer today, the load at which the
fleet misses its SLO is found first, once for all APIs: beyond it this fleet would have to be another, and nothing is asked
of it there.

The interval moves what the simulated months can be priced again for: the GPU's price, the overhead and the API's price; what
context and speed do to a fleet of this make would need other runs, and is not in it. Between the simulated loads machines
cost a straight line, below the least as much as there (something always stands); what does not break even up to twice the
break-even, or to the load at which the fleet misses its SLO, counts as never.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sim.analysis.economics import api_bills
from sim.analysis.ranges import Spread, price_inputs, spread_of
from sim.cost.api_terms import ApiMonth
from sim.cost.break_even import Economics
from sim.decision.crossing import Crossing
from sim.search import Answer, ScenarioEvaluator

_MOST_RUNS = 14
_WITHIN = 0.01
_LIMIT_WITHIN = 0.1
_FEWEST_REQUESTS = 20
"""A trace is not thinned to fewer."""


class OtherLoads:
    """One fleet at the loads that were simulated; they are kept from one API to the next."""

    def __init__(self, answer: Answer, evaluate: ScenarioEvaluator) -> None:
        self._evaluate = evaluate
        self._most_requests = evaluate.scenario.decide.most_requests
        self._replicas = answer.point.replicas
        self._today = float(answer.summary["cost"]["window"]["output_tokens_per_day"])
        self._scale = answer.point.rate_scale
        self._offered = answer.summary["requests"]["offered"]
        hybrid = evaluate.scenario.gateway.hybrid
        self._leaves_by_load = hybrid is not None and hybrid.overload_waiting is not None
        self._bought = ApiMonth(api_bills(evaluate.scenario, answer.summary["cost"]["window"]))
        self._points = {1.0: answer.point}
        """By multiple of today's traffic."""

    def crossing(self, month: ApiMonth) -> Crossing:
        """The volume from which the fleet costs no more than ``month``'s API."""
        if self._saved(1.0, month) < 0:
            held, missed = self._limit()
            if self._saved(held, month) < 0:
                return Crossing(None, self._outgrown(held, missed))
        for _ in range(_MOST_RUNS):
            low, high = self._bracket(month)
            if low == 0.0 and self._idle_usd(high) <= month.usd(0.0) * (1 + 1e-9):
                return Crossing(0.0, "at any volume that the fleet carries as it stands")
            if low and high <= low * (1 + _WITHIN):
                return self._between(low, high, month)
            times = math.sqrt(low * high) if low else high / 2
            if times * self._offered < _FEWEST_REQUESTS:
                few = f"below {high:.3g} times today's traffic, where this trace leaves too few requests to tell"
                return Crossing(None, few)
            self._simulate(times)
        return Crossing(None, f"not found in {_MOST_RUNS} runs")

    def _limit(self) -> tuple[float, float]:
        """The largest load found at which the fleet holds, and the least above it at which it misses (infinite: the largest
        that may be simulated still holds): within a tenth, once for all APIs."""
        while True:
            missed = min((times for times, point in self._points.items() if times > 1 and not point.holds), default=math.inf)
            held = max(times for times, point in self._points.items() if times < missed and (times <= 1 or point.holds))
            times = held * 2 if math.isinf(missed) else math.sqrt(held * missed)
            if missed <= held * (1 + _LIMIT_WITHIN) or times * self._offered > self._most_requests:
                return held, missed
            self._simulate(times)

    def spread(self, stands: Economics, month: ApiMonth) -> Spread:
        """90 % of the break-evens over the stated ranges of the prices; ``stands`` is the comparison as the fleet stands."""
        loads = np.array([times for times in sorted(self._points) if times <= 1 or self._points[times].holds])
        windows = [self._window(times) for times in loads.tolist()]
        compute = np.array([window["compute_usd_per_month"] for window in windows])
        committed = np.array([window["commitment_usd_per_month"] for window in windows])
        rest = np.array([window["usd_per_month"] - window["on_top_usd_per_month"] for window in windows])
        rest = rest - compute - committed
        grid = np.unique(np.concatenate([np.geomspace(loads[0] / 8, loads[-1], 80), loads]))
        machine_usd, rest_usd = np.interp(grid, loads, compute), np.interp(grid, loads, rest)
        committed_usd, paid_usd = np.interp(grid, loads, committed), stands.committed_usd_per_month

        def at(draw: Mapping[str, float]) -> tuple[float | None, bool]:
            dearer = draw["GPU price"] / stands.usd_per_gpu_hour
            home = (machine_usd * (1 + draw["overhead"]) + committed_usd) * dearer + rest_usd
            asked = np.array([month.usd(times, draw["API price"]) for times in grid.tolist()]) + paid_usd * (dearer - 1)
            saved = asked - home
            times = _stays_above_zero(grid, saved)
            return None if times is None else times * self._today, bool(np.interp(1.0, grid, saved) >= 0)

        return spread_of(price_inputs(self._evaluate.scenario, stands), at)

    def _bracket(self, month: ApiMonth) -> tuple[float, float]:
        """The largest load simulated at which the API is cheaper (0: none was), and the least above it at which home is; of
        the loads that the fleet carries."""
        loads = sorted(times for times, point in self._points.items() if times <= 1 or point.holds)
        dearer = [times for times in loads if self._saved(times, month) < 0]
        low = max(dearer, default=0.0)
        return low, min(times for times in loads if times > low)

    def _between(self, low: float, high: float, month: ApiMonth) -> Crossing:
        missed = any(times > 1 and not point.holds for times, point in self._points.items())
        if not missed and 2 * high * self._offered <= self._most_requests:
            self._simulate(2 * high)  # for the interval
        below, above = self._saved(low, month), self._saved(high, month)
        times = low + (high - low) * below / (below - above)
        why = "" if self._points[high].holds else "the fleet misses the SLO there"
        return Crossing(times * self._today, why)

    def _idle_usd(self, times: float) -> float:
        """The month of the fleet that stood at ``times``, without what grew with volume."""
        window = self._window(times)
        return float(window["usd_per_month"] - window["by_volume_usd_per_month"])

    def _saved(self, times: float, month: ApiMonth) -> float:
        return month.usd(times) - self._home_usd(times)

    def _home_usd(self, times: float) -> float:
        """The month of the fleet at ``times``. A share of requests that leaves for an API whatever the load is bought in
        proportion to the traffic, not as that run's draws had it."""
        window = self._window(times)
        usd = float(window["usd_per_month"])
        if not self._leaves_by_load:
            usd += self._bought.usd(times) - ApiMonth(api_bills(self._evaluate.scenario, window)).usd()
        return usd

    def _window(self, times: float) -> Mapping[str, Any]:
        window: Mapping[str, Any] = self._points[times].summary["cost"]["window"]
        return window

    def _simulate(self, times: float) -> None:
        if times in self._points:
            return
        point = self._evaluate(replicas=self._replicas, rate_scale=self._scale * times)
        if not point.summary:  # given up, or a part of the trace: its bill is not the whole's
            point = replace(self._evaluate.whole_run(point)[0], verdict=point.verdict)
        self._points[times] = point

    @staticmethod
    def _outgrown(held: float, missed: float) -> str:
        if math.isinf(missed):
            return f"not up to {held:.3g} times today's traffic; more was not simulated"
        return f"not before the fleet as it stands misses the SLO, between {held:.3g} and {missed:.3g} times today's traffic"


def _stays_above_zero(grid: np.ndarray, saved: np.ndarray) -> float | None:
    """The least of ``grid`` from which ``saved`` is not negative, on a straight line; 0: it never is, None: it ends so."""
    negative = np.flatnonzero(saved < 0)
    if not len(negative):
        return 0.0
    last = int(negative[-1])
    if last == len(grid) - 1:
        return None
    share = saved[last] / (saved[last] - saved[last + 1])
    return float(grid[last] + (grid[last + 1] - grid[last]) * share)
