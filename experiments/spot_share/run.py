"""Spot share 0 to 100 % and notice 120, 30, 0 s: dollars, p95, retries, tokens lost.

    python experiments/spot_share/run.py (a minute)
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from dataclasses import replace  # noqa: E402

from fleet_run import row, run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.report.chart import Chart, Series  # noqa: E402
from sim.spec.spot import SpotSpec, SpotTrace, ZoneRuns  # noqa: E402

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


def main() -> None:
    """``run.py ZONE=FILE ...`` replays recorded zones (zone_a, zone_b, zone_c) instead of drawing them."""
    paths = dict(argument.split("=", 1) for argument in sys.argv[1:])
    hazard = SpotTrace(paths=paths) if paths else ZONES
    rows, lines = [], []
    for notice_s in (120.0, 30.0, 0.0):
        shares, usd = [], []
        for share in (0.0, 0.5, 1.0):
            if share == 0 and rows:
                shares.append(0.0)
                usd.append(rows[0]["usd_per_1m_output_tokens"])
                continue
            scenario = scenario_of(["fleet=spot", "fleet.replicas=4", "gateway=envoy"], WORKLOAD)
            spot = SpotSpec(hazard=hazard, notice_s=notice_s, on_demand_share=1 - share, fallback="on_demand")
            result, summary = run(replace(scenario, spot=spot))
            evictions = [event for event in result.events if event["event"] == "eviction"]
            shares.append(100 * share)
            usd.append(summary["cost"]["usd_per_1m_output_tokens"])
            rows.append(
                {
                    **row(f"{share:.0%} spot, notice {notice_s:.0f} s", summary),
                    "machines_taken": sum(event["event"] == "spot_notice" for event in result.events) if notice_s
                    else sum(event["event"] == "lost" for event in result.events),
                    "requests_in_flight_lost": sum(event["requests"] for event in evictions),
                    "retries": int(result.gateway["retries"]), "failed": summary["requests"]["failed"],
                    "tokens_lost": int(result.replicas["wasted_tokens"].sum()),
                }
            )  # fmt: skip
        lines.append(Series(f"notice {notice_s:.0f} s", shares, usd, "line", len(lines)))
    chart = Chart(
        "US$ per 1M output tokens by spot share", "spot share, %", "US$ per 1M output tokens", lines,
        "Dollars fall with the spot share, and the notice changes them little.", y_zero=True,
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()
