"""Retry storm: ``python experiments/retry_storm/run.py`` (about a minute); writes results.csv, picture.svg, README's table."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from results import leave  # noqa: E402

from sim.analysis import summarize  # noqa: E402
from sim.cli.compose import composed_scenario  # noqa: E402
from sim.record import Result  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.run import simulate  # noqa: E402
from sim.workload import load_workload  # noqa: E402

OVERLOAD_S = (120.0, 210.0)
BIN_S = 30.0
DRAIN_S = 150.0
"""The last arrivals are answered because no more come: they say nothing about recovery."""
BUDGET = "gateway.retries.budget={kind: envoy}"
SHED = "gateway.admission=[{kind: saturation}]"
ABORT = "gateway.abort_on_disconnect=true"
CASES = {
    "no retries": ["gateway.retries=null"],
    "retries": [],
    "retries, abort": [ABORT],
    "retries, budget": [BUDGET],
    "retries, shedding": [SHED],
    "retries, budget, shedding": [BUDGET, SHED],
}


def answered_share(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """Share of the requests that arrived in each bin that were answered."""
    requests = result.requests
    bins = np.arange(0.0, result.last_arrival_s, BIN_S)
    place = np.searchsorted(bins, requests["arrival_s"], side="right") - 1
    good = (requests["outcome"] == "completed").to_numpy(dtype=float)
    return bins, np.bincount(place, good, len(bins)) / np.bincount(place, minlength=len(bins))


def main() -> None:
    rows, lines = [], []
    for number, (name, overrides) in enumerate(CASES.items()):
        scenario = composed_scenario(["experiment=retry_storm", "output.timeseries=false", *overrides])
        result = simulate(scenario, load_workload(scenario.workload, scenario.seed))
        summary = summarize(result)
        at_s, share = answered_share(result)
        seen = at_s < result.last_arrival_s - DRAIN_S
        late = at_s[seen & (at_s >= OVERLOAD_S[1]) & (share < 0.95)]
        recovery_s = 0.0 if not len(late) else float(late[-1] + BIN_S - OVERLOAD_S[1])
        recovered = not len(late) or late[-1] < at_s[seen][-1]
        answered = summary["requests"]["completed"] / summary["requests"]["offered"]
        rows.append(
            {
                "case": name,
                "answered_pct": 100 * answered,
                "recovers": "yes" if recovered else "no",
                "recovery_s": round(recovery_s) if recovered else "never",
                "attempts_per_request": summary["amplification"]["attempts"],
                "wasted_pct_of_sampled": 100 * (1 - 1 / summary["amplification"]["tokens"]),
                "tokens_delivered": summary["tokens"]["output"],
                "usd_per_1m_output_tokens": summary["cost"]["usd_per_1m_output_tokens"],
            }
        )
        lines.append(Series(name, at_s.tolist(), (100 * share).tolist(), "step", number))
    chart = Chart(
        "Requests answered, by the time they arrived",
        "arrival, s",
        "answered, %",
        lines,
        "Without budget or shedding the share answered stays near zero after the overload has ended.",
        bands=[(*OVERLOAD_S, "three times the load")],
    )
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()
