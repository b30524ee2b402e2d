"""LoRA adapters on one GPU: ``python experiments/adapters/run.py``; writes results.csv, picture.svg and README's table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from fleet_run import run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.errors import DoesNotFitError  # noqa: E402
from sim.perf import memory_plan, resolve_engine  # noqa: E402
from sim.report.chart import Chart, Series  # noqa: E402

SLOTS = (1, 2, 4, 8, 16, 32, 64, 128)
ADAPTERS = (1, 8, 32, 128)
RANKS = (16, 64)


def point(adapters: int, slots: int, rank: int) -> dict[str, Any]:
    """The highest rate within the chat SLO, and what it took."""
    stated = [
        "experiment=adapters", f"engine.max_loras={slots}", f"engine.max_cpu_loras={max(slots, 128)}",
        f"engine.max_lora_rank={rank}", f"workload.transforms=[{{kind: adapters, count: {adapters}, exponent: 1.0}}]",
        "workload.limit=800", "output.timeseries=false",
    ]  # fmt: skip
    row: dict[str, Any] = {"adapters": adapters, "slots": slots, "rank": rank}
    scenario = scenario_of(stated)
    try:
        engine = resolve_engine(scenario.engine, scenario.model, scenario.gpu)
        row["kv_tokens"] = float(memory_plan(scenario.model, scenario.gpu, engine).kv_tokens)
    except DoesNotFitError:
        return row | {"kv_tokens": 0.0, "requests_per_s": 0.0, "loads_per_request": 0.0, "waited_pct": 0.0}
    best: dict[str, Any] = {"requests_per_s": 0.0, "loads_per_request": 0.0, "waited_pct": 0.0}
    low, high = 0.0, 16.0
    while high - low > 0.3:
        rate = (low + high) / 2
        _, summary = run(scenario_of([*stated, f"workload.generator.arrivals.rate_per_s={rate}"]))
        if not summary["slo"]["holds"]:
            high = rate
            continue
        low = rate
        figures = summary.get("adapters", {})
        best = {
            "requests_per_s": rate,
            "loads_per_request": figures.get("slot_loads", 0) / 800,
            "waited_pct": 100.0 * figures.get("wait_share", 0.0),
        }
    return row | best


def main() -> None:
    rows = []
    for rank in RANKS:
        for adapters in ADAPTERS:
            for slots in SLOTS:
                if slots <= 2 * adapters:
                    rows.append(point(adapters, slots, rank))
                    print(rows[-1], flush=True)
    chart = Chart(
        "Requests a second within the chat SLO, one L40S with Llama-3.1-8B, rank 16",
        "slots (max_loras)",
        "requests/s",
        [
            Series(
                f"{adapters} adapters",
                [row["slots"] for row in rows if row["adapters"] == adapters and row["rank"] == 16],
                [row["requests_per_s"] for row in rows if row["adapters"] == adapters and row["rank"] == 16],
                colour=number,
            )
            for number, adapters in enumerate(ADAPTERS)
        ],
        "Slots raise the rate until those who would be set aside are few; memory of more is KV cache lost.",
        x_log=True,
        x_ticks=(1, 4, 16, 64),
    )
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()
