"""One GPU of eight dies: one TP8 replica against four of TP2: ``python experiments/h100_loss/run.py`` (seconds)."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from fleet_run import row, run, scenario_of  # noqa: E402
from results import leave  # noqa: E402

from sim.report.chart import Chart, Series  # noqa: E402

LOSS_S = 300.0
BASE = [
    "model=llama3_70b", "model.weight_dtype=fp8", "gpu=h100", "workload.rate_scale=0.5", "gateway=envoy",
    "gpu.price.instance_gpus=8",
]  # fmt: skip


def main() -> None:
    rows, lines = [], []
    for name, size in {"1 x TP8": (1, 8), "4 x TP2": (4, 2)}.items():
        for loss in (False, True):
            repair = {"kind": "replica_loss", "at_s": LOSS_S, "repair": "replace"}
            scenario = scenario_of(
                [*BASE, f"fleet.replicas={size[0]}", f"engine.tensor_parallel_size={size[1]}"],
                timeline=[repair] if loss else [],
            )
            result, summary = run(scenario)
            lost = sum(event["requests"] for event in result.events if event["event"] == "eviction")
            back = [event["time_s"] - LOSS_S for event in result.events if event["event"] == "ready"]
            case = f"{name}, {'one GPU dies' if loss else 'no loss'}"
            rows.append(
                {
                    **row(case, summary), "in_flight_lost": lost, "tokens_lost": int(result.replicas["wasted_tokens"].sum()),
                    "failed": summary["requests"]["failed"], "back_after_s": back[0] if back else "–",
                }
            )  # fmt: skip
            if loss:
                series = result.timeseries
                waiting = (series["waiting"] + series["running"]).tolist()
                lines.append(Series(name, series["time_s"].tolist(), waiting, "line", len(lines)))
    chart = Chart(
        "Requests in the engines around the loss", "time, s", "waiting and running", lines,
        "TP8 has none until it is back, then all that waited; 4 x TP2 goes on with three quarters.",
        verticals=[(LOSS_S, "GPU dies")],
    )  # fmt: skip
    leave(HERE, rows, {"picture": chart})


if __name__ == "__main__":
    main()
