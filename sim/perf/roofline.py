"""Step time of any model on any GPU from geometry and peaks, with efficiencies fitted across known configurations.

Per layer, with ``T`` new tokens on each of ``tp`` GPUs:

    matrices    knee(bytes read / (bandwidth e_mem), 2 parameters T / (peak e_comp(T)))     knee(a, b) = (a^p +
    b^p)^(1/p) elementwise ``a`` passes over the hidden state of T tokens / (bandwidth e_mem)
    all-reduce  2 x (latency + 2 (tp-1)/tp x T x H x 2 B / (link e_link))                    when tp > 1
    fixed       kernel starts inside a captured graph

``T_half`` is the filling of the GPU's tiles, ``tile`` a share of the rows up to the next multiple of 128. %
optimistic at 128-256 tokens. Mixtures read the experts that at least one token chooses (``floors.expected_experts``)
and compute ``k`` for each token. Attention: decode reads KV bytes at ``e_kv``, after a ramp for few bytes; prefill
computes ``4 x heads x head_dim`` FLOP a (query, key) pair at ``e_pair(s)``. Sliding-window layers stop growing at
the window; an MLA latent is read once for all heads and not split by ``tp``. Weight-only types read fewer bytes and
compute in bf16.

The floors of ``sim.perf.floors`` apply on top. The constants come from ``experiments/step_time_fit/fit_roofline.py``,
whose README reports the error with one model and with one GPU left out.
Leaves out: expert imbalance, communication across machines, overlap of communication with computation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from sim.perf.floors import expected_experts, peak_flops
from sim.perf.geometry import (
    kv_bytes_per_token,
    layer_parameters,
    moe_layers,
    weight_element_bytes,
)
from sim.perf.tabulated import StepTables
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.model import ModelSpec

Array = NDArray[np.float64]

TOKENS = np.unique(np.round(np.concatenate([np.arange(1, 17), np.geomspace(16, 512, 41), np.geomspace(512, 65_536, 57)])))
DECODE_SEQS = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], dtype=float)
DECODE_CONTEXT = np.array([64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 131_072], dtype=float)
PREFILL_TOKENS = np.array([1, 4, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384], dtype=float)


@dataclass(frozen=True)
class Efficiencies:
    """What fraction of the datasheet is reached, and the fixed times; of one GPU generation."""

    memory: float
    tflops_per_w: float
    """What the board's power lets 16-bit matrix products reach: a 72 W card never sees what its tensor cores could
    do."""
    tflops_8bit_per_w: float
    row_slope: float
    """Reading a matrix slows by this share for each factor e of rows, up to a tile's: thin products stream best."""
    half_tokens: float
    tile: float
    """Share of the way to the next multiple of 128 rows that a matrix product is charged for."""
    knee: float
    layer_s: float
    quantise_layer_s: float
    """Added to a layer that turns its activations into 8 bits on the way."""
    elementwise_passes: float
    expert_s: float
    """Added for each expert touched in a layer: small matrices do not fill the memory system."""
    expert_layer_s: float
    """Routing, sorting tokens by expert and gathering them back, a mixture layer."""
    allreduce_latency_s: float
    link: float
    kv: float
    kv_ramp_s: float
    """Added to a decode attention layer as its bytes grow from none."""
    pair: float
    pair_half_tokens: float


TILE_ROWS = 128.0
UNLIMITED_SHARE = 0.95
"""Of peak FLOPS, reached by large matrix products on a board whose power does not hold them back."""


def efficiencies(gpu: GpuSpec) -> Efficiencies:
    """The fitted constants for the generation of ``gpu``, or the pooled ones where it was not among those fitted."""
    by_arch = _fitted()
    key = "Blackwell GDDR" if gpu.arch == "Blackwell" and gpu.link == "pcie" else gpu.arch
    return by_arch.get(key) or by_arch["pooled"]


def known_generation(gpu: GpuSpec) -> bool:
    """Whether constants were fitted for this GPU's generation."""
    return efficiencies(gpu) is not _fitted()["pooled"]


def roofline_tables(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, eff: Efficiencies | None = None) -> StepTables:
    """Step-time tables derived from geometry (before floors)."""
    eff = eff or efficiencies(gpu)
    nonattention = nonattention_s(model, gpu, engine.tensor_parallel_size, TOKENS, eff)
    full, window = _pair_times(model, gpu, engine, eff)
    decode = np.array([decode_attention_s(model, gpu, engine, n, DECODE_CONTEXT, eff) for n in DECODE_SEQS])
    return StepTables(
        tokens=tuple(int(t) for t in TOKENS),
        nonattention_s=tuple(map(float, nonattention)),
        decode_seqs=tuple(int(n) for n in DECODE_SEQS),
        decode_context_tokens=tuple(int(c) for c in DECODE_CONTEXT),
        decode_attention_s=tuple(tuple(map(float, row)) for row in decode),
        prefill_tokens=tuple(int(s) for s in PREFILL_TOKENS),
        prefill_pair_s=tuple(map(float, full)),
        window_tokens=model.sliding_window or 0 if model.sliding_window_layers else 0,
        prefill_window_pair_s=tuple(map(float, window)),
    )


