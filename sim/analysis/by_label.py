"""A run's requests grouped by route, feature or tenant: what each got and what the work it caused cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.cost_tree import CostNode
from sim.analysis.latency import answered_mask, latency_of, measured_requests
from sim.analysis.request_costs import request_costs_usd
from sim.analysis.slo import good_mask
from sim.columns import slices
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
    labels = requests[label].astype("category")
    if not any(map(str, labels.cat.categories)):
        return {}
    costs = costs_of(result, tree)
    names, group = _groups(labels, costs)
    measured = measured_requests(result)
    good, answered = good_mask(measured, result.scenario.slo), answered_mask(requests)
    prompts, answers = (requests[column].to_numpy() for column in ("input_tokens", "output_tokens"))
    rows: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names):
        mine = group == number
        seen = mine[len(requests) - len(measured) :]
        outcomes = requests["outcome"][mine].value_counts()
        usd, delivered = float(np.sum(costs[mine])), int(answers.sum(where=mine))
        rows[name] = {
            "requests": {
                "offered": int(mine.sum()),
                **{outcome: int(outcomes.get(outcome, 0)) for outcome in OUTCOMES},
            },
            "latency": latency_of(measured, chosen=seen),
            "goodput": {"fraction": float(good[seen].mean()) if seen.any() else float("nan")},
            "input_tokens": int(prompts.sum(where=mine & answered)),
            "output_tokens": delivered,
            "usd": usd,
            "usd_per_1m_output_tokens": usd * TOKENS_PER_MILLION / delivered if delivered else float("nan"),
        }
    return dict(sorted(rows.items(), key=lambda row: (row[0] == OTHERS, -row[1]["usd"])))


def costs_of(result: Result, tree: CostNode | None = None) -> np.ndarray:
    """Dollars of each request: as stored, where the run was priced before."""
    stored: np.ndarray = result.requests["cost_usd"].to_numpy(dtype=float)
    return stored if len(stored) and np.isfinite(stored).all() else request_costs_usd(result, tree)


def _groups(labels: pd.Series, costs: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The values of ``labels`` that occur, sorted, all but the ``MOST`` dearest as one, ``OTHERS``; and of each row, which
    of these it has."""
    codes = labels.cat.codes.to_numpy()  # -1, the last: missing
    values, value = np.unique([*(str(each) or NONE for each in labels.cat.categories), NONE], return_inverse=True)
    rows, usd = np.zeros(len(values)), np.zeros(len(values))
    for here in slices(len(codes)):
        place = value[codes[here]]
        rows += np.bincount(place, minlength=len(values))
        usd += np.bincount(place, np.nan_to_num(costs[here]), len(values))
    occurring = np.flatnonzero(rows)
    dearest = set(occurring[np.argsort(-usd[occurring], kind="stable")[:MOST]].tolist())
    names, name = np.unique([str(values[at]) if at in dearest else OTHERS for at in occurring.tolist()], return_inverse=True)
    group = np.zeros(len(values), dtype=np.min_scalar_type(len(names)))
    group[occurring] = name
    return names.tolist(), group[value][codes]
