"""``solve``: the inner problem of one job, from a scenario to its answer.

    none      one run as it is
    replicas  the highest load of one replica (on the thinned trace: cheap); then the fewest replicas at the scenario's
              own load, started where a closed formula points
    load      the highest load of the fleet as it is
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sim.cost import gpus_per_replica, usd_per_gpu_hour
from sim.errors import ConfigError, InfeasibleError
from sim.perf import resolve_engine
from sim.record import Result
from sim.search.alone import missed_alone
from sim.search.evaluator import ScenarioEvaluator, with_point
from sim.search.guess import ALONE, guessed_pair, guessed_replicas, pooled_rate_per_s
from sim.search.load import highest_load
from sim.search.over_seeds import over_seeds
from sim.search.pair import cheapest_pair
from sim.search.point import Point, Solution
from sim.search.randomness import traffic_is_random
from sim.search.replicas import fewest_replicas
from sim.spec import Scenario
from sim.workload.timeline import load_trace

Solve = Literal["none", "replicas", "load"]

_FEWEST_REQUESTS = 200
"""A load is not searched below what leaves so many requests: the percentiles would be noise."""


@dataclass(frozen=True)
class Answer:
    """How a job ended."""

    solve: Solve
    scenario: Scenario
    """The scenario with what was solved filled in; it reproduces ``result`` with ``search.solve=none``."""
    point: Point
    """The best point, or the nearest miss."""
    result: Result
    """The whole run of ``point``."""
    summary: dict[str, Any]
    points: tuple[Point, ...]
    """Every simulation, in order."""
    one_replica: Point | None
    """One replica at the highest load it sustains, where that was asked for and exists."""
    note: str = ""
    fresh: tuple[Point, ...] = ()
    """The answer under seeds that the search did not see, where something is random."""

    @property
    def feasible(self) -> bool:
        """True when the point holds."""
        return self.point.holds


def solve(scenario: Scenario, how: Solve, evaluator: ScenarioEvaluator | None = None) -> Answer:
    """The answer of ``scenario`` to the question ``how``."""
    evaluate = evaluator or ScenarioEvaluator(scenario)
    scenario = evaluate.scenario  # its load is a scale
    rate_scale = scenario.workload.rate_scale
    pair = prefill_and_decode(scenario) if how == "replicas" else None
    if pair is not None:
        prefill, decode = pair
        found = _proved(evaluate, lambda: _pair(scenario, evaluate, prefill, decode))
        return _answer(how, found.nearest, evaluate, None, found.note)
    if how == "replicas" and scenario.fleet.pools:
        raise ConfigError(
            "search.solve: replicas needs a plain fleet (fleet.replicas), or one pool of role prefill and one of role "
            f"decode, but got {len(scenario.fleet.pools)} fleet.pools; use none or load"
        )
    one: Solution | None = None
    if how == "none":
        _check_budget(scenario)
        stated = sum(pool.replicas for pool in scenario.fleet.all_pools().values())
        return _answer(how, Point(stated, rate_scale, "undecided", seed=scenario.seed), evaluate, one)
    guess = _guess(scenario, evaluate)
    hopeless = _hopeless(evaluate, rate_scale)
    if hopeless:
        replicas = scenario.fleet.replicas
        if how == "replicas":
            replicas = min(max(math.ceil(rate_scale / guess), scenario.search.min_replicas), _most_replicas(scenario))
        return _answer(how, evaluate(replicas=replicas, rate_scale=rate_scale), evaluate, one, hopeless)
    if how == "replicas":
        asked = scenario.search.one_replica_load and scenario.fleet.cells == 1 and not _fits_one_batch(scenario)
        if asked and evaluate.decisive(rate_scale) is None:
            one = _load(scenario, evaluate, 1, guess * ALONE)
        alone = one.best.rate_scale if one is not None and one.best is not None else None
        found = _proved(evaluate, lambda: fewest_replicas(
            evaluate, low=max(scenario.search.min_replicas, scenario.fleet.cells), high=_most_replicas(scenario),
            start=guessed_replicas(rate_scale, guess, alone), rate_scale=rate_scale,
        ))  # fmt: skip
    else:
        sharing = ALONE if scenario.fleet.replicas == 1 else 1.0
        start = guess * sharing * scenario.fleet.replicas
        found = _proved(evaluate, lambda: _load(scenario, evaluate, scenario.fleet.replicas, start))
    part = evaluate.decisive(rate_scale)
    searched = ""
    if part is not None:
        searched = f"searched in {part.words}; the answer was run whole"
        if how == "replicas" and scenario.search.one_replica_load:
            searched += "; how much one replica carries was not searched"
    return _answer(how, found.nearest, evaluate, one, "; ".join(filter(None, (found.note, searched))))


def _hopeless(evaluate: ScenarioEvaluator, rate_scale: float) -> str:
    """Why no number of replicas meets the objective; "" = nothing is certain. Where another seed draws other requests, a
    point is judged by most of its replications (``ScenarioEvaluator``), so it has to be certain of most of these."""
    scenario, search = evaluate.scenario, evaluate.scenario.search
    why = missed_alone(scenario, evaluate.trace(rate_scale))
    if not why or not traffic_is_random(scenario) or evaluate.decisive(rate_scale) is not None:
        return why
    draws, certain = max(search.replications, search.max_replications), 1
    for number in range(1, draws):
        if certain == number and number >= search.replications:
            return why  # the evaluator stops there, too
        certain += bool(missed_alone(scenario, evaluate.trace(rate_scale, scenario.seed + number)))
    return why if 2 * certain >= draws else ""


def _fits_one_batch(scenario: Scenario) -> bool:
    """Whether ``workload.limit`` leaves no more requests at any load than one replica runs at once: none is its highest."""
    engine = resolve_engine(scenario.engine, scenario.model, scenario.gpu)
    limit = scenario.workload.limit
    return limit is not None and limit <= (engine.max_num_seqs or 0)


def _proved(evaluate: ScenarioEvaluator, search: Callable[[], Solution]) -> Solution:
    """What ``search`` finds once its answer also holds in a whole run; what does not sends it on."""
    while True:
        found = search()
        if found.best is None:
            return found
        whole = evaluate.proved(found.best)
        if whole.holds:
            return replace(found, best=whole, nearest=whole)


def capacity_points(decided: Sequence[Point], at: Point) -> list[dict[str, Any]]:
    """``summary["capacity"]``: the loads that were simulated, and whether the SLO held. Rates nest, so that a load's volume
    is that of ``at`` in proportion."""
    volume = at.summary["cost"]["window"].get("output_tokens_per_day") or 0.0
    return [
        {
            "replicas": one.replicas,
            "rate_scale": one.rate_scale,
            "output_tokens_per_day": volume * one.rate_scale / at.rate_scale,
            "holds": one.holds,
        }
        for one in sorted(decided, key=lambda one: (one.replicas, one.rate_scale))
    ]


def replica_usd_per_hour(scenario: Scenario) -> float:
    """What the GPUs of one replica cost an hour, before instances are rounded up."""
    return gpus_per_replica(scenario.engine) * usd_per_gpu_hour(scenario.gpu, scenario.fleet.market, scenario.cost)


def prefill_and_decode(scenario: Scenario) -> tuple[str, str] | None:
    """The names of the fleet's two pools, prefill and decode, where these are all; else None."""
    fleet = scenario.fleet
    prefill, decode = fleet.pools_of_role("prefill"), fleet.pools_of_role("decode")
    if len(fleet.all_pools()) != 2 or not (len(prefill) == len(decode) == 1):
        return None
    return prefill[0], decode[0]


