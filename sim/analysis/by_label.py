"""A run's requests grouped by route, feature or tenant: what each got and what its share of busy compute cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.analysis.cost_tree import CostNode
from sim.analysis.latency import answered_mask, latency_of, measured_requests
from sim.analysis.request_costs import request_costs_usd
from sim.analysis.slo import good_mask
from sim.record.result import Result
from sim.units import TOKENS_PER_MILLION


def by_label(result: Result, label: str, tree: CostNode | None = None) -> list[dict[str, Any]]:
    """One dict a value of ``label`` (route, feature, tenant), dearest first: ``name requests answered good ttft_p95_s
    tpot_p95_s e2e_p95_s usd usd_per_1m_output_tokens``.

    ``good`` is the share of measured requests within the SLO; dollars are busy compute only (idle time, cold starts and
    overhead belong to nobody).
    """
    requests = result.requests
    names = requests[label].astype(object).fillna("").astype(str).to_numpy()
    costs = request_costs_usd(result, tree)
    measured = measured_requests(result)
    measured_names = measured[label].astype(object).fillna("").astype(str).to_numpy()
    good = good_mask(measured, result.scenario.slo)
    answered = answered_mask(requests)
    rows = []
    for name in sorted(set(names)):
        mine, seen = names == name, measured_names == name
        latency = latency_of(measured[seen])
        tokens = float(requests["output_tokens"].to_numpy(dtype=float)[mine].sum())
        usd = float(np.sum(costs[mine]))
        rows.append(
            {
                "name": name or "(none)",
                "requests": int(mine.sum()),
                "answered": int((mine & answered).sum()),
                "good": float(good[seen].mean()) if seen.any() else float("nan"),
                "ttft_p95_s": latency["ttft_s"]["p95"],
                "tpot_p95_s": latency["tpot_s"]["p95"],
                "e2e_p95_s": latency["e2e_s"]["p95"],
                "usd": usd,
                "usd_per_1m_output_tokens": usd * TOKENS_PER_MILLION / tokens if tokens else float("nan"),
            }
        )
    return sorted(rows, key=lambda row: -row["usd"])
