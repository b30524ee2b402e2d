"""Autoscaling on tokens in flight against QPS and others, on bursts of long-tailed requests.

    python experiments/autoscaling_signals/run.py (about five minutes)

Every target is what a fleet of six shows on the average before the change: at that load all signals ask for the same fleet.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402
import yaml  # noqa: E402
from fleet_run import row, run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.analysis.insurance import perfect_replicas  # noqa: E402
from sim.analysis.intervals import mean_interval  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.spec import Scenario  # noqa: E402

SEEDS = (0, 1, 2, 3, 4)
REFERENCE_REPLICAS = 6
GROWTH = {"kind": "context", "at_s": 3600.0, "factor": 2.0, "max_tokens": 14000}
START = {  # four minutes
    "provisioning": {"kind": "constant", "seconds": 60.0}, "image": {"kind": "constant", "seconds": 40.0},
    "weights_gib_per_s": 0.5, "engine_start": {"kind": "constant", "seconds": 110.0},
}  # fmt: skip
FLEET = {"min_replicas": 2, "max_replicas": 16, "cold_start": START}
DRAWN = ("tokens in flight", "QPS", "queue length (KEDA)")


def workload() -> dict[str, Any]:
    """Azure 2023 code as fitted (``experiments/trace_fit``), twice its rate, repeated to two hours."""
    fitted = yaml.safe_load((HERE.parent / "trace_fit" / "azure_code.yaml").read_text(encoding="utf-8"))
    generator = fitted["generator"]
    generator["duration_s"] = 7200.0
    generator["max_total_tokens"] = None
    generator["arrivals"]["rate_per_s"] *= 2
    return {"name": "azure_code_2023_fitted", "generator": generator}


def scenario(autoscaler: dict[str, Any], seed: int, replicas: int = REFERENCE_REPLICAS, growth: bool = True) -> Scenario:
    fleet = {**FLEET, "replicas": replicas}
    timeline = [GROWTH] if growth else []
    made = scenario_of([], workload(), fleet=fleet, timeline=timeline, autoscaler=autoscaler)
    return replace(made, seed=seed)


def signals() -> dict[str, tuple[dict[str, Any], int]]:
    """Autoscaler and first size of each case; targets from the reference run."""
    result, summary = run(scenario({"kind": "none"}, seed=100, replicas=REFERENCE_REPLICAS, growth=False))
    series, n = result.timeseries, REFERENCE_REPLICAS
    requests = float((series["running"] + series["waiting"]).mean()) / n
    tokens = float(series["tokens_in_flight"].mean()) / n
    rate, kv = len(result.requests) / result.last_arrival_s / n, float(summary["utilisation"]["kv"])
    print(f"a replica of the reference shows {tokens:,.0f} tokens and {requests:.1f} requests in flight, {rate:.2f} requests/s, KV {kv:.1%}")
    return {
        "tokens in flight": ({"kind": "tokens_in_flight", "target": tokens}, REFERENCE_REPLICAS),
        "requests in flight": ({"kind": "requests_in_flight", "target": requests}, REFERENCE_REPLICAS),
        "QPS": ({"kind": "qps", "target": rate}, REFERENCE_REPLICAS),
        "KV occupancy": ({"kind": "kv_occupancy", "target": kv}, REFERENCE_REPLICAS),
        "HPA v2 on requests": ({"kind": "hpa_v2", "target": requests}, REFERENCE_REPLICAS),
        "Knative KPA": ({"kind": "knative_kpa", "target": requests / 0.7}, REFERENCE_REPLICAS),
        "queue length (KEDA)": ({"kind": "keda"}, REFERENCE_REPLICAS),
        "static at the peak": ({"kind": "none"}, 14),
    }


def main() -> None:
    rows, lines = [], []
    perfect: list[float] = []
    for name, (autoscaler, replicas) in signals().items():
        found: list[dict[str, Any]] = []
        for seed in SEEDS:
            result, summary = run(scenario(autoscaler, seed, replicas))
            series = result.timeseries
            at_s, ready = series["time_s"].to_numpy(), series["replicas_ready"].to_numpy()
            wanted = perfect_replicas(result)
            need = wanted[np.minimum((at_s // 60).astype(int), len(wanted) - 1)]
            hours = result.end_s / 3600
            found.append({
                **row(name, summary),
                "replica_hours_over": float(np.maximum(ready - need, 0).mean() * hours),
                "replica_hours_under": float(np.maximum(need - ready, 0).mean() * hours),
                "scalings": float(sum(event["event"] == "scale" for event in result.events)),
            })  # fmt: skip
            if not rows:
                perfect.append(summary["insurance"]["perfect_usd"])
            if seed == SEEDS[0]:
                if not lines:
                    lines.append(Series("perfect", (np.arange(len(wanted)) * 60.0).tolist(), wanted.tolist(), "step", 7))
                if name in DRAWN:
                    lines.append(Series(name, at_s.tolist(), ready.tolist(), "step", len(lines)))
        rows.append({"case": name, **spread(found)})
    usd = mean_interval(perfect)
    rows.append({**dict.fromkeys(rows[0], "–"), "case": "perfect", "usd": usd.value, "usd_low": usd.low, "usd_high": usd.high})
    chart = Chart(
        "Replicas ready", "time, s", "replicas", lines,
        "After prompts double, QPS asks for the fleet of before; tokens in flight asks for more.",
        verticals=[(GROWTH["at_s"], "prompts x 2")],
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


def spread(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds; dollars and goodput with their 95 % intervals."""
    merged: dict[str, Any] = {}
    for key in found[0]:
        if key == "case":
            continue
        interval = mean_interval([one[key] for one in found])
        merged[key] = interval.value
        if key in ("usd", "goodput_pct"):
            merged |= {f"{key}_low": interval.low, f"{key}_high": interval.high}
    return merged


if __name__ == "__main__":
    main()
