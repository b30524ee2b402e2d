"""Closed-loop measurements in one CSV: mean TTFT and TPOT at a fixed number of requests in flight.

Columns: ``hardware model dtype backend_version tp isl osl concurrency measured_ttft_ms measured_tpot_ms
bench_harness``. Lengths are uniform in 80-100 % of nominal where the harness says ``rr0.8``, fixed otherwise. Ten requests
a seat are sent, as InferenceMAX does, which begins with all of them at once; the users of fixed lengths come over the first
wave of prompts (``sim.trust.replay``).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import TraceError
from sim.fleet.blueprint import Blueprint
from sim.perf import FrontEnd, resolve_engine
from sim.perf.kv_groups import CacheGroup
from sim.perf.step_time import StepTimeModel
from sim.presets.read import preset_gpu, preset_model
from sim.spec import EngineSpec, GpuSpec, ModelSpec
from sim.spec.spellings import AUTO_LENGTH
from sim.trust.presets import engine_of_version, find_preset
from sim.trust.replay import Replay, closed_loop

_REQUESTS_A_SEAT = 10
_OLDEST = (0, 11, 0)
"""Release assumed where the row names none (measured in October 2025)."""


@dataclass(frozen=True)
class ClosedPoint:
    """One row: an engine under a fixed concurrency, and what was measured."""

    name: str
    model: ModelSpec
    gpu: GpuSpec
    engine: EngineSpec
    num_gpu_blocks: int
    groups: Sequence[CacheGroup]
    lengths: tuple[tuple[int, int], ...]
    concurrency: int
    ttft_s: float
    tpot_s: float
    fixed_lengths: bool

    def run(self, step_time: StepTimeModel, front_end: FrontEnd) -> Replay:
        """Simulate the point."""
        return closed_loop(
            self.lengths, self.concurrency, self.engine, self.num_gpu_blocks, step_time, front_end, self.groups,
            together=not self.fixed_lengths,
        )  # fmt: skip


def read_closed_points(path: Path) -> list[ClosedPoint]:
    """All rows of ``path``.

    Raises:
        TraceError: the file cannot be read, or a row lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [_point(row) for row in rows]
    except (OSError, KeyError, ValueError) as error:
        raise TraceError(f"{path}: not a table of closed-loop points ({error})") from None


def _point(row: dict[str, Any]) -> ClosedPoint:
    version = tuple(int(part) for part in re.findall(r"\d+", row["backend_version"])) or _OLDEST
    model = preset_model(find_preset(row["model"], "model"))
    model = replace(model, weight_dtype="fp8" if row["dtype"] == "fp8" else "bf16")
    gpu = preset_gpu(find_preset(row["hardware"], "gpu"))
    engine = engine_of_version(version, tensor_parallel_size=int(float(row["tp"])), max_model_len=AUTO_LENGTH)
    server = Blueprint("point", model, gpu, resolve_engine(engine, model, gpu))
    engine = server.engine
    seats, isl, osl = int(float(row["concurrency"])), int(row["isl"]), int(row["osl"])
    random_lengths = "rr0.8" in row["bench_harness"]
    low = 0.8 if random_lengths else 1.0
    draw = np.random.default_rng(0).integers
    lengths = tuple(
        (int(draw(int(low * isl), isl + 1)), int(draw(int(low * osl), osl + 1))) for _ in range(_REQUESTS_A_SEAT * seats)
    )
    return ClosedPoint(
        name=f"{model.name} {row['dtype']} TP{engine.tensor_parallel_size} {isl}/{osl} c{seats}",
        model=model,
        gpu=gpu,
        engine=engine,
        num_gpu_blocks=server.blocks,
        groups=server.groups,
        lengths=lengths,
        concurrency=seats,
        ttft_s=float(row["measured_ttft_ms"]) / 1e3,
        tpot_s=float(row["measured_tpot_ms"]) / 1e3,
        fixed_lengths=not random_lengths,
    )
