"""Watts of a GPU from what its steps read and compute.

    watts = limit x (IDLE + BUSY busy + MEMORY bytes read / (bandwidth x time) + COMPUTE FLOP / (peak x time))

and never more than ``limit``, the board's (``gpu.tdp_w``). ``busy`` is the share of time in which a step ran. Each term is
an energy for each thing done, so that joules add up over steps, replicas and hours:

    joules = limit x (IDLE powered time + BUSY busy time + MEMORY bytes / bandwidth + COMPUTE FLOP / peak)

The shares are fitted by ``experiments/step_time_fit/fit_power.py`` to servers that decoded at fixed batches (H100 and B200,
vLLM 0.11.1, ML.ENERGY leaderboard; 2026-11-26); its README has the error on models and GPUs left out. ``IDLE`` is set: a
board that holds a model and does nothing draws 10-20 % of its limit.

Leaves out: CPU, memory, fans and network beside the GPUs, losses of the site (``cost.purchase`` states both), temperature.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.perf.attention import cache_reads
from sim.perf.floors import expected_experts, peak_flops
from sim.perf.geometry import head_bytes, weight_element_bytes
from sim.perf.matrices import Matrix, matrices
from sim.perf.served import served_model
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.model import ModelSpec

IDLE, BUSY, MEMORY, COMPUTE = 0.14, 0.42, 0.23, 1.39
"""Shares of the board's limit: with nothing to do; while a step runs; at peak bandwidth; at peak FLOPS."""


@dataclass(frozen=True)
class Work:
    """What one GPU did: seconds powered and busy, bytes read over peak bandwidth, FLOP over peak rate."""

    powered_s: float
    busy_s: float
    memory_s: float
    compute_s: float


def joules(gpu: GpuSpec, work: Work) -> float:
    """Energy of one GPU; NaN where no power limit is known."""
    if not gpu.tdp_w:
        return float("nan")
    active = BUSY * work.busy_s + MEMORY * work.memory_s + COMPUTE * work.compute_s
    return gpu.tdp_w * (IDLE * work.powered_s + min(active, (1.0 - IDLE) * work.busy_s))


def steps_work(
    model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, *, steps: float, tokens: float, seqs: float, context: float
) -> tuple[float, float]:
    """Bytes over peak bandwidth and FLOP over peak rate, seconds, of one of the GPUs of ``engine``.

    Args:
        model: as it is configured; it is quantised as ``engine`` says.
        gpu: whose peaks count.
        engine: resolved.
        steps: how many steps.
        tokens: new tokens of all of them, prompts' and answers'.
        seqs: mean sequences that decode in a step.
        context: mean tokens of their contexts.
    """
    if steps <= 0:
        return 0.0, 0.0
    model = served_model(model, engine)
    ranks = engine.data_parallel_size
    each = tokens / steps / ranks
    sharers = engine.tensor_parallel_size * engine.pipeline_parallel_size
    read = head_bytes(model) / engine.tensor_parallel_size
    compute_s = 0.0
    for matrix in matrices(model):
        parameters = matrix.layers * matrix.parameters
        touched = expected_experts(matrix.copies, matrix.used, each * ranks) if matrix.copies > 1 else 1.0
        gpus = _holders(matrix, engine)
        read += touched * parameters * weight_element_bytes(matrix.weights) / gpus
        flop = 2.0 * matrix.used * parameters * tokens / ranks
        compute_s += flop / sharers / peak_flops(matrix.weights.dtype, gpu)
    cache = sum(
        part.layers * part.bytes_per_token * min(context, float(part.window) if part.window else context)
        for part in cache_reads(model, engine.kv_cache_dtype, engine.tensor_parallel_size)
    )
    read = (read + cache * seqs / ranks) / engine.pipeline_parallel_size
    return steps * read / (gpu.bandwidth_gb_s * 1e9), compute_s


def _holders(matrix: Matrix, engine: EngineSpec) -> int:
    """GPUs that split a matrix among them, in one stage."""
    return engine.expert_ranks if matrix.copies > 1 else engine.tensor_parallel_size
