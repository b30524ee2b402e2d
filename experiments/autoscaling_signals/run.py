"""Autoscaling on tokens in flight against QPS and others, on bursts of long-tailed requests.

    python experiments/autoscaling_signals/run.py (about five minutes)

Every target is what the reference fleet shows on the average before prompts grow: there all signals ask for the same fleet.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
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

SEEDS = tuple(range(6))
DRAWN = ("tokens in flight", "QPS", "queue length (KEDA)")


@dataclass(frozen=True)
class Traffic:
    """One traffic: its generator (None: the preset's), what prompts grow by after an hour, and the fleets."""

    generator: dict[str, Any] | None
    growth: float
    reference: int
    """Replicas at the start, and of the run that the targets are read off."""
    peak: int
    """Replicas of the static fleet."""


def traffics() -> dict[str, Traffic]:
    """Bursts of ten minutes with heavy tails; and Azure 2023 code as fitted (``experiments/trace_fit``), whose bursts last a
    minute, at twice its rate and repeated to two hours."""
    code = yaml.safe_load((HERE.parent / "trace_fit" / "azure_code.yaml").read_text(encoding="utf-8"))["generator"]
    code |= {"duration_s": 7200.0, "max_total_tokens": None}
    code["arrivals"]["rate_per_s"] *= 2
    return {"bursts of ten minutes": Traffic(None, 3.0, 4, 8), "Azure 2023 code": Traffic(code, 2.0, 6, 14)}


def scenario(traffic: Traffic, autoscaler: dict[str, Any], seed: int, replicas: int, grows: bool = True) -> Scenario:
    growth = {"kind": "context", "at_s": 3600.0, "factor": traffic.growth, "max_tokens": 14000}
    made = scenario_of(
        ["experiment=autoscaling_signals", f"fleet.replicas={replicas}", f"fleet.max_replicas={traffic.peak + 2}"],
        {"name": "bursty", "generator": traffic.generator} if traffic.generator else None,
        timeline=[growth] if grows else [], autoscaler=autoscaler,
    )  # fmt: skip
    return replace(made, seed=seed)


def signals(traffic: Traffic) -> dict[str, tuple[dict[str, Any], int]]:
    """Autoscaler and first size of each case; targets from the reference run."""
    n = traffic.reference
    result, summary = run(scenario(traffic, {"kind": "none"}, 100, n, grows=False))
    series = result.timeseries
    requests = float((series["running"] + series["waiting"]).mean()) / n
    tokens = float(series["tokens_in_flight"].mean()) / n
    rate, kv = len(result.requests) / result.last_arrival_s / n, float(summary["utilisation"]["kv"])
    print(f"a replica of the reference shows {tokens:,.0f} tokens, {requests:.1f} requests in flight, {rate:.2f} requests/s, KV {kv:.1%}")
    return {
        "tokens in flight": ({"kind": "tokens_in_flight", "target": tokens}, n),
        "requests in flight": ({"kind": "requests_in_flight", "target": requests}, n),
        "QPS": ({"kind": "qps", "target": rate}, n),
        "KV occupancy": ({"kind": "kv_occupancy", "target": kv}, n),
        "HPA v2 on requests": ({"kind": "hpa_v2", "target": requests}, n),
        "Knative KPA": ({"kind": "knative_kpa", "target": requests / 0.7}, n),
        "queue length (KEDA)": ({"kind": "keda"}, n),
        "static at the peak": ({"kind": "none"}, traffic.peak),
    }


def main() -> None:
    rows, charts = [], {}
    for name, traffic in traffics().items():
        found, chart = compared(name, traffic)
        rows += found
        charts[name.lower().replace(" ", "_")] = chart
    leave(HERE, rows, charts)


def compared(title: str, traffic: Traffic) -> tuple[list[dict[str, Any]], Chart]:
    """Every signal on one traffic."""
    rows: list[dict[str, Any]] = []
    lines: list[Series] = []
    perfect: list[float] = []
    goodput: dict[str, np.ndarray] = {}
    for name, (autoscaler, replicas) in signals(traffic).items():
        found: list[dict[str, Any]] = []
        for seed in SEEDS:
            result, summary = run(scenario(traffic, autoscaler, seed, replicas))
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
        goodput[name] = np.array([one["goodput_pct"] for one in found])
        rows.append({"traffic": title, "case": name, **spread(found)})
    for each in rows:  # under the same seeds
        over = mean_interval((goodput[each["case"]] - goodput["QPS"]).tolist())
        each |= {"goodput_over_qps": over.value, "over_qps_low": over.low, "over_qps_high": over.high}
    usd = mean_interval(perfect)
    ends = {"usd": usd.value, "usd_low": usd.low, "usd_high": usd.high}
    rows.append({**dict.fromkeys(rows[0], "–"), "traffic": title, "case": "perfect", **ends})
    chart = Chart(
        f"Replicas ready: {title}", "time, s", "replicas", lines,
        "The perfect fleet follows every burst; the autoscaled ones, four minutes late, do not.",
        verticals=[(3600.0, f"prompts x {traffic.growth:g}")],
    )  # fmt: skip
    return rows, chart


def spread(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds; dollars with their 95 % interval."""
    merged: dict[str, Any] = {}
    for key in found[0]:
        if key == "case":
            continue
        interval = mean_interval([one[key] for one in found])
        merged[key] = interval.value
        if key == "usd":
            merged |= {f"{key}_low": interval.low, f"{key}_high": interval.high}
    return merged


if __name__ == "__main__":
    main()
