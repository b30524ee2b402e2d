"""When disaggregation pays: ``python experiments/disaggregation/run.py`` (a quarter of an hour); writes results.csv,
picture.svg, README's table.

Four H100, a replica of Llama-3.1-8B on each: the highest load within the SLO of four whole replicas (the best of three
token budgets) and of x prefill + y decode replicas, x + y = 4.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from results import leave  # noqa: E402

from sim.cli.compose import composed_scenario  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402
from sim.search import solve  # noqa: E402

GPUS = 4
WHOLE = ["~fleet.pools", f"fleet.replicas={GPUS}"]
BUDGETS_TOKENS = (256, 1024, 8192)


class Traffic(NamedTuple):
    """Mean lengths, and requests a second at which the search begins."""

    prompt: int
    answer: int
    rate_per_s: float


TRAFFIC = {
    "chat, 1,000 in, 250 out": Traffic(1000, 250, 30.0),
    "documents, 6,000 in, 250 out": Traffic(6000, 250, 8.0),
    "reasoning, 1,000 in, 1,500 out": Traffic(1000, 1500, 6.0),
}
OBJECTIVES = {
    "TTFT p95 1 s, TPOT p95 50 ms": ["slo.tpot_p95_s=0.05"],
    "TTFT p95 1 s, TPOT p95 15 ms": ["slo.tpot_p95_s=0.015"],
    "TTFT p95 1 s, ITL p99 25 ms": ["slo.tpot_p95_s=null", "+slo.itl_p99_s=0.025"],
}


def highest_load(traffic: Traffic, objective: list[str], fleet: list[str]) -> float:
    """Requests a second of the highest load within the objective; 0 = none that was looked at."""
    spread = [f"workload.generator.{name}.sigma=0.6" for name in ("input_tokens", "output_tokens")]
    scenario = composed_scenario(
        [
            "experiment=disaggregation", "output.timeseries=false", *spread, *objective, *fleet,
            f"workload.generator.arrivals.rate_per_s={traffic.rate_per_s}",
            f"workload.generator.input_tokens.mu={math.log(traffic.prompt) - 0.18}",
            f"workload.generator.output_tokens.mu={math.log(traffic.answer) - 0.18}",
            "workload.generator.duration_s=60", "search.replications=1", "search.max_replications=1", "search.load_tolerance=0.05",
        ]
    )  # fmt: skip
    answer = solve(scenario, "load")
    return answer.point.rate_scale * traffic.rate_per_s if answer.feasible else 0.0


def split(prefill: int) -> list[str]:
    """``prefill`` replicas and the rest for decode."""
    return [f"fleet.pools.prefill.replicas={prefill}", f"fleet.pools.decode.replicas={GPUS - prefill}"]


def main() -> None:
    rows: list[dict[str, Any]] = []
    curves: dict[str, list[float]] = {}
    for name, traffic in TRAFFIC.items():
        for words, objective in OBJECTIVES.items():
            whole = {
                budget: highest_load(
                    traffic,
                    objective,
                    [*WHOLE, f"engine.max_num_batched_tokens={budget}", f"engine.max_num_seqs={min(budget, 1024)}"],
                )
                for budget in BUDGETS_TOKENS
            }
            apart = {prefill: highest_load(traffic, objective, split(prefill)) for prefill in range(1, GPUS)}
            best = max(apart, key=lambda prefill: apart[prefill])
            slow = highest_load(traffic, objective, [*split(best), "kv_transfer=tcp"])
            most = max(whole.values())
            rows.append(
                {
                    "traffic": name, "SLO": words, "whole_requests_per_s": most,
                    "best_budget_tokens": max(whole, key=lambda budget: whole[budget]) if most else "none",
                    "apart_requests_per_s": apart[best], "best_ratio": f"{best}P{GPUS - best}D" if apart[best] else "none",
                    "gain": apart[best] / most if most else math.nan, "apart_over_tcp_requests_per_s": slow,
                }
            )  # fmt: skip
            curves[f"{name}: {words}"] = [load / most if most else math.nan for load in apart.values()]
            print(rows[-1], {k: round(v, 2) for k, v in apart.items()}, flush=True)
    chart = Chart(
        "Highest load within the SLO of xPyD, four GPUs, over that of four whole replicas",
        "prefill replicas of four",
        "ratio",
        [
            Series(name, list(range(1, GPUS)), curve, colour=number)
            for number, (name, curve) in enumerate(curves.items())
            if any(math.isfinite(ratio) and ratio for ratio in curve)
        ],
        "Each traffic has a best ratio inside, and where the objective is loose none of them reaches 1.",
    )
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()
