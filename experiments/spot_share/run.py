"""Spot share 0 to 100 % and notice 120, 30, 0 s: dollars, p95, retries, tokens lost; three paired seeds.

    python experiments/spot_share/run.py ZONE=FILE ... (minutes; without files zones come and go by fitted runs)
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from dataclasses import replace  # noqa: E402
from typing import Any  # noqa: E402

from fleet_run import row, run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.analysis.intervals import mean_interval  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.spec.spot import Hazard, SpotSpec, SpotTrace, ZoneRuns  # noqa: E402

WORKLOAD = {
    "name": "steady_chat",
    "generator": {
        "duration_s": 7200.0,
        "max_total_tokens": 8192,
        "arrivals": {"kind": "poisson", "rate_per_s": 10.0},
        "input_tokens": {"kind": "lognormal", "mu": 6.5, "sigma": 1.0, "max_tokens": 6000},
        "output_tokens": {"kind": "lognormal", "mu": 4.9, "sigma": 0.8, "max_tokens": 1500},
    },
}
ZONES = ZoneRuns(up_mean_h=3.1, up_median_h=1.1, down_mean_h=0.8, down_median_h=0.4)
"""Runs of V100 zones, SkyPilot spot-traces, preemption 2023-04-22 (NSDI'24): mean and median, computed 2026-11-23."""
SEEDS = (0, 1, 2)
START_H = (22.0, 24.0, 26.0)
"""Where in the recording each seed begins, hours: the two-hour windows of the Google Cloud zones with the most losses."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
BOUNDED = ("usd_per_1m_output_tokens", "ttft_p95_s", "goodput_pct", "retries", "tokens_lost")


def main() -> None:
    paths = dict(argument.split("=", 1) for argument in sys.argv[1:])
    rows, lines = [], []
    for notice_s in (120.0, 30.0, 0.0):
        shares, usd = [], []
        for share in SHARES:
            if share == 0 and rows:
                shares.append(0.0)
                usd.append(rows[0]["usd_per_1m_output_tokens"])
                continue
            found = [measured(paths, share, notice_s, seed) for seed in SEEDS]
            shares.append(100 * share)
            rows.append({"case": f"{share:.0%} spot, notice {notice_s:.0f} s", **spread(found)})
            usd.append(rows[-1]["usd_per_1m_output_tokens"])
            print(rows[-1], flush=True)
        lines.append(Series(f"notice {notice_s:.0f} s", shares, usd, "line", len(lines)))
    chart = Chart(
        "US$ per 1M output tokens by spot share", "spot share, %", "US$ per 1M output tokens", lines,
        "Mean of three seeds.", y_zero=True,
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


def measured(paths: dict[str, str], share: float, notice_s: float, seed: int) -> dict[str, float]:
    """One seed of one case; the same traffic and the same zones for every share and notice."""
    hazard: Hazard = SpotTrace(paths=paths, offset_s=3600 * START_H[seed]) if paths else ZONES
    zones = ",".join(paths) or "zone_a,zone_b,zone_c"
    scenario = scenario_of(["fleet=spot", "spot=aws", "fleet.replicas=4", f"fleet.zones=[{zones}]", "gateway=envoy"], WORKLOAD)
    spot = SpotSpec(hazard=hazard, notice_s=notice_s, on_demand_share=1 - share, fallback="on_demand")
    result, summary = run(replace(scenario, spot=spot, seed=seed))
    taken = "spot_notice" if notice_s else "lost"
    figures = row("", summary)
    del figures["case"]
    return figures | {
        "machines_taken": sum(event["event"] == taken for event in result.events),
        "requests_in_flight_lost": sum(event["requests"] for event in result.events if event["event"] == "eviction"),
        "retries": int(result.gateway["retries"]),
        "failed": summary["requests"]["failed"],
        "tokens_lost": int(result.replicas["wasted_tokens"].sum()),
    }


def spread(found: list[dict[str, float]]) -> dict[str, Any]:
    """Means over the seeds; the 95 % intervals (Student t) of what is decided on."""
    shown: dict[str, Any] = {}
    for name in found[0]:
        interval = mean_interval([one[name] for one in found])
        shown[name] = interval.value
        if name in BOUNDED:
            shown |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    return shown


if __name__ == "__main__":
    main()
