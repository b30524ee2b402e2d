"""Model-upgrade day: ``python experiments/upgrade_day/run.py`` (about two minutes)."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from fleet_run import row, run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.analysis.intervals import mean_interval  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.spec import scenario_to_dict  # noqa: E402

SEEDS = (0, 1, 2, 3)
AT_S = 1800.0
REPLICAS = 4
CHATTIER = {"kind": "output", "at_s": AT_S, "factor": 1.3}
"""The new model's answers are 30 % longer with the prompts of before."""
LONGER = {"kind": "context", "at_s": AT_S, "factor": 1.5}
"""Its prompts, retuned: half as long again."""


def main() -> None:
    larger = scenario_to_dict(scenario_of(["model=qwen3_14b"]))["model"]
    deploy = {"kind": "deploy", "at_s": AT_S}
    cases: dict[str, tuple[list[dict[str, Any]], int]] = {
        "no upgrade": ([], REPLICAS),
        "same model, one at a time": ([deploy], REPLICAS),
        "same model, all four at once": ([{**deploy, "max_surge": 4}], REPLICAS),
        "answers 1.3x": ([deploy, CHATTIER], REPLICAS),
        "answers 1.3x, prompts 1.5x": ([deploy, CHATTIER, LONGER], REPLICAS),
        "14B instead of 8B": ([{**deploy, "model": larger}], REPLICAS),
        "14B, fleet doubled with it": ([{**deploy, "model": larger, "max_surge": 4}, {"kind": "pool_size", "at_s": AT_S, "replicas": 8}], 4),
    }  # fmt: skip
    rows, lines, base = [], [], []
    for name, (timeline, replicas) in cases.items():
        found = []
        for seed in SEEDS:
            scenario = scenario_of(["experiment=upgrade_day", f"fleet.replicas={replicas}"], timeline=timeline)
            result, summary = run(replace(scenario, seed=seed))
            found.append(row(name, summary))
            if seed == SEEDS[0] and name in ("no upgrade", "answers 1.3x, prompts 1.5x", "14B, fleet doubled with it"):
                series = result.timeseries
                lines.append(Series(name, series["time_s"][::6].tolist(), series["ttft_p95_s"][::6].tolist(), colour=len(lines)))
        base = base or found
        usd, goodput = (mean_interval([one[key] for one in found]) for key in ("usd", "goodput_pct"))
        change = mean_interval([a["usd_per_1m_output_tokens"] / b["usd_per_1m_output_tokens"] for a, b in zip(found, base, strict=True)])
        rows.append({
            "case": name, "usd": usd.value, "goodput_pct": goodput.value, "goodput_low": goodput.low, "goodput_high": goodput.high,
            "usd_per_1m_times": change.value, "times_low": change.low, "times_high": change.high,
            "ttft_p95_s": mean_interval([one["ttft_p95_s"] for one in found]).value,
            "tpot_p95_s": mean_interval([one["tpot_p95_s"] for one in found]).value,
        })  # fmt: skip
        print(rows[-1], flush=True)
    chart = Chart(
        "TTFT p95 of the last minute", "time, s", "seconds", lines,
        "An upgrade that makes work heavier overloads a fleet that was sized for the old one; one that grows with it does not.",
        y_log=True, verticals=[(AT_S, "upgrade")],
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()
