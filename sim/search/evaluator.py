"""``ScenarioEvaluator``: the ``evaluate`` of a scenario. One call is one simulation, and asking twice costs nothing.

Every point replays the same trace under the same streams (common random numbers), thinned or superposed by the same
uniforms: two candidates differ by what they are, not by luck.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from sim.analysis import price, summarize
from sim.record import Result
from sim.run import simulate
from sim.search.certain_miss import CertainMiss
from sim.search.point import Point
from sim.spec import Scenario
from sim.workload import Trace
from sim.workload.timeline import load_trace


def with_point(scenario: Scenario, replicas: int, rate_scale: float) -> Scenario:
    """``scenario`` on a plain fleet of ``replicas``, under its load times ``rate_scale``; nothing left to solve."""
    fleet = scenario.fleet if scenario.fleet.pools else replace(scenario.fleet, replicas=replicas)
    return replace(
        scenario,
        fleet=fleet,
        workload=replace(scenario.workload, rate_scale=rate_scale),
        search=replace(scenario.search, solve="none"),
    )


class ScenarioEvaluator:
    """Simulates candidates of one scenario and remembers them."""

    def __init__(self, scenario: Scenario, on_point: Callable[[Point], None] = lambda point: None) -> None:
        self.scenario = scenario
        self.points: list[Point] = []
        self._on_point = on_point
        self._known: dict[tuple[int, float], Point] = {}
        self._traces: dict[float, Trace] = {}
        self._kept: tuple[Point, Result] | None = None

    def __call__(self, *, replicas: int, rate_scale: float) -> Point:
        """The point at ``replicas`` and ``rate_scale``; with ``search.early_stop`` a certain miss is given up."""
        key = (replicas, rate_scale)
        if key not in self._known:
            point, result = self._run(replicas, rate_scale, early_stop=self.scenario.search.early_stop)
            self._known[key] = point
            if point.holds or self._kept is None:
                self._kept = (point, result)  # searches end on the holding point they saw last
        return self._known[key]

    def trace(self, rate_scale: float) -> Trace:
        """The arrivals at ``rate_scale``."""
        if rate_scale not in self._traces:
            workload = replace(self.scenario.workload, rate_scale=rate_scale)
            self._traces[rate_scale] = load_trace(replace(self.scenario, workload=workload))
        return self._traces[rate_scale]

    def whole_run(self, point: Point) -> tuple[Point, Result]:
        """``point`` and its result, run to the end if it was given up before."""
        if self._kept is not None and self._kept[0] == point and point.stopped_early is None:
            return self._kept
        return self._run(point.replicas, point.rate_scale, early_stop=False)

    def _run(self, replicas: int, rate_scale: float, *, early_stop: bool) -> tuple[Point, Result]:
        scenario = with_point(self.scenario, replicas, rate_scale)
        trace = self.trace(rate_scale)
        give_up = CertainMiss(scenario.slo, len(trace)) if early_stop else None
        result = simulate(scenario, trace, give_up=give_up)
        point = point_of(result, replicas, rate_scale)
        self.points.append(point)
        self._on_point(point)
        return point, result


def point_of(result: Result, replicas: int, rate_scale: float) -> Point:
    """What a search needs to know of a run."""
    summary = summarize(result, cost=price(result))
    slo = summary["slo"]
    attained = {name: math.nan if value is None else value for name, value in slo["attained"].items()}
    missed = [name for name, met in slo.get("met", {}).items() if not met]
    return Point(
        replicas=replicas,
        rate_scale=rate_scale,
        verdict="fail" if result.stopped_early else slo["verdict"],
        attained=attained,
        targets=dict(slo["targets"]),
        missed=tuple(missed) or ((result.stopped_early,) if result.stopped_early else ()),
        usd_per_hour=_number(summary["cost"]["usd_per_hour"]),
        usd_per_1m_output_tokens=_number(summary["cost"]["usd_per_1m_output_tokens"]),
        output_tokens_per_s=_number(summary["throughput"]["output_tokens_per_s"]),
        engine_steps=result.engine_steps,
        seed=result.scenario.seed,
        stopped_early=result.stopped_early,
        summary=summary,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