def nonattention_s(model: ModelSpec, gpu: GpuSpec, tensor_parallel: int, tokens: Array, eff: Efficiencies) -> Array:
    """Seconds of everything but attention for each count of new ``tokens``; vectorised."""
    layer, mixtures = layer_parameters(model), moe_layers(model)
    element = weight_element_bytes(model.weight_dtype)
    rate = compute_rate(model, gpu, eff) * tensor_parallel
    bandwidth = gpu.bandwidth_gb_s * 1e9 * eff.memory * tensor_parallel

    def matrices(parameters: float, rows: Array, touched: Array | float = 1.0) -> Array:
        """``touched`` copies of a matrix, each multiplied with ``rows`` rows."""
        thin = 1.0 + eff.row_slope * np.log(np.minimum(rows, TILE_ROWS))
        memory = touched * parameters * element / bandwidth * np.maximum(thin, 1.0)
        beyond = np.where(rows > TILE_ROWS, np.ceil(rows / TILE_ROWS) * TILE_ROWS - rows, 0.0)
        compute = touched * 2.0 * parameters * (rows + eff.half_tokens + eff.tile * beyond) / rate
        return np.asarray((memory**eff.knee + compute**eff.knee) ** (1.0 / eff.knee))

    total = np.zeros_like(tokens)
    for parameters, count in (
        (layer.attention_in, model.layers),
        (layer.attention_out, model.layers),
        (layer.dense_mlp, model.layers - mixtures),
        (layer.shared_experts, mixtures),
    ):
        if parameters and count:
            total += count * matrices(float(parameters), tokens)
    if mixtures:
        touched = np.array([expected_experts(model, t) for t in tokens])
        rows = tokens * model.moe_active_experts / touched
        total += mixtures * (matrices(float(layer.one_expert), rows, touched) + touched * eff.expert_s + eff.expert_layer_s)
    total += 2.0 * model.vocab_size * model.hidden_size / bandwidth
    moved = eff.elementwise_passes * tokens * model.hidden_size * 2.0 / (gpu.bandwidth_gb_s * 1e9 * eff.memory)
    quantise = eff.quantise_layer_s if computes_in_8_bits(model, gpu) else 0.0
    total += model.layers * (moved + eff.layer_s + quantise)
    if tensor_parallel > 1:
        share = 2.0 * (tensor_parallel - 1) / tensor_parallel
        message = tokens * model.hidden_size * 2.0 * share / (gpu.link_gb_s_per_direction * 1e9 * eff.link)
        total += 2.0 * model.layers * (eff.allreduce_latency_s + message)
    return np.asarray(np.maximum.accumulate(total))


def compute_rate(model: ModelSpec, gpu: GpuSpec, eff: Efficiencies) -> float:
    """FLOP/s that matrix products reach on one GPU: a share of the peak, and no more than the board's power allows."""
    peak = peak_flops(model, gpu)
    if gpu.tdp_w <= 0:
        return peak * UNLIMITED_SHARE
    per_w = eff.tflops_8bit_per_w if computes_in_8_bits(model, gpu) else eff.tflops_per_w
    unlimited, powered = peak * UNLIMITED_SHARE, per_w * 1e12 * gpu.tdp_w
    return float((unlimited**-4 + powered**-4) ** -0.25)


def computes_in_8_bits(model: ModelSpec, gpu: GpuSpec) -> bool:
    """Whether weight type and GPU make the matrix products run faster than bf16."""
    return peak_flops(model, gpu) > gpu.tflops_bf16 * 1e12


def decode_attention_s(
    model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, seqs: float, context: Array, eff: Efficiencies
) -> Array:
    """Seconds of decode attention of ``seqs`` sequences at each mean ``context``; vectorised, 0 at 0."""
    split = 1 if model.attention == "mla" else min(engine.tensor_parallel_size, model.kv_heads)
    layer_bytes = kv_bytes_per_token(model, engine.kv_cache_dtype) / model.layers / split
    bandwidth = gpu.bandwidth_gb_s * 1e9 * eff.kv

    def layers(count: int, tokens: Array) -> Array:
        stream = seqs * tokens * layer_bytes / bandwidth
        return np.asarray(count * (stream + eff.kv_ramp_s * -np.expm1(-stream / eff.kv_ramp_s)))

    windowed = model.sliding_window_layers
    total = layers(model.layers - windowed, context)
    if windowed:
        total = total + layers(windowed, np.minimum(context, float(model.sliding_window or 0)))
    return total


def _pair_times(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, eff: Efficiencies) -> tuple[Array, Array]:
    """Seconds a (query, key) pair by chunk length: all layers without a window, and all with one."""
    per_layer = pair_s(model, gpu, engine, PREFILL_TOKENS, eff)
    windowed = model.sliding_window_layers
    return (model.layers - windowed) * per_layer, windowed * per_layer


def pair_s(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, chunk: Array, eff: Efficiencies) -> Array:
    """Seconds of one (query, key) pair in one layer when ``chunk`` queries share the keys; vectorised."""
    width = float(model.head_dim)
    if model.attention == "mla":
        width = ((model.mla_qk_nope_head_dim or 0) + (model.mla_qk_rope_head_dim or 0) + (model.mla_v_head_dim or 0)) / 2
    flop = 4.0 * model.heads / engine.tensor_parallel_size * width
    return np.asarray(flop * (1.0 + eff.pair_half_tokens / chunk) / (gpu.tflops_bf16 * 1e12 * eff.pair))


@cache
def _fitted() -> dict[str, Efficiencies]:
    data = json.loads((files("sim.perf") / "roofline_fit.json").read_text(encoding="utf-8"))
    names = {f.name for f in fields(Efficiencies)}
    return {
        arch: Efficiencies(**{k: v for k, v in values.items() if k in names}) for arch, values in data["by_arch"].items()
    }
