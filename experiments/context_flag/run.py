"""A feature flag doubles the context: which alarm sees it first: ``python experiments/context_flag/run.py`` (seconds)."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402
from fleet_run import row, run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.report.chart import Chart, Series  # noqa: E402

FLAG_S = 400.0
ALARMS = {
    "KV above 90 %": ("kv_used", 0.9),
    "tokens in flight above 1.5x": ("tokens_in_flight", 1.5),
    "waiting above 5": ("waiting", 5.0),
    "TTFT p95 above 2 s": ("ttft_p95_s", 2.0),
    "arrivals a second above 1.5x": ("arrivals", 1.5),
}


def main() -> None:
    rows, lines = [], []
    for name, factor in {"flag off": 1.0, "context x 2": 2.0, "context x 3": 3.0}.items():
        flag = {"kind": "context", "at_s": FLAG_S, "factor": factor, "max_tokens": 16000}
        scenario = scenario_of(["fleet.replicas=7", "gateway.client_timeout_s=null"], timeline=[flag] if factor > 1 else [])
        result, summary = run(scenario)
        series = result.timeseries
        at_s = series["time_s"].to_numpy()
        calm = (at_s > 60) & (at_s < FLAG_S)
        seen = {}
        for alarm, (column, limit) in ALARMS.items():
            values = series[column].rolling(5, min_periods=1).mean().to_numpy(dtype=float)
            level = limit * np.nanmean(values[calm]) if "1.5x" in alarm else limit
            high = at_s[(at_s > FLAG_S) & (values > level)]
            seen[alarm] = f"+{high[0] - FLAG_S:.0f} s" if len(high) else "never"
        more = {"verdict": summary["slo"]["verdict"], "preemptions": summary["preemptions"]}
        rows.append({**row(name, summary), **more, **seen})
        lines.append(Series(name, at_s.tolist(), (100 * series["kv_used"]).tolist(), "line", len(lines)))
    chart = Chart(
        "KV blocks in use", "time, s", "% of the fleet's", lines, "With the flag on the KV cache fills and stays full.",
        verticals=[(FLAG_S, "flag")],
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()
