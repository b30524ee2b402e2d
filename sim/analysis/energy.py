"""What a run drew: joules by replica, watts over time, kWh and CO2.

    joules of a replica = GPUs x (IDLE powered time + what its steps read and computed)      ``sim.perf.power``

A replica is powered while it is billed, but for the time that it was dead. Its steps are taken at their means: new tokens a
step, sequences, and cache in use. Over time the idle part stands where replicas are powered, and the rest where the tokens
are: a prompt at its first token, an answer evenly from its first token to its last, weighed as the bill weighs them
(``cost.output_token_weight``); both add up to the same joules.

Boards of GPUs only: what stands beside them and the site's losses are in the cost tree where power is paid
(``cost.purchase``). Leaves out: machines of API providers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.billing import billed_interval, gpu_of_pool
from sim.columns import slices
from sim.perf import resolve_engine
from sim.perf.power import IDLE, Work, joules, steps_work
from sim.record.result import Result, holds
from sim.spec import EngineSpec, GpuSpec, ModelSpec, Scenario
from sim.units import JOULES_PER_KWH


def energy_figures(result: Result) -> dict[str, Any]:
    """``summary.json: energy`` of the whole run; None of every figure where nothing ran or no power limit is known."""
    total_j = energy_j(result)
    output_tokens = float(result.requests["output_tokens"].sum())
    kwh = total_j / JOULES_PER_KWH
    return {
        "kwh": kwh,
        "joules_per_output_token": total_j / output_tokens if output_tokens else math.nan,
        "watts_mean": total_j / result.end_s if result.end_s > 0 else math.nan,
        "co2_g": kwh * result.scenario.cost.co2_g_per_kwh,
        "co2_g_per_kwh": result.scenario.cost.co2_g_per_kwh,
    }


def energy_j(result: Result, gpu_name: str | None = None, until_s: float = math.inf) -> float:
    """Joules of all GPUs, or of those called ``gpu_name``; the idle part up to ``until_s``, the work done always whole. NaN
    without a replica."""
    rows = result.replicas
    if gpu_name is not None:
        rows = rows[holds(rows["gpu"], gpu_name)]
    if not len(rows):
        return math.nan
    idle, active = _joules(result, rows, until_s)
    return math.fsum(idle) + math.fsum(active)


def watts_over_time(result: Result) -> np.ndarray:
    """Mean watts of all GPUs in the interval that ends at each time of ``Result.timeseries``."""
    ends = result.timeseries["time_s"].to_numpy(dtype=float)
    if not len(ends) or not len(result.replicas):
        return np.full(len(ends), math.nan)
    edges = np.concatenate([[0.0], ends])
    widths = np.diff(edges)
    idle, active = _joules(result, result.replicas, math.inf)
    start_s, stop_s = billed_interval(result.replicas, result.end_s)
    powered = np.maximum(stop_s - start_s, 1e-9)
    drawn = np.zeros(len(ends))
    for each_j, begin, end, length in zip(idle, start_s, stop_s, powered, strict=True):
        drawn += each_j / length * np.diff(np.clip(edges, begin, end))
    drawn += math.fsum(active) * np.diff(_work_done(result, edges))
    return np.asarray(drawn / np.where(widths > 0, widths, 1.0))


_OF_STEPS = (
    "pool", "gpus", "busy_s", "seq_s", "kv_block_s", "engine_steps", "input_tokens", "output_tokens",
)  # fmt: skip
"""Columns of ``Result.replicas`` that tell what the steps of a replica drew."""


def _joules(result: Result, rows: pd.DataFrame, until_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Joules of each replica in ``rows``: for being powered, and for its steps."""
    start_s, stop_s = billed_interval(rows, result.end_s, until_s)
    powered = np.maximum(stop_s - start_s - np.nan_to_num(rows["dead_s"].to_numpy(dtype=float)), 0.0)
    idle, active = np.zeros(len(rows)), np.zeros(len(rows))
    pools = {name: _built(result.scenario, name) for name in rows["pool"].astype(str).unique()}
    for place, row in enumerate(rows[list(_OF_STEPS)].to_dict("records")):
        model, gpu, engine = pools[str(row["pool"])]
        idle[place] = row["gpus"] * gpu.tdp_w * IDLE * powered[place]
        active[place] = row["gpus"] * joules(gpu, _work_of(model, gpu, engine, row))
    return idle, active


def _built(scenario: Scenario, name: str) -> tuple[ModelSpec, GpuSpec, EngineSpec]:
    """What the replicas of a pool are, its engine resolved."""
    pool = scenario.fleet.all_pools().get(name)
    model, gpu = (pool.model if pool else None) or scenario.model, gpu_of_pool(scenario, name)
    return model, gpu, resolve_engine((pool.engine if pool else None) or scenario.engine, model, gpu)


def _work_of(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, row: dict[Any, Any]) -> Work:
    """What one GPU of a replica did in its steps; the time it is powered apart."""
    busy_s, seq_s = float(row["busy_s"]), float(row["seq_s"])
    if not busy_s > 0 or not seq_s > 0:
        return Work(0.0, max(busy_s, 0.0), 0.0, 0.0)
    memory_s, compute_s = steps_work(
        model, gpu, engine, steps=float(row["engine_steps"]), tokens=float(row["input_tokens"] + row["output_tokens"]),
        seqs=seq_s / busy_s, context=float(row["kv_block_s"]) * engine.block_size / seq_s,
    )  # fmt: skip
    return Work(0.0, busy_s, memory_s, compute_s)


def _work_done(result: Result, times_s: np.ndarray) -> np.ndarray:
    """Share of the run's tokens, as the bill weighs them, that were done by each of ``times_s``."""
    done, whole = np.zeros(len(times_s)), 0.0
    for here in slices(len(result.requests)):
        part, tokens = _written(result, here, times_s)
        done, whole = done + part, whole + tokens
    if whole <= 0:
        return np.clip(times_s / max(result.end_s, 1e-9), 0.0, 1.0)
    return np.asarray(np.where(times_s >= result.end_s, 1.0, done / whole))


def _written(result: Result, rows: slice, times_s: np.ndarray) -> tuple[np.ndarray, float]:
    """Weighted tokens of the requests in ``rows`` by each of ``times_s``, and all of them: a prompt is done at its first
    token, an answer evenly from there to its last."""
    columns = ("first_token_s", "finish_s", "computed_tokens", "sampled_tokens")
    first, finish, prompts, answers = (result.requests[name].to_numpy()[rows].astype(float) for name in columns)
    known = np.isfinite(first) & np.isfinite(finish)
    first, finish = first[known], np.maximum(finish[known], first[known] + 1e-9)
    prompts, answers = prompts[known], result.scenario.cost.output_token_weight * answers[known]
    if not len(first):
        return np.zeros(len(times_s)), 0.0
    order = np.argsort(first, kind="stable")
    told = np.concatenate([[0.0], np.cumsum(prompts[order])])[np.searchsorted(first[order], times_s, side="right")]
    moments = np.concatenate([first, finish])
    slopes = np.concatenate([answers / (finish - first), -answers / (finish - first)])
    order = np.argsort(moments, kind="stable")
    moments, slope = moments[order], np.cumsum(slopes[order])
    heights = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(moments))])
    return told + np.interp(times_s, moments, heights), float(prompts.sum() + answers.sum())
