"""Fit the global constants of CPU and front end to measured servers, one model left out at a time.

What a step beyond a graph costs is read off the recorded steps of vLLM 0.26 (``recorded_steps.py``), which has the second
model runner; here follow the constants of the first runner and of synchronous releases, the front end, and the norms of Q
and K.

    python experiments/step_time_fit/fit_host.py ../shared/measured            # prints constants and held-out errors

Aggregate runs give TTFT and TPOT means by load stage (a window of each stage is replayed), per-request runs their
means, closed-loop points TTFT and TPOT. Every (case, stage) counts by its relative errors; every model counts the
same. TTFT counts half: one scheduling step is a third of it, and its clock starts in a client that is not modelled.
Overload and KV-bound runs are left out: their TTFT measures the queue. The result goes into
``sim/perf/constants.py`` by hand.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sim.perf import choose as perf
from sim.perf.constants import FIRST_RUNNER, FRONT_END_PER_REQUEST_S, FRONT_END_PER_TOKEN_S, HOST_PER_SEQ_S, HOST_PER_STEP_S
from sim.perf.front_end import FrontEnd
from sim.perf.small_kernels import QK_NORM_S, small_kernels_s
from sim.perf.tabulated import TabulatedStepTime
from sim.spec import EngineSpec, ModelSpec
from sim.trust.cases import MeasuredCase, read_case
from sim.trust.closed_points import read_closed_points
from sim.trust.replay import Replay, replay
from sim.workload.trace import Trace

WINDOW_S, WARM_S = 80.0, 25.0
"""What is replayed of a load stage, and from when on it counts: the prompts that repeat are cold at first."""
NAMES = ("per_step", "per_seq", "gap", "gap_seq", "pieces_seq", "front_end", "front_end_token", "qk_norm")
START = np.array([
    HOST_PER_STEP_S, HOST_PER_SEQ_S, FIRST_RUNNER.gap_s, FIRST_RUNNER.gap_per_seq_s, FIRST_RUNNER.between_pieces_per_seq_s,
    FRONT_END_PER_REQUEST_S, FRONT_END_PER_TOKEN_S, QK_NORM_S,
])  # fmt: skip
"""What ships."""
_DIFFERENCE, _PULL, _OUTLIER = 0.02, 0.05, 0.05
"""Of a finite difference; towards what ships, for what the data do not determine; log ratio beyond which a point counts less."""


@dataclass
class Point:
    """One load of one server: how to run it, and the means that were measured."""

    name: str
    model: ModelSpec
    time: TabulatedStepTime
    engine: EngineSpec
    run: Callable[[TabulatedStepTime, FrontEnd], Replay]
    ttft_s: float
    tpot_s: float
    e2e_s: float
    """NaN where it was not measured; never fitted, only predicted."""
    ttft_counts: bool
    counted: np.ndarray


def steps_under(x: np.ndarray, point: Point) -> TabulatedStepTime:
    """``point``'s step times with the constants ``x``."""
    shipped = point.time
    host = replace(
        shipped.host, per_step_s=x[0], per_seq_s=x[1], gap_s=x[2], gap_per_seq_s=x[3], between_pieces_per_seq_s=x[4]
    )  # fmt: skip
    more_s = (x[7] / QK_NORM_S - 1.0) * small_kernels_s(point.model)
    tables = replace(shipped.tables, nonattention_s=tuple(s + more_s for s in shipped.tables.nonattention_s))
    return TabulatedStepTime(tables, host, capture_sizes=shipped.capture_sizes, stages=shipped.stages)


def aggregate_points(case: MeasuredCase) -> list[Point]:
    """Warm windows of each load stage: requests whose prompt was not seen before are sent, but not counted."""
    out = []
    for number, stage in enumerate(case.stages or [case.measured]):
        rows = np.flatnonzero(case.stage == number)
        if case.level == "aggregate":
            within = int((case.trace.arrival_s[rows] < case.trace.arrival_s[rows[0]] + WINDOW_S).sum())
            rows = rows[: max(within, 300)]
        elif number == 1:
            continue  # everything at once: a queue
        trace = case.trace.take(rows, case.trace.arrival_s[rows] - case.trace.arrival_s[rows[0]])
        counted = np.ones(len(rows), dtype=bool)
        if "prompt_id" in trace.labels:
            counted[np.unique(trace.labels["prompt_id"].astype(str), return_index=True)[1]] = False
            counted[trace.arrival_s < min(WARM_S, 0.4 * trace.arrival_s[-1])] = False

        def run(time: TabulatedStepTime, front: FrontEnd, trace: Trace = trace) -> Replay:
            return replay(trace, case.engine, case.num_gpu_blocks, time, front, case.groups)

        out.append(Point(
            f"{case.name}#{number}", case.model, perf.step_time_model(case.model, case.gpu, case.engine), case.engine, run,
            stage["ttft"]["mean"] / 1e3, stage["tpot"]["mean"] / 1e3, stage["e2e"]["mean"] / 1e3, case.latency_point == "client", counted,
        ))  # fmt: skip
    return out


