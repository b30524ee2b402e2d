"""Does a fitted workload size a fleet as its original does? ``python experiments/trace_fit/run.py TRACES_FOLDER``.

Replays each original trace and five seeds of the generator fitted to it on the same fleet below its knee; compares p95
TTFT, p95 E2E and cost per 1M output tokens. Bar: within 10 %, or within the original's own 90 % interval (moving-block
bootstrap over trace time, blocks of 60 s) where that is wider. Then asks ``size`` for the fleet of the Azure code original
and of ten seeds of its fit, and says what of sessions, reuse and drift the fits keep over twenty seeds. Writes table.csv,
fleet.csv, kept.csv and the fitted configs; README.md's tables are theirs.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from sim.analysis import summarize
from sim.cli.compose import composed_scenario
from sim.cli.traces import fitted_config
from sim.run import simulate
from sim.search.solve import solve
from sim.spec import GeneratorSpec, WorkloadSpec
from sim.workload import Trace, fit_generator, generate, load_workload, read_trace
from sim.workload.fit_prefixes import unshared_fraction
from sim.workload.scale import rate_scaled

FLEET_SEEDS = range(1, 11)
KEPT_SEEDS = range(20, 40)
HERE = Path(__file__).parent
SEEDS = range(1, 6)
BLOCK_S = 60.0
RESAMPLES = 1000
METRICS = ("ttft_p95_s", "e2e_p95_s", "usd_per_1m_output_tokens")

CASES = {
    # name: (file, overrides, squeeze). RAGPulse has one request in 80 s: both replays are squeezed to a load that queues.
    "azure_conv": ("azure2023/AzureLLMInferenceTrace_conv.csv", ["gpu=l40s", "fleet.replicas=3"], 1.0),
    "azure_code": ("azure2023/AzureLLMInferenceTrace_code.csv", ["gpu=l40s", "fleet.replicas=6"], 1.0),
    "mooncake_conversation": (
        "mooncake/conversation_trace.jsonl",
        ["gpu=h100", "fleet.replicas=6", "workload.transforms=[{kind:dequantise,tick_s:3.0}]"], 1.0,
    ),
    "ragpulse": ("ragpulse/0_trace.jsonl", ["gpu=l40s", "fleet.replicas=3"], 100.0),
}  # fmt: skip


def replayed(overrides: list[str], trace: Trace) -> tuple[dict[str, float], pd.DataFrame]:
    scenario = composed_scenario([*overrides, "output.timeseries=false"])
    result = simulate(scenario, trace)
    summary = summarize(result)
    found = {
        "ttft_p95_s": summary["latency"]["ttft_s"]["p95"],
        "e2e_p95_s": summary["latency"]["e2e_s"]["p95"],
        "usd_per_1m_output_tokens": summary["cost"]["usd_per_1m_output_tokens"],
        "total_usd": summary["cost"]["total_usd"],
        "gpu_busy": summary["utilisation"]["gpu_busy"],
        "prefix_hit_rate": summary["prefix_hit_rate"],
        "unanswered": float((~result.requests["outcome"].isin(["completed"])).sum()),
    }
    return found, result.requests


def intervals(requests: pd.DataFrame, total_usd: float) -> dict[str, tuple[float, float]]:
    """90 % intervals of the original's own figures by a moving-block bootstrap."""
    rng = np.random.default_rng(0)
    arrival_s = requests["arrival_s"].to_numpy()
    blocks = int(np.ceil(arrival_s[-1] / BLOCK_S))
    columns = {name: requests[name].to_numpy(dtype=float) for name in ("ttft_s", "e2e_s", "output_tokens")}
    drawn: list[tuple[float, ...]] = []
    for _ in range(RESAMPLES):
        from_s = rng.uniform(0, max(arrival_s[-1] - BLOCK_S, 1.0), blocks)
        starts, ends = np.searchsorted(arrival_s, from_s), np.searchsorted(arrival_s, from_s + BLOCK_S)
        rows = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
        p95 = [float(np.nanquantile(columns[name][rows], 0.95)) for name in ("ttft_s", "e2e_s")]
        drawn.append((*p95, 1e6 * total_usd / columns["output_tokens"][rows].sum()))
    low, high = np.quantile(np.array(drawn), [0.05, 0.95], axis=0)
    return {name: (float(low[place]), float(high[place])) for place, name in enumerate(METRICS)}


