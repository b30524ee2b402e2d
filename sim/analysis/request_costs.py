"""Who caused which dollars: every attempt's share of busy compute belongs to its request, answered or not.

    work of a request in a pool = computed prompt tokens + cost.output_token_weight x sampled tokens

over all its attempts and passes there, whatever became of them: retries, hedges, drafts thrown away before an escalation,
answers after a time-out. A pool's busy dollars, batch work apart, are shared by work; API bills belong to the request that
was sent there. What nobody caused (idle, cold start, draining, overhead, batch work) stays a node of the cost tree, and so
the requests' dollars and the tree's other nodes add up to the bill.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sim.analysis.cost_tree import CostNode, price
from sim.columns import slices
from sim.record.result import Result, holds

BACKGROUND = "background work"


def request_costs_usd(result: Result, tree: CostNode | None = None) -> np.ndarray:
    """Dollars that each request caused (one entry a row of ``result.requests``). They add up to the node
    ``compute / busy`` without its batch work, and the API bills, but for rounding. Dollars of a pool that no request worked
    in are spread over all requests by their work. NaN for all when nobody's work is known."""
    tree = tree or price(result)
    usd = np.zeros(len(result.requests))
    unclaimed = 0.0
    for pool, busy in busy_usd_by_pool(result, tree).items():
        if not _shared_out(busy, work_in(result, pool), usd):
            unclaimed += busy
    if unclaimed > 0:
        anyone = np.zeros(len(usd))
        for pool in result.work or _pools(result):
            anyone += work_in(result, pool)
        if not _shared_out(unclaimed, anyone, usd):
            return np.full(len(usd), np.nan)
    usd += np.nan_to_num(result.requests["api_usd"].to_numpy(dtype=float))
    return usd


def _shared_out(dollars: float, work: np.ndarray, usd: np.ndarray) -> bool:
    """Adds ``dollars`` to ``usd`` by ``work``; whether anybody worked."""
    total = work.sum()
    for here in slices(len(usd) if total > 0 else 0):
        usd[here] += dollars * work[here] / total
    return bool(total > 0)


def work_in(result: Result, pool: str) -> np.ndarray:
    """Token-weighted work of each row of ``result.requests`` in ``pool``. A stored run does not say in which pool a request
    worked besides the one that answered it: all counts there, or in the first pool where none did."""
    requests, weight = result.requests, result.scenario.cost.output_token_weight
    work = np.zeros(len(requests))
    if result.work:
        if pool in result.work:
            (computed, sampled), ids = result.work[pool], requests["request_id"].to_numpy()
            for here in slices(len(work)):
                work[here] = computed[ids[here]] + weight * sampled[ids[here]]
        return work
    pools = _pools(result)
    mine = holds(requests["pool"], pool)
    if pool == pools[0]:
        mine |= ~holds(requests["pool"], *pools)
    computed, sampled = (requests[name].to_numpy(dtype=float) for name in ("computed_tokens", "sampled_tokens"))
    return np.where(mine, np.nan_to_num(computed) + weight * np.nan_to_num(sampled), 0.0)


def _pools(result: Result) -> list[str]:
    return [str(name) for name in result.replicas["pool"].unique()]


def busy_usd_by_pool(result: Result, tree: CostNode) -> dict[str, float]:
    """Dollars of the node ``compute / busy`` by pool, batch work apart."""
    busy = tree.find("compute", "busy")
    assert busy is not None, "a cost tree has the node compute / busy"
    parts = [part for part in busy.children if part.name != BACKGROUND]
    names = _pools(result)
    if len(names) <= 1:
        return dict.fromkeys(names, math.fsum(part.usd for part in parts))
    return {
        name: math.fsum(child.usd for part in parts for child in part.children if child.name == name) for name in names
    }


def with_costs(result: Result, tree: CostNode | None = None) -> Result:
    """The same result with its requests' ``cost_usd`` filled in."""
    requests = result.requests.assign(cost_usd=request_costs_usd(result, tree))
    return replace(result, requests=requests)
