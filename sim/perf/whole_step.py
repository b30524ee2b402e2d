"""What is added to the large kernels of a step, wherever they come from: small kernels, waits for other ranks, sustained
clocks, floors."""

from __future__ import annotations

from dataclasses import replace

from sim.perf.collectives import rank_wait_s
from sim.perf.floors import with_floors
from sim.perf.small_kernels import small_kernels_s
from sim.perf.sustained import sustained
from sim.perf.tabulated import StepTables
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.model import ModelSpec


def whole_step(tables: StepTables, model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> StepTables:
    """``tables`` of the large kernels at full clock as a served step takes them."""
    extra = small_kernels_s(model) + rank_wait_s(model.layer_count, engine.tensor_parallel_size)
    tables = replace(tables, nonattention_s=tuple(seconds + extra for seconds in tables.nonattention_s))
    return with_floors(sustained(tables, gpu), model, gpu, engine)
