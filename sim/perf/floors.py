"""What no engine can beat: arithmetic at peak FLOPS and bytes at peak bandwidth.

    N(T)    >= max(weight bytes touched / bandwidth, 2 x parameters used x T / peak)
    D(n, c) >= n c x KV bytes / bandwidth
    C       >= pairs x 4 x layers x heads x head_dim / peak

Every table passes through ``with_floors`` before use, whatever it was fitted to. Peaks are the datasheet's: a real
engine reaches 40-90 % of them, so a floor that binds says that the source of the table was wrong there.
"""

from __future__ import annotations

from dataclasses import replace

from sim.perf.geometry import (
    kv_bytes_per_token,
    kv_bytes_per_token_per_gpu,
    layer_parameters,
    moe_layers,
    weight_element_bytes,
)
from sim.perf.tabulated import StepTables
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.model import ModelSpec

EXPERT_SPREAD = 0.88
"""Set on the kernel times of Qwen3-30B-A3B at 4 to 128 tokens."""


def peak_flops(model: ModelSpec, gpu: GpuSpec) -> float:
    """Peak rate, FLOP/s, of matrix products with this weight type on this GPU.

    Weight-only formats (int4) and types without hardware support compute in bf16.
    """
    by_dtype = {"fp8": gpu.tflops_fp8, "int8": gpu.tflops_int8, "fp4": gpu.tflops_fp4}
    return 1e12 * (by_dtype.get(model.weight_dtype, 0.0) or gpu.tflops_bf16)


def expected_experts(model: ModelSpec, tokens: float) -> float:
    """Routed experts of a layer that at least one of ``tokens`` tokens chooses: ``E (1 - (1 - k/E)^(T^a))``.

    ``a = 1`` would be independent uniform choices; tokens of one batch favour the same experts (``EXPERT_SPREAD``).
    """
    if not model.moe_experts:
        return 0.0
    share = model.moe_active_experts / model.moe_experts
    return float(model.moe_experts * (1.0 - (1.0 - share) ** (tokens**EXPERT_SPREAD)))


def matrix_parameters(model: ModelSpec, tokens: float) -> tuple[float, float]:
    """``(read, used)``: parameters of the matrices that a step of ``tokens`` reads, and those one token uses."""
    layer = layer_parameters(model)
    mixtures = moe_layers(model)
    always = model.layers * (layer.attention_in + layer.attention_out)
    always += (model.layers - mixtures) * layer.dense_mlp + mixtures * layer.shared_experts
    read = always + mixtures * layer.one_expert * expected_experts(model, tokens)
    used = always + mixtures * layer.one_expert * model.moe_active_experts
    return read, used


def nonattention_floor_s(model: ModelSpec, gpu: GpuSpec, gpus: int, tokens: float) -> float:
    """Seconds that the matrix products of ``tokens`` tokens take at the least on ``gpus`` GPUs."""
    read, used = matrix_parameters(model, tokens)
    head = model.vocab_size * model.hidden_size
    read_bytes = read * weight_element_bytes(model.weight_dtype) + 2.0 * head
    memory = read_bytes / gpus / (gpu.bandwidth_gb_s * 1e9)
    compute = 2.0 * used * tokens / gpus / peak_flops(model, gpu)
    return max(memory, compute)


def decode_floor_s_per_token(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> float:
    """Seconds to read the KV of one token of context on each GPU at peak bandwidth, layers without a window only."""
    per_gpu = kv_bytes_per_token_per_gpu(model, engine.kv_cache_dtype, engine.tensor_parallel_size)
    full = 1.0 - model.sliding_window_layers / model.layers
    return per_gpu * full / (gpu.bandwidth_gb_s * 1e9)


def pair_floor_s(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> float:
    """Seconds of one (query, key) pair over all layers without a window at peak bf16 rate."""
    width = model.head_dim
    if model.attention == "mla":
        width = ((model.mla_qk_nope_head_dim or 0) + (model.mla_qk_rope_head_dim or 0) + (model.mla_v_head_dim or 0)) // 2
    full_layers = model.layers - model.sliding_window_layers
    flop = 4.0 * full_layers * model.heads * width / engine.tensor_parallel_size
    peak = 1e12 * (max(gpu.tflops_fp8, gpu.tflops_bf16) if engine.kv_cache_dtype == "fp8" else gpu.tflops_bf16)
    return flop / peak


def with_floors(tables: StepTables, model: ModelSpec, gpu: GpuSpec, engine: EngineSpec) -> StepTables:
    """``tables`` raised to the floors wherever they lie below."""
    gpus = engine.tensor_parallel_size
    per_token = decode_floor_s_per_token(model, gpu, engine)
    pair = pair_floor_s(model, gpu, engine)
    read_own_kv = kv_bytes_per_token(model, engine.kv_cache_dtype) / kv_heads_share(model, gpus)
    read_own_kv /= gpu.bandwidth_gb_s * 1e9
    full = 1.0 - model.sliding_window_layers / model.layers
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
            max(t, pair, read_own_kv * full / n) for n, t in zip(tables.prefill_tokens, tables.prefill_pair_s, strict=True)
        ),
    )


def kv_heads_share(model: ModelSpec, tensor_parallel: int) -> int:
    """Over how many of the ``tensor_parallel`` GPUs the KV cache is really split."""
    return 1 if model.attention == "mla" else min(tensor_parallel, model.kv_heads)