def _pair(scenario: Scenario, evaluate: ScenarioEvaluator, prefill: str, decode: str) -> Solution:
    """The cheapest sizes of the two pools at the scenario's load."""
    rate_scale = scenario.workload.rate_scale
    usd = (pool_usd_per_hour(scenario, prefill), pool_usd_per_hour(scenario, decode))
    search = scenario.search
    most = search.max_replicas - 1
    if search.max_usd_per_hour is not None and min(usd) > 0:
        if sum(usd) > search.max_usd_per_hour * (1 + 1e-9):
            raise InfeasibleError(
                f"search.max_usd_per_hour={search.max_usd_per_hour:g} does not pay for one prefill and one decode replica "
                f"at ${usd[0]:g} + ${usd[1]:g} an hour"
            )
        most = min(most, *(int((search.max_usd_per_hour - usd[1 - kind]) / usd[kind] * (1 + 1e-9)) for kind in (0, 1)))

    def at(prefills: int, decodes: int) -> Point:
        sizes = ((prefill, prefills), (decode, decodes))
        return evaluate(replicas=prefills + decodes, rate_scale=rate_scale, pools=sizes)

    split = scenario.gateway.disaggregation
    alone = split is None or split.kind == "always"
    start = guessed_pair(scenario, evaluate.trace(rate_scale), prefill, decode)
    found = cheapest_pair(at, usd=usd, start=start, most=most, decode_alone=alone)
    best, limit = found.best, search.max_usd_per_hour
    spent = sum(each * count for each, (_, count) in zip(usd, best.pools, strict=True)) if best is not None else 0.0
    if limit is not None and spent > limit * (1 + 1e-9):
        note = f"search.max_usd_per_hour={limit:g} does not pay for the cheapest pair that holds, at ${spent:g} an hour"
        return Solution(None, found.nearest, found.points, note)
    return found


