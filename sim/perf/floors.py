"""What no engine can beat: arithmetic at peak FLOPS and bytes at peak bandwidth.

    N(T)    >= max(weight bytes touched / bandwidth, 2 x parameters used x T / peak)
    D(n, c) >= n c x KV bytes / bandwidth
    C       >= pairs x 4 x layers x heads x head_dim / peak

Every table passes through ``with_floors`` before use, whatever it was fitted to. Peaks are the datasheet's: a real
engine reaches 40-90 % of them, so a floor that binds says that the source of the table was wrong there.
"""

from __future__ import annotations

from dataclasses import replace

from sim.perf.attention import cache_reads, full_pair_flop
from sim.perf.geometry import head_bytes, stored_kv_dtype, weight_element_bytes
from sim.perf.matrices import matrices
from sim.perf.tabulated import StepTables
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.layers import WeightDtype
from sim.spec.model import ModelSpec

EXPERT_SPREAD = 0.88
"""Set on the kernel times of Qwen3-30B-A3B at 4 to 128 tokens."""


def peak_flops(dtype: WeightDtype, gpu: GpuSpec) -> float:
    """Peak rate, FLOP/s, of matrix products with this weight type on this GPU.

    Weight-only formats (int4 and below) and types without hardware support compute in bf16.
    """
    by_dtype = {"fp8": gpu.tflops_fp8, "int8": gpu.tflops_int8, "fp4": gpu.tflops_fp4, "mxfp4": gpu.tflops_fp4}
    return 1e12 * (by_dtype.get(dtype, 0.0) or gpu.tflops_bf16)


def expected_experts(experts: int, active: int, tokens: float) -> float:
    """Routed experts of a layer that at least one of ``tokens`` tokens chooses: ``E (1 - (1 - k/E)^(T^a))``.

    ``a = 1`` would be independent uniform choices; tokens of one batch favour the same experts (``EXPERT_SPREAD``).
    """
    if not experts:
        return 0.0
    return float(experts * (1.0 - (1.0 - active / experts) ** (tokens**EXPERT_SPREAD)))


def nonattention_floor_s(model: ModelSpec, gpu: GpuSpec, gpus: int, tokens: float) -> float:
    """Seconds that the matrix products of ``tokens`` tokens take at the least on ``gpus`` GPUs."""
    read, compute = head_bytes(model), 0.0
    for matrix in matrices(model):
        touched = expected_experts(matrix.copies, matrix.used, tokens) if matrix.copies > 1 else 1.0
        parameters = matrix.layers * matrix.parameters
        read += touched * parameters * weight_element_bytes(matrix.weights)
        compute += 2.0 * matrix.used * parameters * tokens / peak_flops(matrix.weights.dtype, gpu)
    return max(read / gpus / (gpu.bandwidth_gb_s * 1e9), compute / gpus)


def decode_floor_s_per_token(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> float:
    """Seconds to read the KV of one token of context on each GPU at peak bandwidth, layers without a window only."""
    reads = cache_reads(model, engine.kv_cache_dtype, engine.tensor_parallel_size)
    return sum(read.layers * read.bytes_per_token for read in reads if read.window is None) / (gpu.bandwidth_gb_s * 1e9)


def pair_floor_s(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> float:
    """Seconds of one (query, key) pair over all layers without a window at peak bf16 rate."""
    eight_bits = stored_kv_dtype(engine.kv_cache_dtype, model) == "fp8"
    peak = 1e12 * (max(gpu.tflops_fp8, gpu.tflops_bf16) if eight_bits else gpu.tflops_bf16)
    return full_pair_flop(model) / engine.tensor_parallel_size / peak


def with_floors(tables: StepTables, model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> StepTables:
    """``tables`` raised to the floors wherever they lie below."""
    gpus = engine.tensor_parallel_size
    per_token = decode_floor_s_per_token(model, gpu, engine)
    pair = pair_floor_s(model, gpu, engine)
    return replace(
        tables,
        nonattention_s=tuple(
            max(t, nonattention_floor_s(model, gpu, gpus, n))
            for n, t in zip(tables.tokens, tables.nonattention_s, strict=True)
        ),
        decode_attention_s=tuple(
            tuple(max(t, n * c * per_token) for c, t in zip(tables.decode_context_tokens, row, strict=True))
            for n, row in zip(tables.decode_seqs, tables.decode_attention_s, strict=True)
        ),
        prefill_pair_s=tuple(
            max(t, pair, per_token / n) for n, t in zip(tables.prefill_tokens, tables.prefill_pair_s, strict=True)
        ),
    )
