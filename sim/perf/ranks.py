"""``rank_step_time``: the step-time model of a group of ranks that share experts, from geometry.

Fitted tables are of one engine and do not part its experts from the rest, so groups always take the roofline.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.perf.all_to_all import all_to_all
from sim.perf.cuda_graphs import capture_sizes
from sim.perf.floors import with_floors
from sim.perf.host import HostOverhead
from sim.perf.mixture import experts_s, group_imbalance, mixture_groups, without_experts
from sim.perf.rank_step import ExpertTimes, Halving, RankStepTime
from sim.perf.roofline import TOKENS, efficiencies, known_generation, roofline_tables
from sim.perf.tabulated import StepTables, TabulatedStepTime
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.model import ModelSpec


def rank_step_time(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, host: HostOverhead) -> RankStepTime:
    """The step-time model, seconds, of a resolved ``engine`` whose ranks step together (``steps_together``)."""
    own = TabulatedStepTime(
        rank_tables(model, gpu, engine),
        host,
        capture_sizes=capture_sizes(engine, gpu),
        regime="extrapolated" if known_generation(gpu) else "uncalibrated",
        source=f"roofline {gpu.name} {model.name} TP{engine.tensor_parallel_size} DP{engine.data_parallel_size}"
        f"{' EP' if engine.enable_expert_parallel else ''} {model.weight_dtype}",
    )
    halving = Halving(engine.dbo_decode_token_threshold, engine.dbo_prefill_token_threshold) if engine.enable_dbo else None
    return RankStepTime(own, expert_times(model, gpu, engine), engine.data_parallel_size, halving)


def rank_tables(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> StepTables:
    """Tables of one rank without its routed experts."""
    rest = without_experts(model)
    tables = with_floors(roofline_tables(rest, gpu, engine), rest, gpu, engine)
    compute, memory = gpu.step_time_scale.get("compute", 1.0), gpu.step_time_scale.get("memory", 1.0)
    return tables.scaled(compute, memory)


def expert_times(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> ExpertTimes:
    """Experts and all-to-all of all ranks."""
    counts = np.unique(np.concatenate([TOKENS, TOKENS[-1] * np.geomspace(1.0, engine.data_parallel_size, 20).round()]))
    seconds = experts_s(model, gpu, engine, counts, efficiencies(gpu))
    compute, memory = gpu.step_time_scale.get("compute", 1.0), gpu.step_time_scale.get("memory", 1.0)
    seconds = memory * seconds[0] + compute * (seconds - seconds[0])
    mixtures = mixture_groups(model)
    part = mixtures[0][1]
    way = all_to_all(engine.all2all_backend, engine.expert_ranks, gpu, model.hidden_size, part.active_experts)
    return ExpertTimes(
        tokens=tuple(int(count) for count in counts),
        experts_s=tuple(map(float, seconds)),
        layers=sum(group.count for group, _ in mixtures),
        latency_s=way.latency_s,
        s_per_token=way.s_per_token,
        s_per_gathered_token=way.s_per_gathered_token,
        tensor_parallel=engine.tensor_parallel_size,
        gpus=engine.expert_ranks,
        imbalance=group_imbalance(part, engine),
    )
