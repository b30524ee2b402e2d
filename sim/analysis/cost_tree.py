"""What a run cost, as a tree: each node is the exact sum (``math.fsum``) of its children.

    total
      compute                    GPUs from the start of their bill to its end, whole instances
        busy                     while a step ran; allocated to those who caused it (``sim.analysis.request_costs``)
          prompt tokens, output tokens, recomputed after preemption, retries and abandoned work, background work,
          forwards of ranks with nothing to schedule (where ranks step together)
        idle                     up, but nothing to do: nights, headroom for p95
        cold start               starting: booting, pulling images, loading weights
        draining                 told to stop, finishing (when not busy)
        dead                     failed, still billed
        unused GPUs              paid for because GPUs are sold by the instance
      power                      of machines of one's own whose watts are not stated (``sim.analysis.energy``)
      api                        tokens bought from providers
      overhead, safety passes, evaluation, engineering, storage, egress     as ``CostSpec`` states them

Busy time of a pool is shared by token weight: a computed prompt token weighs 1, a sampled token
``cost.output_token_weight``. Monthly amounts are charged by the run's share of a month of 730 hours.

``price(result)`` is the whole run. ``month(result)`` is the month in which its traffic repeats without a pause: the same
work in the window without the tail after the last arrival (``window_s``), times 730 h / window. The tail is left out since
the next period's traffic would fill it: two fleets that do the same work at the same price cost the same, however long the
last answer takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from sim.analysis.billing import billed_interval, gpu_of_pool
from sim.analysis.energy import energy_j
from sim.analysis.latency import answered_mask
from sim.analysis.tiers import tiers_usd
from sim.columns import slices
from sim.cost import committed_usd_per_hour, usd_per_gpu_hour
from sim.cost.api_terms import contract_terms
from sim.cost.billed_time import covered_gpu_seconds, paid_gpu_seconds
from sim.record.result import Result, holds
from sim.spec import Scenario
from sim.units import GIB, HOURS_PER_MONTH, JOULES_PER_KWH, SECONDS_PER_HOUR

BUSY_PARTS = (
    "prompt tokens", "output tokens", "recomputed after preemption", "retries and abandoned work", "background work",
)  # fmt: skip
DUMMY = "forwards with nothing to schedule"
"""Of ranks that step together, while others of their group worked; a part of the busy node where there are some."""
ON_TOP = ("overhead", "safety passes", "host memory for KV", "disks for KV")
"""Nodes that grow with compute."""
FIXED = ("evaluation and batch", "engineering", "commitment", "shared store for KV")
"""Nodes that do not grow with volume."""
BY_VOLUME = ("api", "power", "storage of traces and logs", "egress")
"""Nodes that do; compute grows by whole replicas."""
EITHER_WAY = ("storage of traces and logs", "egress")
"""Of these, what is paid whoever answers."""
TIME_PARTS = ("idle", "cold start", "draining", "dead", "unused GPUs")


@dataclass(frozen=True)
class CostNode:
    """A cost with its name; build inner nodes with ``CostNode.of``, so that the sum holds by construction."""

    name: str
    usd: float
    children: tuple[CostNode, ...] = ()

    @classmethod
    def of(cls, name: str, children: Iterable[CostNode]) -> CostNode:
        """The node whose dollars are the exact sum of ``children``."""
        kept = tuple(children)
        return cls(name, math.fsum(child.usd for child in kept), kept)

    def scaled(self, factor: float) -> CostNode:
        """The same tree with every leaf times ``factor`` (a run as a month)."""
        if not self.children:
            return CostNode(self.name, self.usd * factor)
        return CostNode.of(self.name, (child.scaled(factor) for child in self.children))

    def find(self, *path: str) -> CostNode | None:
        """The node below this one along ``path`` of names, or None."""
        node: CostNode | None = self
        for name in path:
            node = next((child for child in node.children if child.name == name), None) if node else None
        return node

    def as_dict(self) -> dict[str, Any]:
        """``{name, usd, children}``, as ``cost.json`` holds it."""
        return {"name": self.name, "usd": self.usd, "children": [child.as_dict() for child in self.children]}


def price(result: Result, until_s: float | None = None) -> CostNode:
    """The cost tree of a run; see the module's head. Its ``usd`` is ``summary.cost.total_usd``.

    ``until_s``: machines and monthly amounts are paid for to there only; the work done, the tokens and the API calls are
    still the whole run's.
    """
    until = math.inf if until_s is None else until_s
    pools = [_price_pool(result, str(pool), rows, until) for pool, rows in result.replicas.groupby("pool", observed=True)]
    parts = (*BUSY_PARTS, DUMMY) if any(usd[DUMMY] for _, usd in pools) else BUSY_PARTS
    busy = [CostNode.of(part, _by_pool(pools, part)) if len(pools) > 1 else _only(pools, part) for part in parts]
    times = [CostNode.of(part, _by_pool(pools, part)) if len(pools) > 1 else _only(pools, part) for part in TIME_PARTS]
    compute = CostNode.of("compute", [CostNode.of("busy", busy), *times])
    return CostNode.of("total", _beside(result, compute.usd, min(until, result.end_s), compute))


def _beside(result: Result, compute_usd: float, end_s: float, compute: CostNode) -> list[CostNode]:
    """``compute`` and what stands beside it."""
    assumed = _assumed(result, result.scenario, compute_usd, end_s)
    return [compute, *_power(result, end_s), *_commitment(result, end_s), *_api(result, end_s), *assumed]


def window_s(result: Result) -> float:
    """Seconds in which the run's traffic arrived: what a month repeats. A burst that is over before half of its work is
    done (its tail is longer than it) cannot be repeated at that pace: the whole run counts."""
    tail_s = result.end_s - result.last_arrival_s
    return result.last_arrival_s if 0 <= tail_s <= result.last_arrival_s else result.end_s


def month(result: Result) -> CostNode:
    """The cost tree of a month of the run's traffic; its ``usd`` is ``summary.cost.window.usd_per_month``, the one
    monthly figure that page, terminal and files show."""
    return per_month(price(result, window_s(result)), window_s(result))


def _api(result: Result, end_s: float) -> list[CostNode]:
    """What API providers bill, by provider and part, and what a contract makes of it; nothing when there is none."""
    providers, months = [], end_s / SECONDS_PER_HOUR / HOURS_PER_MONTH
    for name, bill in result.api_bill_usd.items():
        mine = holds(result.requests["pool"], name)
        tokens = float(sum(result.requests[kind].to_numpy().sum(where=mine) for kind in ("input_tokens", "output_tokens")))
        terms = contract_terms(result.scenario.gateway.apis[name], math.fsum(bill.values()), tokens, months)
        providers.append(CostNode.of(name, [CostNode(part, usd) for part, usd in (bill | terms).items()]))
    return [CostNode.of("api", providers)] if providers else []


def _power(result: Result, end_s: float) -> list[CostNode]:
    """Electricity of bought machines, as simulated; nothing where their watts are stated and so in their hourly price."""
    bought = result.scenario.cost.purchase
    if bought is None or bought.machine_w is not None or not holds(result.replicas["gpu"], result.scenario.gpu.name).any():
        return []
    kwh = energy_j(result, result.scenario.gpu.name, until_s=end_s) * (1 + bought.beside_gpus_fraction) / JOULES_PER_KWH
    return [CostNode("power", kwh * bought.pue * bought.usd_per_kwh)]


def _commitment(result: Result, end_s: float) -> list[CostNode]:
    """What a commitment costs, and what it covers of the on-demand bill; nothing without one."""
    spec, scenario = result.scenario.cost.commitment, result.scenario
    if spec is None:
        return []
    usd = usd_per_gpu_hour(scenario.gpu, "on_demand", scenario.cost) / SECONDS_PER_HOUR
    paid = CostNode("committed GPUs", committed_usd_per_hour(scenario) * end_s / SECONDS_PER_HOUR)
    mine = result.replicas[
        holds(result.replicas["gpu"], scenario.gpu.name) & holds(result.replicas["market"], "on_demand")
    ]
    start_s, stop_s = billed_interval(mine, result.end_s, end_s)
    covered_s = covered_gpu_seconds(start_s, stop_s, mine["gpus"].to_numpy(dtype=float), spec.gpus)
    return [CostNode.of("commitment", [paid, CostNode("on-demand hours that it covers", -covered_s * usd)])]


def _by_pool(pools: list[tuple[str, dict[str, float]]], part: str) -> list[CostNode]:
    return [CostNode(pool, usd[part]) for pool, usd in pools]


def _only(pools: list[tuple[str, dict[str, float]]], part: str) -> CostNode:
    return CostNode(part, pools[0][1][part] if pools else 0.0)


def _price_pool(result: Result, pool: str, replicas: pd.DataFrame, until_s: float) -> tuple[str, dict[str, float]]:
    """Dollars of one pool by part."""
    gpu = gpu_of_pool(result.scenario, pool)
    usd = dict.fromkeys((*BUSY_PARTS, DUMMY, *TIME_PARTS), 0.0)
    for key, rows in replicas.groupby(["gpus", "market"], observed=True):
        gpus, market = cast("tuple[int, str]", key)
        per_gpu_second = usd_per_gpu_hour(gpu, market, result.scenario.cost) / SECONDS_PER_HOUR
        start_s, stop_s = billed_interval(rows, result.end_s, until_s)
        spent = _time_parts(rows, stop_s - start_s)
        spent[DUMMY] = np.minimum(_dummy_s(result, rows), spent["busy"])
        spent["busy"] = spent["busy"] - spent[DUMMY]
        factor = np.ones(len(rows))
        if "price_factor" in rows:
            known = rows["price_factor"].to_numpy(dtype=float)
            factor = np.where(np.isfinite(known), known, 1.0)
        for part, seconds in spent.items():
            usd[part] = usd.get(part, 0.0) + math.fsum(seconds * factor) * gpus * per_gpu_second
        used = math.fsum(stop_s - start_s) * gpus
        paid = paid_gpu_seconds(start_s, stop_s, gpus, gpu.price.instance_gpus)
        usd["unused GPUs"] += max(paid - used, 0.0) * per_gpu_second
    busy_usd = usd.pop("busy", 0.0)
    for part, share in _busy_shares(result, pool, replicas).items():
        usd[part] = busy_usd * share
    return pool, usd


def _time_parts(rows: pd.DataFrame, billed_s: np.ndarray) -> dict[str, np.ndarray]:
    """Billed seconds of each replica by what it did; they add up to ``billed_s``. Draining overlaps with busy: only
    what is left counts."""
    left = billed_s
    parts = {}
    for part, column in (
        ("busy", "busy_s"), ("cold start", "starting_s"), ("dead", "dead_s"), ("draining", "draining_s"),
    ):  # fmt: skip
        seconds = np.minimum(np.nan_to_num(rows[column].to_numpy(dtype=float)), left)
        parts[part] = seconds
        left = left - seconds
    parts["idle"] = left
    return parts


def _dummy_s(result: Result, rows: pd.DataFrame) -> np.ndarray:
    """Seconds of each replica in which its ranks had nothing to schedule, their mean; 0 without ranks that step together."""
    if result.ranks is None:
        return np.zeros(len(rows))
    mean = result.ranks.groupby(result.ranks["replica"].astype(str))["dummy_s"].mean()
    return mean.reindex(rows["replica"].astype(str)).fillna(0.0).to_numpy(dtype=float)


def _busy_shares(result: Result, pool: str, replicas: pd.DataFrame) -> dict[str, float]:
    """Shares of a pool's busy time by kind of token; they add up to 1 (all prompt when no token is known)."""
    weight = result.scenario.cost.output_token_weight
    requests = result.requests
    mine = answered_mask(requests) & holds(requests["pool"], pool)
    prompts_of, cached = (requests[name].to_numpy() for name in ("input_tokens", "cached_tokens"))
    needed = math.fsum((prompts_of[here] - cached[here]).sum(where=mine[here]) for here in slices(len(mine)))
    computed = float(replicas["input_tokens"].sum())
    useful = min(needed, computed)
    wasted = float(replicas["wasted_tokens"].sum())
    background = float(np.nan_to_num(replicas["background_tokens"].to_numpy(dtype=float)).sum())
    spec = result.scenario.fleet.background
    prompts = background / spec.output_tokens * spec.input_tokens if spec is not None else 0.0
    prompts = min(prompts, computed - useful)
    weights = (
        useful,
        weight * max(float(replicas["output_tokens"].sum()) - wasted - background, 0.0),
        float(replicas["recomputed_tokens"].sum()),
        (computed - useful - prompts) + weight * wasted,
        prompts + weight * background,
    )
    total = math.fsum(weights)
    shares = [value / total for value in weights] if total > 0 else [1.0, 0.0, 0.0, 0.0, 0.0]
    return dict(zip(BUSY_PARTS, shares, strict=True))