def closed_points(path: Path) -> list[Point]:
    """TTFT counts only where lengths were random: with fixed ones it remembers how the harness began."""
    return [
        Point(
            p.name, p.model, perf.step_time_model(p.model, p.gpu, p.engine), p.engine, p.run, p.ttft_s, p.tpot_s, math.nan,
            not p.fixed_lengths, np.ones(len(p.lengths), dtype=bool),
        )
        for p in read_closed_points(path)
        if p.ttft_s < 10.0  # beyond: KV-bound
    ]  # fmt: skip


def predict(point: Point, x: np.ndarray) -> tuple[float, float, float]:
    """Mean TTFT, TPOT and E2E, seconds."""
    time = steps_under(x, point)
    served = point.name.startswith("blis")
    result = point.run(time, FrontEnd(None, 0.0, 0.0) if served else FrontEnd(None, x[5], x[6]))
    ttft_s, tpot_s, e2e_s = (float(np.nanmean(v[point.counted])) for v in (result.ttft_s, result.tpot_s, result.e2e_s))
    return ttft_s, tpot_s, e2e_s


def logs(points: list[Point], x: np.ndarray) -> np.ndarray:
    """Log ratio predicted / measured of TPOT and TTFT, two a point; a TTFT that does not count is 0."""
    out = []
    for p in points:
        ttft, tpot, _ = predict(p, x)
        out += [np.log(tpot / p.tpot_s), p.ttft_counts * np.log(ttft / p.ttft_s)]
    return np.array(out)


def step(points: list[Point], base: np.ndarray, slopes: np.ndarray, without: str | None = None) -> np.ndarray:
    """The constants that fit ``points`` best but those of the model ``without``: one robust Gauss-Newton step from what ships.

    Args:
        points: all of them.
        base: ``logs`` at ``START``.
        slopes: their derivatives in the logarithms of the constants.
        without: the model left out; None = none.
    """
    counts = {p.model.name: sum(q.model.name == p.model.name for q in points) for p in points}
    weights = np.array([w * counts[p.model.name] ** -0.5 * (p.model.name != without) for p in points for w in (1.0, 0.5)])
    weights = weights / np.sqrt(np.sqrt(1.0 + (base / _OUTLIER) ** 2))
    rows = np.vstack([slopes * weights[:, None], _PULL * np.eye(len(START))])
    moved = np.linalg.lstsq(rows, np.concatenate([-base * weights, np.zeros(len(START))]), rcond=None)[0]
    return START * np.exp(np.clip(moved, -0.7, 0.7))


def main(folder: Path) -> None:
    points: list[Point] = closed_points(folder / "closed_loop_h100_vllm.csv")
    for path in sorted(folder.glob("*/measured.json")):
        if "lss-" not in str(path) and not str(path.parent).endswith("reasoning"):
            points += aggregate_points(read_case(path.parent))
    shipped = pd.DataFrame([predict(p, START) for p in points], columns=["ttft", "tpot", "e2e"])
    truth = pd.DataFrame([(p.ttft_s, p.tpot_s, p.e2e_s) for p in points], columns=shipped.columns)
    print("as shipped, median |error|:", (shipped / truth - 1).abs().median().round(3).to_dict(), flush=True)
    base = logs(points, START)
    moves = np.eye(len(START)) * _DIFFERENCE
    slopes = np.column_stack([(logs(points, START * np.exp(move)) - base) / _DIFFERENCE for move in moves])
    print("all models:", dict(zip(NAMES, (float(f"{v:.3g}") for v in step(points, base, slopes)), strict=True)), flush=True)
    rows = []
    for name in sorted({p.model.name for p in points}):
        held = step(points, base, slopes, without=name)
        for p in (p for p in points if p.model.name == name):
            ttft, tpot, e2e = predict(p, held)
            rows.append((p.name, name, p.ttft_counts, ttft / p.ttft_s - 1, tpot / p.tpot_s - 1, e2e / p.e2e_s - 1))
        print(f"without {name}:", dict(zip(NAMES, (float(f"{v:.3g}") for v in held), strict=True)), flush=True)
    table = pd.DataFrame(rows, columns=["point", "left_out", "ttft_counts", "ttft_error", "tpot_error", "e2e_error"])
    table.round(4).to_csv(Path(__file__).parent / "host_errors.csv", index=False)
    aggregate = table[table.point.str.startswith("ip-")]
    errors = aggregate[["ttft_error", "tpot_error", "e2e_error"]].abs().median().round(3)
    print("aggregate runs, leave-one-model-out, median |error|:", errors.to_dict())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
