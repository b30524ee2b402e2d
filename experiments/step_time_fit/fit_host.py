"""Fit the global constants of CPU and front end to measured servers, one model left out at a time.

    python experiments/step_time_fit/fit_host.py ../shared/measured            # prints constants and held-out errors

Aggregate runs give TTFT and TPOT means by load stage (a window of each stage is replayed), per-request runs their
means, closed-loop points TTFT and TPOT. Every (case, stage) counts by its relative errors; every model counts the
same. TTFT counts half: one scheduling step is a third of it, and its clock starts in a client that is not modelled.
Overload and KV-bound runs are left out: their TTFT measures the queue. The result goes into
``sim/perf/constants.py`` by hand.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from sim.perf import choose as perf
from sim.perf import memory_plan, resolve_engine
from sim.perf.host import HostOverhead
from sim.perf.tabulated import TabulatedStepTime
from sim.spec import EngineSpec, ModelSpec
from sim.trust.cases import MeasuredCase, engine_of_version, find_preset, preset_gpu, preset_model, read_case
from sim.trust.replay import Replay, closed_loop, replay

WINDOW_S = 60.0
NAMES = ("per_step", "per_seq", "mixed_layer", "gap", "gap_seq", "front_end", "front_end_token")
START = np.array([1.2e-3, 15e-6, 15e-6, 1.5e-4, 2e-6, 4e-3, 1e-6])


@dataclass
class Point:
    name: str
    model: ModelSpec
    time: TabulatedStepTime
    run: object
    ttft_s: float
    tpot_s: float
    client: bool


def host(x: np.ndarray, point: Point, engine: EngineSpec) -> HostOverhead:
    return HostOverhead(
        per_step_s=x[0], per_seq_s=x[1], mixed_step_s=x[2] * point.model.layers, gap_s=x[3], gap_per_seq_s=x[4],
        hidden=engine.async_scheduling,
    )  # fmt: skip


def aggregate_points(case: MeasuredCase) -> list[Point]:
    out = []
    for number, stage in enumerate(case.stages or [case.measured]):
        rows = np.flatnonzero(case.stage == number)
        if case.level == "aggregate":
            start = case.trace.arrival_s[rows[0]]
            rows = rows[case.trace.arrival_s[rows] < start + WINDOW_S]
        elif number == 1:
            continue  # everything at once: a queue
        trace = case.trace.take(rows, case.trace.arrival_s[rows] - case.trace.arrival_s[rows[0]])
        time = perf.step_time_model(case.model, case.gpu, case.engine)

        def run(time: TabulatedStepTime, front: object, trace=trace, case=case) -> Replay:
            return replay(trace, case.engine, case.num_gpu_blocks, time, front)

        out.append(Point(
            f"{case.name}#{number}", case.model, time, (run, case.engine), stage["ttft"]["mean"] / 1e3,
            stage["tpot"]["mean"] / 1e3, case.latency_point == "client",
        ))  # fmt: skip
    return out


def closed_points(path: Path) -> list[Point]:
    out = []
    for row in csv.DictReader(path.open()):
        if row["isl"] == "4096" and row["tp"] == "2.0" and row["concurrency"] == "128.0":
            continue  # KV-bound
        version = tuple(int(v) for v in row["backend_version"].split(".")) if row["backend_version"] else (0, 11, 0)
        dtype = "fp8" if row["dtype"] == "fp8" else "bf16"
        model, gpu = replace(preset_model(find_preset(row["model"], "model")), weight_dtype=dtype), preset_gpu("h100")
        engine = resolve_engine(engine_of_version(version, tensor_parallel_size=int(float(row["tp"]))), model, gpu)
        seats, isl, osl = int(float(row["concurrency"])), int(row["isl"]), int(row["osl"])
        rng = np.random.default_rng(0)
        low = 0.8 if "rr0.8" in row["bench_harness"] else 1.0
        lengths = [
            (int(rng.integers(low * isl, isl + 1)), int(rng.integers(low * osl, osl + 1))) for _ in range(6 * seats)
        ]
        blocks = memory_plan(model, gpu, engine).num_gpu_blocks

        def run(time, front, plan=(lengths, seats, engine, blocks)) -> Replay:
            return closed_loop(*plan, time, front)

        out.append(Point(
            f"{row['model']} tp{row['tp']} {isl}/{osl} c{seats}", model, perf.step_time_model(model, gpu, engine),
            (run, engine), float(row["measured_ttft_ms"]) / 1e3, float(row["measured_tpot_ms"]) / 1e3,
            "rr0.8" in row["bench_harness"],
        ))  # fmt: skip
    return out


def predict(point: Point, x: np.ndarray) -> tuple[float, float]:
    run, engine = point.run
    t = point.time
    time = TabulatedStepTime(t.tables, host(x, point, engine), capture_sizes=t.capture_sizes, stages=t.stages)
    served = "blis" in point.name
    result = run(time, (lambda _: 0.0) if served else (lambda prompt: x[5] + x[6] * prompt))
    return float(np.nanmean(result.ttft_s)), float(np.nanmean(result.tpot_s))


def residuals(points: list[Point], logs: np.ndarray) -> np.ndarray:
    x = np.exp(logs)
    counts = {p.model.name: sum(q.model.name == p.model.name for q in points) for p in points}
    out = []
    for p in points:
        ttft, tpot = predict(p, x)
        weight = counts[p.model.name] ** -0.5
        out += [weight * np.log(tpot / p.tpot_s), 0.5 * weight * p.client * np.log(ttft / p.ttft_s)]
    return np.array([*out, *(0.03 * (logs - np.log(START)))])


def fit(points: list[Point]) -> np.ndarray:
    best = least_squares(
        lambda v: residuals(points, v), np.log(START), loss="soft_l1", f_scale=0.05, max_nfev=8, diff_step=0.05,
        bounds=(np.log(START) - 3, np.log(START) + 1.5),
    )  # fmt: skip
    return np.exp(best.x)


def main(folder: Path) -> None:
    points: list[Point] = closed_points(folder / "closed_loop_h100_vllm.csv")
    for path in sorted(folder.glob("*/measured.json")):
        if "lss-" not in str(path) and not str(path.parent).endswith("reasoning"):
            points += aggregate_points(read_case(path.parent))
    x = fit(points)
    print("all models:", dict(zip(NAMES, (float(f"{v:.3g}") for v in x), strict=True)))
    for p in points:
        ttft, tpot = predict(p, x)
        print(f"{p.name[:60]:60s} ttft {100 * (ttft / p.ttft_s - 1):+5.0f}%  tpot {100 * (tpot / p.tpot_s - 1):+5.1f}%")
    if "--held-out" in sys.argv:
        for name in sorted({p.model.name for p in points}):
            held = fit([p for p in points if p.model.name != name])
            errors = np.array([predict(p, held) for p in points if p.model.name == name])
            truth = np.array([(p.ttft_s, p.tpot_s) for p in points if p.model.name == name])
            off = np.median(np.abs(errors / truth - 1), axis=0) * 100
            print(f"without {name:18s} TTFT {off[0]:5.1f} %  TPOT {off[1]:5.1f} %", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
