"""A run's requests grouped by route, feature or tenant: what each got and what the work it caused cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.analysis.cost_tree import CostNode
from sim.analysis.latency import answered_mask, latency_of, measured_requests
from sim.analysis.request_costs import request_costs_usd
from sim.analysis.slo import good_mask
from sim.record.result import OUTCOMES, Result
from sim.units import TOKENS_PER_MILLION

MOST = 200
"""So many values of a label are shown apart, the dearest; the rest is summed under ``OTHERS``."""
OTHERS = "(others)"
NONE = "(none)"


def by_label(result: Result, label: str, tree: CostNode | None = None) -> dict[str, dict[str, Any]]:
    """Value of ``label`` (route, feature, tenant) -> what its requests got, dearest first; empty when no request has one.

    ``requests`` by outcome, ``latency`` as the summary's, ``goodput.fraction`` (share of measured requests within the SLO),
    ``input_tokens`` (of what was answered), ``output_tokens``, ``usd`` (the busy compute and API calls that its requests
    caused, answered or not; idle time, cold starts and overhead belong to nobody), ``usd_per_1m_output_tokens`` delivered.
    """
    requests = result.requests
    if not any(map(str, requests[label].astype("category").cat.categories)):
        return {}
    names = requests[label].astype(object).fillna("").astype(str).to_numpy()
    costs = costs_of(result, tree)
    names = _grouped(np.where(names == "", NONE, names), costs)
    warmup_s = result.scenario.workload.warmup_s
    arrived = requests["arrival_s"].to_numpy(dtype=float) >= warmup_s if warmup_s > 0 else np.ones(len(names), dtype=bool)
    measured = measured_requests(result)
    good = good_mask(measured, result.scenario.slo)
    outcomes = requests["outcome"].astype(object).to_numpy()
    tokens = requests["output_tokens"].to_numpy(dtype=float)
    read = np.where(answered_mask(requests), requests["input_tokens"].to_numpy(dtype=float), 0.0)
    rows: dict[str, dict[str, Any]] = {}
    for name in sorted(set(names)):
        mine = names == name
        seen = mine[arrived]
        usd, delivered = float(np.sum(costs[mine])), float(tokens[mine].sum())
        rows[str(name)] = {
            "requests": {
                "offered": int(mine.sum()),
                **{outcome: int((outcomes[mine] == outcome).sum()) for outcome in OUTCOMES},
            },
            "latency": latency_of(measured[seen]),
            "goodput": {"fraction": float(good[seen].mean()) if seen.any() else float("nan")},
            "input_tokens": int(read[mine].sum()),
            "output_tokens": int(delivered),
            "usd": usd,
            "usd_per_1m_output_tokens": usd * TOKENS_PER_MILLION / delivered if delivered else float("nan"),
        }
    return dict(sorted(rows.items(), key=lambda row: (row[0] == OTHERS, -row[1]["usd"])))


def costs_of(result: Result, tree: CostNode | None = None) -> np.ndarray:
    """Dollars of each request: as stored, where the run was priced before."""
    stored: np.ndarray = result.requests["cost_usd"].to_numpy(dtype=float)
    return stored if len(stored) and np.isfinite(stored).all() else request_costs_usd(result, tree)


def _grouped(names: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """``names`` with all but the ``MOST`` dearest called ``OTHERS``."""
    values, place = np.unique(names.astype(str), return_inverse=True)
    if len(values) <= MOST:
        return names
    dearest = np.argsort(-np.bincount(place, np.nan_to_num(costs)), kind="stable")[:MOST]
    kept = np.zeros(len(values), dtype=bool)
    kept[dearest] = True
    return np.where(kept[place], names, OTHERS)
