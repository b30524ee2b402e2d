"""``ScenarioEvaluator``: the ``evaluate`` of a scenario. One call is one simulation, and asking twice costs nothing.

Every point replays the same trace under the same streams (common random numbers), thinned or superposed by the same
uniforms: two candidates differ by what they are, not by luck. Where something is random, a point is run under
``search.replications`` seeds, and under more where these disagree; its replication of median tightness stands for it,
so that it holds when most of its replications do.

Of a long trace the decisive hours are run (``sim.search.decisive``), and only the answer's candidates whole (``proved``).
Points at another load than the scenario's own keep no time series: it costs a third of a small run, and decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from sim.analysis import price, summarize
from sim.record import Result
from sim.run import simulate
from sim.search.certain_miss import CertainMiss
from sim.search.decisive import Decisive, decisive_hours
from sim.search.point import Point
from sim.search.randomness import system_is_random, traffic_is_random
from sim.spec import Scenario
from sim.watch import watch_of_this_job
from sim.workload import Trace
from sim.workload.load import load_as_scale
from sim.workload.timeline import load_trace

Sizes = tuple[tuple[str, int], ...]
"""Replicas by pool."""


def with_point(scenario: Scenario, replicas: int, rate_scale: float, pools: Sizes = ()) -> Scenario:
    """``scenario`` on a plain fleet of ``replicas``, or with ``pools`` of these sizes, under its load times ``rate_scale``;
    nothing left to solve."""
    fleet = scenario.fleet if scenario.fleet.pools else replace(scenario.fleet, replicas=replicas)
    if pools:
        sized = {name: replace(fleet.pools[name], replicas=count) for name, count in pools}
        fleet = replace(fleet, pools={**fleet.pools, **sized})
    return replace(
        scenario,
        fleet=fleet,
        workload=replace(scenario.workload, rate_scale=rate_scale),
        search=replace(scenario.search, solve="none"),
    )


class ScenarioEvaluator:
    """Simulates candidates of one scenario and remembers them."""

    def __init__(self, scenario: Scenario, on_point: Callable[[Point], None] = lambda point: None) -> None:
        self.scenario = replace(scenario, workload=load_as_scale(scenario.workload, scenario.seed))
        self.points: list[Point] = []
        self._on_point = on_point
        self._known: dict[tuple[int, float, Sizes], Point] = {}
        self._traces: dict[float, Trace] = {}
        self._decisive: dict[float, Decisive | None] = {}
        self._kept: tuple[Point, Result] | None = None
        self._system_is_random: bool | None = None

    def __call__(self, *, replicas: int, rate_scale: float, pools: Sizes = ()) -> Point:
        """The point at ``replicas`` (in ``pools``) and ``rate_scale``; with ``search.early_stop`` a certain miss is given
        up."""
        key = (replicas, rate_scale, pools)
        if key not in self._known:
            point, result = self._replicated(replicas, rate_scale, pools)
            self._known[key] = point
            if point.holds or self._kept is None:
                self._kept = (point, result)  # searches end on the holding point they saw last
        return self._known[key]

    @property
    def decided(self) -> tuple[Point, ...]:
        """Every candidate with what was decided of it, all its replications considered."""
        return tuple(self._known.values())

    def trace(self, rate_scale: float, seed: int | None = None) -> Trace:
        """The arrivals at ``rate_scale``, as ``seed`` draws them (None: the scenario's own, which are kept)."""
        own = seed is None or seed == self.scenario.seed
        if own and rate_scale in self._traces:
            return self._traces[rate_scale]
        workload = replace(self.scenario.workload, rate_scale=rate_scale)
        trace = load_trace(replace(self.scenario, workload=workload, seed=self.scenario.seed if seed is None else seed))
        if own:
            self._traces[rate_scale] = trace
        return trace

    def whole_run(self, point: Point) -> tuple[Point, Result]:
        """``point`` and its result, run to the end if it was given up before."""
        kept = self._kept
        whole = point.stopped_early is None and not point.part
        if kept is not None and kept[0] == point and whole and kept[1].scenario.output == self.scenario.output:
            return kept
        return self._run(point.replicas, point.rate_scale, point.seed, point.pools, early_stop=False, series=True)

    def proved(self, point: Point) -> Point:
        """``point`` as its whole run shows it, where only a part of the trace was run; what is asked later is this one."""
        if not point.part:
            return point
        whole, result = self._run(
            point.replicas, point.rate_scale, point.seed, point.pools, early_stop=True, whole=True, series=True
        )
        self._known[point.replicas, point.rate_scale, point.pools] = whole
        if whole.holds:
            self._kept = (whole, result)
        return whole

    def fresh(self, point: Point, searched: bool = True) -> tuple[Point, ...]:
        """``point`` under ``search.replications`` seeds that no search has seen; none where nothing is random. A run that
        was not searched for is repeated only where its system is random: its own length tells of the traffic."""
        if not searched and self.scenario.search.replications < 2:
            return ()
        if not (self.random if searched else self.system_is_random):
            return ()
        first = self.scenario.seed + self.scenario.search.max_replications
        seeds = range(first, first + max(2, self.scenario.search.replications))
        long = self.decisive(point.rate_scale) is not None
        return tuple(self._run(point.replicas, point.rate_scale, seed, point.pools, early_stop=long)[0] for seed in seeds)

    @property
    def system_is_random(self) -> bool:
        """Whether another seed would give another run of the same arrivals; found out once."""
        if self._system_is_random is None:
            self._system_is_random = system_is_random(self.scenario, self.trace(self.scenario.workload.rate_scale))
        return self._system_is_random

    @property
    def random(self) -> bool:
        """Whether another seed would give another run."""
        return traffic_is_random(self.scenario) or self.system_is_random

    def _replicated(self, replicas: int, rate_scale: float, pools: Sizes) -> tuple[Point, Result]:
        search, seed = self.scenario.search, self.scenario.seed
        own = rate_scale == self.scenario.workload.rate_scale
        runs = [self._run(replicas, rate_scale, seed, pools, early_stop=search.early_stop, series=own)]
        if runs[0][0].part or not self.random:  # a trace so long is its own replication
            return runs[0]
        for number in range(1, max(search.replications, search.max_replications)):
            held = sum(point.holds for point, _ in runs)
            if len(runs) >= search.replications and held in (0, len(runs)):
                break
            if 2 * max(held, len(runs) - held) > max(search.replications, search.max_replications):
                break  # however the others end, the verdict is that of the most
            runs.append(self._run(replicas, rate_scale, seed + number, pools, early_stop=search.early_stop, series=own))
        runs.sort(key=lambda run: (not run[0].holds, run[0].tightness))
        return runs[len(runs) // 2]

    def decisive(self, rate_scale: float) -> Decisive | None:
        """The hours that decide at ``rate_scale``; None where the whole trace is run."""
        if not self.scenario.search.early_stop or self.scenario.search.solve == "none":
            return None
        if rate_scale not in self._decisive:
            self._decisive[rate_scale] = decisive_hours(self.scenario, self.trace(rate_scale))
        return self._decisive[rate_scale]

    def _run(
        self, replicas: int, rate_scale: float, seed: int, pools: Sizes, *,
        early_stop: bool, whole: bool = False, series: bool = False,
    ) -> tuple[Point, Result]:  # fmt: skip
        output = replace(self.scenario.output, timeseries=self.scenario.output.timeseries and series)
        scenario = replace(with_point(self.scenario, replicas, rate_scale, pools), seed=seed, output=output)
        trace = self.trace(rate_scale, seed)
        watch = watch_of_this_job()
        watch.points, watch.doing = len(self.points), f"{replicas} replicas at {rate_scale:.4g} times the load"
        give_up = CertainMiss(scenario.slo, len(trace)) if early_stop else None
        part = None
        if early_stop and not whole:
            own = seed == self.scenario.seed
            part = self.decisive(rate_scale) if own else decisive_hours(scenario, trace)
        result = simulate(scenario, trace if part is None else part.trace, give_up=give_up)
        if part is None:
            point = replace(point_of(result, replicas, rate_scale), pools=pools)
        else:
            point = replace(part.point(result, replicas, rate_scale), pools=pools)
        self.points.append(point)
        self._on_point(point)
        return point, result


def point_of(result: Result, replicas: int, rate_scale: float) -> Point:
    """What a search needs to know of a run."""
    summary = summarize(result, cost=price(result))
    slo, window = summary["slo"], summary["cost"]["window"]
    attained = {name: math.nan if value is None else value for name, value in slo["attained"].items()}
    missed = [name for name, met in slo.get("met", {}).items() if not met]
    return Point(
        replicas=replicas,
        rate_scale=rate_scale,
        verdict="fail" if result.stopped_early else "pass" if slo["holds"] else slo["verdict"],
        attained=attained,
        targets=dict(slo["targets"]),
        missed=tuple(missed) or ((result.stopped_early,) if result.stopped_early else ()),
        usd_per_hour=_number(window.get("usd_per_hour")),
        usd_per_1m_output_tokens=_number(window.get("usd_per_1m_output_tokens")),
        output_tokens_per_s=_number(summary["throughput"]["output_tokens_per_s"]),
        engine_steps=result.engine_steps,
        seed=result.scenario.seed,
        stopped_early=result.stopped_early,
        summary=summary,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