def case_rows(name: str, folder: Path) -> list[dict[str, object]]:
    file, overrides, squeeze = CASES[name]
    settings = [f"workload.path={folder / file}", "workload.rate_scale=1.0", *overrides]
    original = load_workload(composed_scenario(settings).workload, 0)
    (HERE / f"{name}.yaml").write_text(fitted_config(original, name, f"fitted to {Path(file).name}"))
    spec = fit_generator(original)
    replay = rate_scaled(original, squeeze, original.duration_s, 0, "squeeze")
    truth, requests = replayed(settings, replay)
    interval = intervals(requests, truth["total_usd"])
    fitted = [
        replayed(settings, rate_scaled(dataclasses.replace(generate(spec, seed)), squeeze, 1.0, 0, "squeeze"))[0]
        for seed in SEEDS
    ]
    rows = []
    for metric in METRICS:
        mean = float(np.mean([found[metric] for found in fitted]))
        low, high = interval[metric]
        allowed = (min(low, 0.9 * truth[metric]), max(high, 1.1 * truth[metric]))
        rows.append({
            "trace": name, "requests": len(original), "gpu_busy": truth["gpu_busy"],
            "prefix_hit_original": truth["prefix_hit_rate"],
            "prefix_hit_fitted": float(np.mean([found["prefix_hit_rate"] for found in fitted])),
            "metric": metric, "original": truth[metric], "interval_low": low, "interval_high": high,
            "fitted_mean_of_5": mean, "difference_pct": 100 * (mean / truth[metric] - 1),
            "within": allowed[0] <= mean <= allowed[1],
            "seeds_within": sum(allowed[0] <= found[metric] <= allowed[1] for found in fitted),
            "unanswered": truth["unanswered"] + sum(found["unanswered"] for found in fitted),
        })  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def fleet_rows(folder: Path) -> list[dict[str, object]]:
    """The fleet that holds slo=chat, for the original and for the fit: one drawn workload a seed, and as ``size`` asks
    (the median of its own replications)."""
    original = read_trace(folder / CASES["azure_code"][0])
    spec = fit_generator(original)
    scenario = composed_scenario([
        f"workload.path={folder / CASES['azure_code'][0]}", "gpu=l40s", "engine.max_num_seqs=128", "output.timeseries=false"
    ])  # fmt: skip
    rows: list[dict[str, object]] = [{"workload": "original", "seed": "", "replicas": solve(scenario, "replicas").point.replicas}]
    for seed in FLEET_SEEDS:
        drawn = dataclasses.replace(scenario, workload=_drawn(spec), seed=seed)
        one = dataclasses.replace(drawn, search=dataclasses.replace(drawn.search, replications=1))
        rows.append({
            "workload": "fitted", "seed": seed, "replicas": solve(drawn, "replicas").point.replicas,
            "replicas_of_one_draw": solve(one, "replicas").point.replicas,
        })  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def _drawn(spec: GeneratorSpec) -> WorkloadSpec:
    return WorkloadSpec(name="fitted", generator=spec)


def kept_rows(folder: Path) -> list[dict[str, object]]:
    """What a fit keeps of its trace, as the mean of twenty seeds."""
    files = {name: file for name, (file, _, _) in CASES.items()} | {"agentic": "agentic-kv-cache-tester/traces"}
    rows: list[dict[str, object]] = []
    for name, file in files.items():
        original = read_trace(folder / file)
        spec = fit_generator(original)
        fitted = [kept_figures(generate(spec, seed)) for seed in KEPT_SEEDS]
        for figure, value in kept_figures(original).items():
            mean = float(np.mean([found[figure] for found in fitted]))
            rows.append({
                "trace": name, "figure": figure, "original": value, "fitted_mean_of_20": mean,
                "fitted_sd": float(np.std([found[figure] for found in fitted])), "difference_pct": 100 * (mean / value - 1),
            })  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def kept_figures(trace: Trace) -> dict[str, float]:
    minutes = np.bincount((trace.arrival_s / 60.0).astype(int), weights=trace.input_tokens)
    found = {
        "requests": float(len(trace)), "mean input tokens": float(trace.input_tokens.mean()),
        "prompt tokens a minute, p99 / mean": float(np.quantile(minutes[:-1], 0.99) / minutes[:-1].mean()),
    }  # fmt: skip
    if "session_id" in trace.labels:
        names, turns = np.unique(trace.labels["session_id"].astype(str), return_counts=True)
        found |= {"sessions": float((names != "").sum()), "turns a session": float(turns[names != ""].mean())}
    if "block_hashes" in trace.labels:
        found["uncached prompt tokens (no cache limit)"] = unshared_fraction(trace)
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    if sys.argv[2:3] == ["fleet"]:
        pd.DataFrame(fleet_rows(folder)).to_csv(HERE / "fleet.csv", index=False)
        return
    if sys.argv[2:3] == ["kept"]:
        pd.DataFrame(kept_rows(folder)).to_csv(HERE / "kept.csv", index=False, float_format="%.5g")
        return
    names = sys.argv[2:] or list(CASES)
    table = pd.DataFrame([row for name in names for row in case_rows(name, folder)])
    if names == list(CASES):
        table.to_csv(HERE / "table.csv", index=False, float_format="%.5g")
    print(table.to_string())


if __name__ == "__main__":
    main()
