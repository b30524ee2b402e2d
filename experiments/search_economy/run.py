"""Does the adaptive search find what the exhaustive grid finds, and with how many of its engine steps?

    python experiments/search_economy/run.py [--window SECONDS] [PRESET ...]

The grid is 8 batch caps x 1..16 replicas x 3 GPUs, every run to its end. Steps are counted as if none were skipped, and
runs that are identical (a cap that does not bind) once. The search is the command line's own:
``servecap -m hydra/sweeper=slo``. Writes results.csv and README.md beside this file.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sim.cli.compose import composed_scenario
from sim.cli.main import main as servecap
from sim.search import DEFAULT_CAPS, ScenarioEvaluator, replica_usd_per_hour

HERE = Path(__file__).parent
GPUS = ("l40s", "a100_80", "h100")
MOST_REPLICAS = 16
PRESETS = {
    "chat": [],
    "interactive": ["slo=interactive"],
    "qwen3_14b": ["model=qwen3_14b"],
    "light_load": ["workload.rate_scale=2"],
    "fp8": ["model.weight_dtype=fp8", "engine.kv_cache_dtype=fp8"],
    "heavy_load": ["workload.rate_scale=15"],
}


def exhaustive(overrides: list[str]) -> dict[str, Any]:
    """Every cell of the grid: the cheapest that holds, and the steps of all runs that differ."""
    steps: dict[tuple[Any, ...], int] = {}
    holding = []
    for gpu in GPUS:
        base = composed_scenario([*overrides, f"gpu={gpu}", "search.early_stop=false", "output.timeseries=false"])
        each = replica_usd_per_hour(base)
        for cap in DEFAULT_CAPS:
            evaluate = ScenarioEvaluator(replace(base, engine=replace(base.engine, max_num_seqs=cap)))
            for replicas in range(1, MOST_REPLICAS + 1):
                point = evaluate(replicas=replicas, rate_scale=base.workload.rate_scale)
                latency = point.summary["latency"]
                outcome = tuple(tuple(statistics.values()) for statistics in latency.values())
                steps[(gpu, replicas, outcome)] = point.engine_steps
                if point.holds:
                    holding.append((replicas * each, cap, gpu, replicas, point.usd_per_1m_output_tokens))
    best = min(holding, default=None)
    return {"steps": sum(steps.values()), "runs": len(steps), "best": best}


def searched(overrides: list[str]) -> dict[str, Any]:
    """The same question through the adaptive sweeper."""
    with tempfile.TemporaryDirectory() as folder:
        servecap([
            "-m", *overrides, f"gpu={','.join(GPUS)}", f"engine.max_num_seqs={','.join(map(str, DEFAULT_CAPS))}",
            "hydra/sweeper=slo", "hydra/launcher=basic", f"search.max_replicas={MOST_REPLICAS}",
            "search.one_replica_load=false", f"hydra.sweep.dir={folder}",
        ])  # fmt: skip
        jobs = {path.parent.name: json.loads(path.read_text()) for path in Path(folder).glob("*/job.json")}
        answer = json.loads((Path(folder) / "answer.json").read_text())
    best = answer["best"]
    job = jobs[str(best["job"])] if answer["feasible"] else None
    return {
        "steps": sum(job["engine_steps"] for job in jobs.values()),
        "runs": answer["evaluated"],
        "best": job and (job["gpu_usd_per_hour"], job["max_num_seqs"], job["gpu"], job["replicas"]),
        "usd": best["usd_per_1m_output_tokens"] if best else None,
    }


def main() -> None:
    """Both ways for each preset, and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", type=float, default=45.0, help="seconds of the packaged trace")
    parser.add_argument("presets", nargs="*", default=list(PRESETS))
    arguments = parser.parse_args()
    rows = []
    for name in arguments.presets:
        overrides = [*PRESETS[name], f"workload.duration_s={arguments.window:g}"]
        found = searched(overrides)
        started = time.perf_counter()
        grid = exhaustive(overrides)
        theirs, ours = grid["best"], found["best"]
        rows.append({
            "preset": name,
            "grid_answer": theirs and f"{theirs[3]} x {theirs[2]}, cap {theirs[1]}",
            "grid_usd_per_1m_output_tokens": theirs and f"{theirs[4]:.4g}",
            "search_answer": ours and f"{ours[3]} x {ours[2]}, cap {ours[1]}",
            "search_usd_per_1m_output_tokens": ours and f"{found['usd']:.4g}",
            "grid_runs": grid["runs"], "search_runs": found["runs"],
            "grid_steps": grid["steps"], "search_steps": found["steps"],
            "share_of_steps": f"{found['steps'] / grid['steps']:.3f}",
        })  # fmt: skip
        print(rows[-1], f"{time.perf_counter() - started:.0f} s", flush=True)
    with (HERE / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_page(rows, arguments.window)


def write_page(rows: list[dict[str, Any]], window_s: float) -> None:
    """README.md: question, command, table."""
    lines = [
        "# How many simulated steps does the answer cost?",
        "",
        "    python experiments/search_economy/run.py",
        "",
        f"Grid: {len(DEFAULT_CAPS)} batch caps x 1..{MOST_REPLICAS} replicas x {', '.join(GPUS)}, each run to its end, on "
        f"{window_s:g} s of the packaged trace. Search: `servecap -m hydra/sweeper=slo` over the same axes. Steps count "
        "as if none were skipped; identical runs of the grid once. Dollars are per 1M output tokens.",
        "",
        "`python -m sim experiment=search_economy` runs the search of the first row by itself.",
        "",
        "| preset | grid's answer | $ | search's answer | $ | grid steps | search steps | share |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['preset']} | {row['grid_answer']} | {row['grid_usd_per_1m_output_tokens']} | {row['search_answer']} | "
        f"{row['search_usd_per_1m_output_tokens']} | {row['grid_steps']:,} | {row['search_steps']:,} | "
        f"{row['share_of_steps']} |"
        for row in rows
    ]
    (HERE / "README.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
