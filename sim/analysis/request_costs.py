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
from sim.record.result import Result

BACKGROUND = "background work"


def request_costs_usd(result: Result, tree: CostNode | None = None) -> np.ndarray:
    """Dollars that each request caused (one entry a row of ``result.requests``). They add up to the node
    ``compute / busy`` without its batch work, and the API bills, but for rounding. Dollars of a pool that no request worked
    in are spread over all requests by their work. NaN for all when nobody's work is known."""
    tree = tree or price(result)
    works = work_by_pool(result)
    usd = np.zeros(len(result.requests))
    unclaimed = 0.0
    for pool, busy in busy_usd_by_pool(result, tree).items():
        work = works.get(pool)
        if work is not None and work.sum() > 0:
            usd += busy * work / work.sum()
        else:
            unclaimed += busy
    if unclaimed > 0:
        anyone = sum(works.values(), np.zeros(len(usd)))
        if anyone.sum() <= 0:
            return np.full(len(usd), np.nan)
        usd += unclaimed * anyone / anyone.sum()
    usd += np.nan_to_num(result.requests["api_usd"].to_numpy(dtype=float))
    return usd


def work_by_pool(result: Result) -> dict[str, np.ndarray]:
    """Pool -> token-weighted work of each row of ``result.requests`` there. A stored run does not say in which pool a
    request worked besides the one that answered it: all counts there, or in the first pool where none did."""
    requests, weight = result.requests, result.scenario.cost.output_token_weight
    if result.work:
        ids = requests["request_id"].to_numpy()
        return {pool: (tokens[0] + weight * tokens[1])[ids] for pool, tokens in result.work.items()}
    names = [str(pool) for pool in result.replicas["pool"].unique()]
    computed = np.nan_to_num(requests["computed_tokens"].to_numpy(dtype=float))
    work = computed + weight * np.nan_to_num(requests["sampled_tokens"].to_numpy(dtype=float))
    pool_of = requests["pool"].astype(object).to_numpy()
    pool_of = np.where(np.isin(pool_of, names), pool_of, names[0] if names else "")
    return {name: np.where(pool_of == name, work, 0.0) for name in names}


def busy_usd_by_pool(result: Result, tree: CostNode) -> dict[str, float]:
    """Dollars of the node ``compute / busy`` by pool, batch work apart."""
    busy = tree.find("compute", "busy")
    assert busy is not None, "a cost tree has the node compute / busy"
    parts = [part for part in busy.children if part.name != BACKGROUND]
    names = [str(pool) for pool in result.replicas["pool"].unique()]
    if len(names) <= 1:
        return dict.fromkeys(names, math.fsum(part.usd for part in parts))
    return {
        name: math.fsum(child.usd for part in parts for child in part.children if child.name == name) for name in names
    }


def with_costs(result: Result, tree: CostNode | None = None) -> Result:
    """The same result with its requests' ``cost_usd`` filled in."""
    requests = result.requests.assign(cost_usd=request_costs_usd(result, tree))
    return replace(result, requests=requests)
