"""Step times of engines on many GPUs, from geometry: ranks that share experts, whole experts, stages on several machines.

Fitted tables are of one engine with sliced experts, so what shares experts otherwise takes the roofline.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.perf.all_to_all import all_to_all
from sim.perf.collectives import hand_overs_s
from sim.perf.cuda_graphs import capture_sizes
from sim.perf.expert_step import experts_s, group_imbalance
from sim.perf.host import HostOverhead
from sim.perf.machines import machines
from sim.perf.mixture import mixture_groups, without_experts
from sim.perf.rank_step import ExpertTimes, Halving, RankStepTime
from sim.perf.roofline import TOKENS, all_reduces_s, efficiencies, known_generation, roofline_tables
from sim.perf.sustained import sustained_products_s
from sim.perf.tabulated import StepTables, TabulatedStepTime, scaled
from sim.perf.whole_step import whole_step
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.model import ModelSpec


def rank_step_time(
    model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, host: HostOverhead, adapters: bool = False
) -> RankStepTime:
    """The step-time model, seconds, of a resolved ``engine`` whose ranks step together (``steps_together``).

    ``adapters``: of rounds in which a rank holds a LoRA adapter (the experts have none).
    """
    tables = rank_tables(model, gpu, engine)
    own = TabulatedStepTime(
        with_adapters(tables, engine) if adapters else tables,
        host,
        capture_sizes=capture_sizes(engine, gpu),
        regime="extrapolated" if known_generation(gpu) else "uncalibrated",
        source=f"roofline {gpu.name} {model.name} TP{engine.tensor_parallel_size} DP{engine.data_parallel_size}"
        f"{' EP' if engine.enable_expert_parallel else ''} {model.weight_dtype}",
    )
    halving = Halving(engine.dbo_decode_token_threshold, engine.dbo_prefill_token_threshold) if engine.enable_dbo else None
    return RankStepTime(own, expert_times(model, gpu, engine), engine.data_parallel_size, halving)


def whole_expert_tables(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> StepTables:
    """Tables of one engine whose tensor-parallel GPUs hold whole experts: each computes its own for all tokens, and the
    all-reduce that adds them up is there without them, too."""
    tables = roofline_tables(without_experts(model), gpu, engine)
    routed = experts_s(model, gpu, engine, np.array(tables.tokens, dtype=float), efficiencies(gpu))
    return replace(tables, nonattention_s=tuple(a + float(b) for a, b in zip(tables.nonattention_s, routed, strict=True)))


def with_adapters(tables: StepTables, engine: EngineSpec) -> StepTables:
    """``tables`` of steps that hold a LoRA adapter: longer outside attention."""
    longer = 1.0 + engine.lora.step_overhead_per_rank * engine.max_lora_rank
    return replace(tables, nonattention_s=tuple(longer * t for t in tables.nonattention_s))


def with_hand_overs(tables: StepTables, model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> StepTables:
    """``tables`` and the way of each batch between stages on different machines."""
    if machines(engine.tensor_parallel_size * engine.pipeline_parallel_size, gpu) == 1 or engine.pipeline_parallel_size == 1:
        return tables
    hidden_bytes = np.array(tables.tokens, dtype=float) * model.hidden_size * 2.0
    passed = hand_overs_s(hidden_bytes, engine, gpu)
    return replace(tables, nonattention_s=tuple(a + float(b) for a, b in zip(tables.nonattention_s, passed, strict=True)))


def rank_tables(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> StepTables:
    """Tables of one rank without its routed experts."""
    rest = without_experts(model)
    tables = whole_step(roofline_tables(rest, gpu, engine), rest, gpu, engine)
    links_s = all_reduces_s(rest, gpu, engine.tensor_parallel_size, np.array(tables.tokens, dtype=float), efficiencies(gpu))
    return scaled(tables, gpu.step_time_scale, tuple(map(float, links_s)))


def expert_times(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> ExpertTimes:
    """Experts and all-to-all of all ranks."""
    counts = np.unique(np.concatenate([TOKENS, TOKENS[-1] * np.geomspace(1.0, engine.data_parallel_size, 20).round()]))
    seconds = experts_s(model, gpu, engine, counts, efficiencies(gpu))
    compute, memory = gpu.step_time_scale.get("compute", 1.0), gpu.step_time_scale.get("memory", 1.0)
    each = counts / engine.data_parallel_size
    seconds = np.array(sustained_products_s(each.tolist(), seconds.tolist(), gpu))
    seconds = memory * seconds[0] + compute * (seconds - seconds[0])
    mixtures = mixture_groups(model)
    part = mixtures[0][1]
    way = all_to_all(engine.all2all_backend, engine.expert_ranks, gpu, model.hidden_size, part.active_experts)
    return ExpertTimes(
        tokens=tuple(int(count) for count in counts),
        experts_s=tuple(map(float, seconds)),
        layers=sum(group.count for group, _ in mixtures),
        way=way,
        tensor_parallel=engine.tensor_parallel_size,
        gpus=engine.expert_ranks,
        imbalance=group_imbalance(part, engine),
    )
