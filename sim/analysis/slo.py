"""Does a run meet its service level objective, and by what does it miss?

A target is a percentile with a limit, e.g. ``ttft_p95_s <= 2.0``. What becomes of them: ``sim.analysis.judge``.

A request that a policy rejected (``slo.rejected_is_miss``) has its answer: it did not fail, and has no latency.

A single request is good when it was answered and stays within the limit of every target, whatever the percentile:
the definition of goodput. A one-token answer has no TPOT and cannot miss one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sim.analysis.latency import answered_mask
from sim.columns import let_go
from sim.record.result import holds
from sim.spec import RouteSlo, Slo

LatencyTable = Mapping[str, Mapping[str, float | None]]
"""Metric (``ttft_s``) -> statistic (``p95``) -> seconds."""

_NAME = re.compile(r"^(?P<metric>ttft|tpot|itl|e2e|queue)_(?P<statistic>p\d+)_s$")


@dataclass(frozen=True)
class TargetCheck:
    """One target and what was attained, seconds."""

    target: str
    """``ttft_p95_s``; of a route ``route.NAME.ttft_p95_s``, of a tenant ``tenant.NAME.ttft_p95_s``."""
    limit: float
    attained: float
    """NaN when no request defines it."""
    met: bool

    @property
    def shortfall(self) -> float:
        """attained / limit - 1; above 0 is a miss. NaN when undefined."""
        return self.attained / self.limit - 1.0


def split_target(name: str) -> tuple[str, str]:
    """``ttft_p95_s`` -> (``ttft_s``, ``p95``): where the latency table holds it."""
    match = _NAME.match(name)
    if match is None:
        raise ValueError(f"a target is called <metric>_<pNN>_s, but got {name!r}")
    return f"{match['metric']}_s", match["statistic"]


def check_slo(
    latency: LatencyTable,
    slo: Slo,
    labelled: Mapping[str, Mapping[str, LatencyTable]] | None = None,
) -> list[TargetCheck]:
    """Every target of ``slo`` against a latency table (``summary["latency"]``), then those of routes and tenants against
    their own: ``labelled`` is label -> value -> table."""
    checks = _check(latency, slo, "")
    for label, values in slo.labelled().items():
        for value, targets in values.items():
            checks += _check((labelled or {}).get(label, {}).get(value, {}), targets, f"{label}.{value}.")
    return checks


def _check(latency: LatencyTable, targets: RouteSlo, prefix: str) -> list[TargetCheck]:
    checks = []
    for name, limit in targets.targets().items():
        metric, statistic = split_target(name)
        found = latency.get(metric, {}).get(statistic)
        attained = float("nan") if found is None else float(found)
        # a one-token workload has no TPOT: nothing to miss; no latency at all is judged by the verdict
        checks.append(TargetCheck(prefix + name, limit, attained, not attained > limit))
    return checks


def good_mask(requests: pd.DataFrame, slo: Slo) -> np.ndarray:
    """True for the requests that were answered (by a policy too) within every per-request limit of ``slo`` (ITL targets
    bind runs, not requests). The targets of a request's own route and tenant replace the fleet's."""
    own, within = np.zeros(len(requests), dtype=bool), np.ones(len(requests), dtype=bool)
    for label, values in slo.labelled().items():
        for value, targets in values.items():
            rows = holds(requests[label], value)
            own |= rows
            within &= ~rows | _within(requests, targets)
    good: np.ndarray = within & (own | _within(requests, slo)) & ~lost_mask(requests, slo)
    return good


def lost_mask(requests: pd.DataFrame, slo: Slo) -> np.ndarray:
    """True for the requests that count as failed: neither answered nor rejected by a policy that has thereby answered."""
    lost = ~answered_mask(requests)
    if lost.any():
        reasons, rejected = requests["reason"], lost & holds(requests["outcome"], "rejected")
        for reason in reasons[rejected].unique():
            if not slo.rejection_is_miss(str(reason)):
                lost &= ~(rejected & holds(reasons, reason))
    return lost


def _within(requests: pd.DataFrame, targets: RouteSlo) -> np.ndarray:
    within = np.ones(len(requests), dtype=bool)
    for name, limit in targets.targets().items():
        metric, _ = split_target(name)
        if metric != "itl_s":
            within &= ~(requests[metric].to_numpy(dtype=float) > limit)
            let_go()
    return within


def verdict(
    checks: list[TargetCheck],
    answered: int,
    failed_fraction: float,
    max_failed_fraction: float,
    *,
    overloaded: bool = False,
    stopped_early: str | None = None,
) -> str:
    """pass, fail, undecided or overloaded, of the estimates alone: undecided where fewer were answered than a percentile
    has to tell apart, 1 / (1 - q) for a q-quantile. ``failed_fraction`` may be NaN (no request)."""
    if overloaded:
        return "overloaded"
    missed = any(not check.met for check in checks) or failed_fraction > max_failed_fraction
    if missed or stopped_early is not None:
        return "fail"
    needed = max((_requests_needed(check.target) for check in checks), default=1)
    if answered < needed:
        return "fail" if answered == 0 and failed_fraction > 0 else "undecided"
    return "pass"


def _requests_needed(target: str) -> int:
    _, statistic = split_target(target.rsplit(".", 1)[-1])
    return math.ceil(1.0 / (1.0 - float("0." + statistic[1:])) - 1e-9)


def missed_by(checks: list[TargetCheck], failed_fraction: float, max_failed_fraction: float) -> str:
    """What was missed, in words, worst first; empty when nothing was. E.g. ``TTFT p95 2.41 s > 2 s``."""
    worst = sorted((check for check in checks if not check.met), key=lambda check: -check.shortfall)
    words = []
    for check in worst:
        who, _, name = check.target.rpartition(".")
        metric, statistic = split_target(name)
        where = f" of {who.partition('.')[2]}" if who else ""
        words.append(f"{metric[:-2].upper()} {statistic}{where} {check.attained:.3g} s > {check.limit:g} s")
    if failed_fraction > max_failed_fraction:
        words.append(f"{failed_fraction:.1%} of requests failed > {max_failed_fraction:.1%}")
    return "; ".join(words)
