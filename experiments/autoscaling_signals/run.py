"""Autoscaling on tokens in flight against QPS and others, on bursts of long-tailed requests.

    python experiments/autoscaling_signals/run.py (about a minute)
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402
from fleet_run import row, run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.analysis.insurance import perfect_replicas  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402

# ON/OFF bursts with heavy tails, as Azure 2023 code shows them; and after an hour prompts grow to three times.
WORKLOAD = {
    "name": "bursty_long_tail",
    "generator": {
        "duration_s": 10800.0,
        "max_total_tokens": 16000,
        "arrivals": {"kind": "on_off", "on_rate_per_s": 9.0, "mean_on_s": 600.0, "mean_off_s": 400.0, "gap_cv": 2.0},
        "input_tokens": {"kind": "lognormal", "mu": 6.8, "sigma": 1.1, "max_tokens": 12000},
        "output_tokens": {"kind": "lognormal", "mu": 4.4, "sigma": 1.2, "max_tokens": 2000},
    },
}
GROWTH = {"kind": "context", "at_s": 3600.0, "factor": 3.0, "max_tokens": 14000}
START = {  # four minutes
    "provisioning": {"kind": "constant", "seconds": 60.0}, "image": {"kind": "constant", "seconds": 40.0},
    "weights_gib_per_s": 0.5, "engine_start": {"kind": "constant", "seconds": 110.0},
}  # fmt: skip
SIGNALS = {
    "tokens in flight": ["autoscaler=tokens_in_flight", "autoscaler.target=25000"],
    "requests in flight": ["autoscaler=requests_in_flight", "autoscaler.target=16"],
    "QPS": ["autoscaler=qps", "autoscaler.target=3"],
    "queue length (KEDA)": ["autoscaler=keda"],
    "KV occupancy": ["autoscaler=kv_occupancy", "autoscaler.target=0.3"],
    "HPA v2 on requests": ["autoscaler=hpa_v2", "autoscaler.target=16"],
    "Knative KPA": ["autoscaler=knative_kpa", "autoscaler.target=23"],
    "static at the peak": ["fleet.replicas=8"],
}


def main() -> None:
    rows, lines = [], []
    for name, overrides in SIGNALS.items():
        scenario = scenario_of(["fleet.replicas=3", "fleet.min_replicas=3", "fleet.max_replicas=12", *overrides], WORKLOAD,
                               timeline=[GROWTH])
        scenario = with_start(scenario)
        result, summary = run(scenario)
        series = result.timeseries
        at_s, ready = series["time_s"].to_numpy(), series["replicas_ready"].to_numpy()
        wanted = perfect_replicas(result)
        need = wanted[np.minimum((at_s // 60).astype(int), len(wanted) - 1)]
        if not rows:
            lines.append(Series("perfect", (np.arange(len(wanted)) * 60.0).tolist(), wanted.tolist(), "step", 7))
            perfect = summary["insurance"]
        if name in ("tokens in flight", "QPS", "queue length (KEDA)"):
            lines.append(Series(name, at_s.tolist(), ready.tolist(), "step", len(lines)))
        rows.append(
            {
                **row(name, summary), "e2e_p95_s": summary["latency"]["e2e_s"]["p95"],
                "replica_hours_over": float(np.maximum(ready - need, 0).mean() * result.end_s / 3600),
                "replica_hours_under": float(np.maximum(need - ready, 0).mean() * result.end_s / 3600),
                "scalings": sum(event["event"] == "scale" for event in result.events),
            }
        )  # fmt: skip
    rows.append({**dict.fromkeys(rows[0], "–"), "case": "perfect", "usd": perfect["perfect_usd"]})
    chart = Chart(
        "Replicas ready", "time, s", "replicas", lines,
        "QPS stays where it was when prompts triple; tokens in flight follows.", verticals=[(3600.0, "prompts x 3")],
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


def with_start(scenario):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    from sim.spec.coldstart import ColdStartSpec

    return replace(scenario, fleet=replace(scenario.fleet, cold_start=ColdStartSpec(**START)))


if __name__ == "__main__":
    main()