def pool_usd_per_hour(scenario: Scenario, name: str) -> float:
    """What the GPUs of one replica of pool ``name`` cost an hour, before instances are rounded up."""
    pool = scenario.fleet.pools[name]
    gpu, engine = pool.gpu or scenario.gpu, pool.engine or scenario.engine
    return gpus_per_replica(engine) * usd_per_gpu_hour(gpu, pool.market, scenario.cost)


def gpu_usd_per_hour(scenario: Scenario, point: Point) -> float:
    """What the GPUs of ``point`` cost an hour, before instances are rounded up."""
    if point.pools:
        return sum(count * pool_usd_per_hour(scenario, name) for name, count in point.pools)
    return point.replicas * replica_usd_per_hour(scenario)


def _check_budget(scenario: Scenario) -> None:
    """A fleet that is stated, not searched, keeps to the budget too. Pools pay for their own GPUs."""
    limit, fleet = scenario.search.max_usd_per_hour, scenario.fleet
    stated = sum(
        pool.replicas
        * gpus_per_replica(pool.engine or scenario.engine)
        * usd_per_gpu_hour(pool.gpu or scenario.gpu, pool.market, scenario.cost)
        for pool in fleet.all_pools().values()
    )
    if limit is not None and stated > limit * (1 + 1e-9):
        raise InfeasibleError(f"search.max_usd_per_hour={limit:g} does not pay for this fleet at ${stated:g} an hour")


def _most_replicas(scenario: Scenario) -> int:
    search, each = scenario.search, replica_usd_per_hour(scenario)
    if search.max_usd_per_hour is None or each <= 0:
        return search.max_replicas
    affordable = math.floor(search.max_usd_per_hour / each * (1 + 1e-9))
    if affordable < search.min_replicas:
        raise InfeasibleError(
            f"search.max_usd_per_hour={search.max_usd_per_hour:g} does not pay for {search.min_replicas} replica(s) at "
            f"${each:g} an hour"
        )
    return min(search.max_replicas, affordable)


def _guess(scenario: Scenario, evaluate: ScenarioEvaluator) -> float:
    trace = evaluate.trace(scenario.workload.rate_scale)
    rate_per_s = len(trace) / trace.duration_s if trace.duration_s > 0 else float(len(trace))
    part = evaluate.decisive(scenario.workload.rate_scale)
    if part is not None:
        rate_per_s = part.rate_per_s
    return scenario.workload.rate_scale * pooled_rate_per_s(scenario, trace) / rate_per_s


def _load(scenario: Scenario, evaluate: ScenarioEvaluator, replicas: int, start: float) -> Solution:
    trace = evaluate.trace(scenario.workload.rate_scale)
    if scenario.workload.limit is not None:  # it caps what a lower load need not fall short of
        trace = load_trace(replace(scenario, workload=replace(scenario.workload, limit=None)))
    requests_at_one = len(trace) / scenario.workload.rate_scale
    return highest_load(
        evaluate, replicas=replicas, start=start, tolerance=scenario.search.load_tolerance,
        low=min(scenario.workload.rate_scale, _FEWEST_REQUESTS / requests_at_one),
    )  # fmt: skip


def _answer(how: Solve, end: Point, evaluate: ScenarioEvaluator, one: Solution | None, note: str = "") -> Answer:
    point, result = evaluate.whole_run(end)
    summary = dict(point.summary)
    best_of_one = one.best if one is not None else None
    if best_of_one is not None and best_of_one.output_tokens_per_s > 0:
        delivered = point.output_tokens_per_s
        capacity = best_of_one.output_tokens_per_s * point.replicas
        if point.holds:  # replicas share bursts: n of them carry more than n times one, and what held was carried
            capacity = max(capacity, delivered)
        summary["utilisation"] = {**summary["utilisation"], "token": delivered / capacity}
    if how != "none":
        summary["capacity"] = capacity_points(evaluate.decided, point)
    solved = replace(with_point(evaluate.scenario, point.replicas, point.rate_scale, point.pools), seed=point.seed)
    fresh = evaluate.fresh(point, searched=how != "none") if point.holds else ()
    if fresh:
        summary["slo"] = over_seeds(summary["slo"], fresh)
    return Answer(how, solved, point, result, summary, tuple(evaluate.points), best_of_one, note, fresh)
