"""``step_time_model``: the step-time model of one engine, with the regime its numbers belong to.

- interpolated: a table fitted to kernels of exactly these matrices on this GPU (tensor parallel, weight type);
- extrapolated: the roofline, on a GPU generation whose efficiencies were fitted; also a table with all-reduces over PCIe,
  whose rate is the host's;
- uncalibrated: the roofline with pooled efficiencies, on a generation that nothing was fitted to.

``gpu.step_time_scale`` multiplies the shares: ``compute``, ``memory``, ``link`` (all-reduces within a layer), ``host`` (the
CPU's part) and in it once more ``launch`` (starting kernels; the rest of ``host`` is preparing steps). What is no
communication of a time ``N(T)`` counts as memory as far as its level at one token reaches and as compute beyond:
``memory N(1) + compute (N(T) - N(1))``. All-to-all between experts' ranks and hand-overs between stages have none.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.errors import ConfigError
from sim.perf.activations import on_second_runner
from sim.perf.collectives import beyond_table_s
from sim.perf.constants import (
    FIRST_RUNNER,
    HOST_PER_SEQ_S,
    HOST_PER_STEP_S,
    SECOND_RUNNER,
    SGLANG,
    TENSORRT_LLM,
    RunnerTimes,
)
from sim.perf.cuda_graphs import capture_sizes
from sim.perf.host import HostOverhead
from sim.perf.mixture import steps_together
from sim.perf.rank_step import RankStepTime
from sim.perf.ranks import rank_step_time, whole_expert_tables, with_adapters, with_hand_overs
from sim.perf.roofline import all_reduces_s, efficiencies, known_generation, roofline_tables
from sim.perf.served import served_model
from sim.perf.served_kernels import served
from sim.perf.small_kernels import sort_s
from sim.perf.table import find_table, table_keys
from sim.perf.tabulated import Regime, StepTables, TabulatedStepTime, scaled
from sim.perf.whole_step import whole_step
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.model import ModelSpec
from sim.spec.releases import release_of

SCALES = ("compute", "memory", "link", "host", "launch", "front_end")


def step_time_model(
    model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, adapters: bool = False
) -> TabulatedStepTime | RankStepTime:
    """The step-time model, seconds, for a resolved ``engine``: of one rank, where its ranks share nothing. ``adapters``: of
    steps that hold a LoRA adapter, longer outside attention.

    Raises:
        ConfigError: ``engine.step_time=table`` where no table ships, or an unknown key in ``gpu.step_time_scale``.
    """
    for key, value in gpu.step_time_scale.items():
        if key not in SCALES or not value > 0:
            raise ConfigError(
                f"gpu.step_time_scale.{key}: known multipliers are {', '.join(SCALES)}, each above 0, but got {value!r}"
            )
    model = served_model(model, engine)
    if steps_together(model, engine):
        _no_table(model, gpu, engine)
        return rank_step_time(model, gpu, engine, host_overhead(model, gpu, engine), adapters)
    tables, source, regime = _tables(model, gpu, engine)
    tables = scaled_tables(with_hand_overs(tables, model, gpu, engine), model, gpu, engine.tensor_parallel_size)
    if adapters:
        tables = with_adapters(tables, engine)
    return TabulatedStepTime(
        tables,
        host_overhead(model, gpu, engine),
        capture_sizes=capture_sizes(engine, gpu),
        stages=engine.pipeline_parallel_size,
        regime=regime,
        source=source,
    )


def scaled_tables(tables: StepTables, model: ModelSpec, gpu: GpuSpec, tensor_parallel: int) -> StepTables:
    """``tables`` with the multipliers of ``gpu.step_time_scale``."""
    tokens = np.array(tables.tokens, dtype=float)
    links_s = all_reduces_s(model, gpu, tensor_parallel, tokens, efficiencies(gpu))
    return scaled(tables, gpu.step_time_scale, tuple(map(float, links_s)))


def host_overhead(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> HostOverhead:
    """The CPU's part of a step of this engine; the sampler's sort, on the GPU, goes with the sequences as it does."""
    sort = sort_s(model, gpu, engine)
    scale, layers = gpu.step_time_scale.get("host", 1.0), model.layer_count
    launch = scale * gpu.step_time_scale.get("launch", 1.0)
    runner, captured = _runner(model, engine), max(capture_sizes(engine, gpu), default=0)
    return HostOverhead(
        per_step_s=scale * HOST_PER_STEP_S,
        per_seq_s=scale * HOST_PER_SEQ_S + (0.0 if engine.async_scheduling else sort),
        between_pieces_s=launch * runner.between_pieces_per_layer_s * layers,
        between_pieces_per_seq_s=launch * runner.between_pieces_per_seq_s,
        pieces_s=launch * runner.pieces_per_layer_s * layers,
        kernels_s=launch * runner.kernels_per_layer_s * layers,
        refill_s=launch * runner.refill_s,
        gap_s=scale * runner.gap_s,
        gap_per_seq_s=scale * runner.gap_per_seq_s + sort,
        captured_tokens=captured,
        captured_prefill_tokens=captured if runner.graphs_with_prefill else 0,
        hidden=engine.async_scheduling,
    )


def _runner(model: ModelSpec, engine: EngineSpec) -> RunnerTimes:
    if engine.runtime == "sglang":
        return SGLANG
    if engine.runtime == "tensorrt_llm":
        return TENSORRT_LLM
    return SECOND_RUNNER if on_second_runner(model, release_of(engine.version)) else FIRST_RUNNER


def _tables(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> tuple[StepTables, str, Regime]:
    """GPU times as a sum of terms: matrices and prefill attention (measured kernels or roofline), decode attention
    (roofline), and what ``whole_step`` adds."""
    tables, source, regime = _large_kernels(model, gpu, engine)
    return whole_step(tables, model, gpu, engine), source, regime


def _large_kernels(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> tuple[StepTables, str, Regime]:
    """At full clock."""
    whole_experts = engine.enable_expert_parallel and engine.expert_ranks > 1
    derived = whole_expert_tables(model, gpu, engine) if whole_experts else roofline_tables(model, gpu, engine)
    found = find_table(model, gpu, engine) if engine.step_time != "roofline" and not whole_experts else None
    if found is not None:
        kernels = found.times if found.served else served(found.times, model.weight_dtype)
        messages = np.array(kernels.tokens) * model.hidden_size * 2.0
        waits = 2.0 * model.layer_count * beyond_table_s(messages, engine.tensor_parallel_size, gpu)
        attention = kernels if found.own_attention else derived
        tables = replace(
            kernels, nonattention_s=tuple(map(float, np.array(kernels.nonattention_s) + waits)),
            decode_seqs=attention.decode_seqs, decode_context_tokens=attention.decode_context_tokens,
            decode_attention_s=attention.decode_attention_s,
        )  # fmt: skip
        return tables, found.source, "extrapolated" if waits.any() else "interpolated"
    _no_table(model, gpu, engine)
    regime: Regime = "extrapolated" if known_generation(gpu) else "uncalibrated"
    return derived, f"roofline {gpu.name} {model.name} TP{engine.tensor_parallel_size} {model.weight_dtype}", regime


def _no_table(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> None:
    """There is none for this engine.

    Raises:
        ConfigError: it was asked for.
    """
    if engine.step_time == "table":
        known = ", ".join(f"{g}/{m}/TP{tp}/{w}" for g, m, tp, w in table_keys())
        ranks = f"/DP{engine.data_parallel_size}" if engine.data_parallel_size > 1 else ""
        raise ConfigError(
            f"engine.step_time: no table for {gpu.name}/{model.name}/TP{engine.tensor_parallel_size}{ranks}"
            f"{'/EP' if engine.enable_expert_parallel else ''}/{model.weight_dtype}; tables ship for {known}"
        )