def _assumed(result: Result, scenario: Scenario, compute_usd: float, end_s: float) -> list[CostNode]:
    """The nodes that rest on stated assumptions; overhead always shows, the others when they are not zero."""
    cost = scenario.cost
    requests = result.requests
    months = end_s / SECONDS_PER_HOUR / HOURS_PER_MONTH
    output_tokens = float(requests["output_tokens"].sum())
    tokens = float(requests["input_tokens"].sum()) + output_tokens
    dearest = max(
        (
            usd_per_gpu_hour(gpu_of_pool(scenario, name), pool.market, cost)
            for name, pool in scenario.fleet.all_pools().items()
        ),
        default=0.0,
    )
    stored_gib_months = tokens * cost.log_bytes_per_token / GIB * cost.log_retention_months
    egress_gib = output_tokens * cost.egress_bytes_per_output_token / GIB
    optional = [
        CostNode("safety passes", compute_usd * cost.safety_fraction),
        CostNode("evaluation and batch", cost.eval_gpu_hours_per_month * months * dearest),
        CostNode("engineering", cost.engineers_fte * cost.engineer_usd_per_year / 12 * months),
        CostNode("storage of traces and logs", stored_gib_months * cost.storage_usd_per_gib_month),
        *[CostNode(name, usd) for name, usd in tiers_usd(result, end_s).items()],
        CostNode("egress", egress_gib * cost.egress_usd_per_gib),
    ]
    return [CostNode("overhead", compute_usd * cost.overhead_fraction), *(node for node in optional if node.usd > 0)]


def per_month(tree: CostNode, simulated_s: float) -> CostNode:
    """The tree of a month (730 hours) in which the run repeats itself without a pause."""
    return tree.scaled(HOURS_PER_MONTH * SECONDS_PER_HOUR / simulated_s)
