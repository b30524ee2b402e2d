"""Step time of any model on any GPU from geometry and peaks, with efficiencies fitted across known configurations.

Per layer, with ``T`` new tokens on each of ``tp`` GPUs:

    matrices     knee(bytes read / (bandwidth e_mem), 2 parameters (T + T_half + tile beyond) / (peak e_comp))
                 knee(a, b) = (a^p + b^p)^(1/p), each matrix in its own number type (``sim.perf.matrices``)
    elementwise  ``a`` passes over the hidden state of T tokens / (bandwidth e_mem)
    all-reduce   2 x (latency + 2 (tp-1)/tp x T x H x 2 B / (link e_link))                    when tp > 1
    fixed        kernel starts inside a captured graph

``T_half`` is the filling of the GPU's tiles, ``tile`` the share of the rows ``beyond`` T up to the next multiple of 128
that a product is charged for. Mixtures read the experts that at least one token chooses (``floors.expected_experts``)
and compute ``k`` for each token; 8-bit experts stream at ``EIGHT_BIT_EXPERTS`` of the rest. Attention
(``sim.perf.attention``): decode reads cache bytes at ``e_kv`` (multi-head caches at ``MULTI_HEAD_KV`` times that), after a
ramp for few bytes, or computes where a latent cache is read for many heads at once, whichever takes longer, and longer
where contexts differ (``UNEVEN``); prefill computes ``4 x heads x head_dim`` FLOP a (query, key) pair at ``e_pair(s)``.
Layers with a window stop growing at the window (where windows differ, prefill takes the commonest); an MLA latent is not
split by ``tp``; recurrent layers read and write their state once a step. Weight-only types read fewer bytes and compute in
bf16.

The floors of ``sim.perf.floors`` apply on top. The constants come from ``experiments/step_time_fit/fit_roofline.py``,
whose README reports the error with one model and with one GPU left out.
Leaves out: expert imbalance where experts are sliced, overlap of communication with computation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from sim.perf.attention import PairWork, cache_reads, main_window, pair_works
from sim.perf.collectives import all_reduce_s
from sim.perf.floors import expected_experts, peak_flops
from sim.perf.geometry import head_bytes, state_bytes_per_sequence, weight_element_bytes
from sim.perf.matrices import Matrix, group_matrices
from sim.perf.tabulated import StepTables
from sim.spec.engine import EngineSpec
from sim.spec.gpu import GpuSpec
from sim.spec.layers import LayerGroup, WeightDtype
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
    tflops_4bit_per_w: float
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
EIGHT_BIT_EXPERTS = 0.85
"""Routed experts of 8 bits are read at this share of what other matrices reach: Llama-4-Scout in FP8 on two H100s (vLLM
0.15). No kernel table has such a mixture; checkpoints with a scale a block are slower still."""
MULTI_HEAD_KV = 1.09
"""Multi-head attention reads its cache at this multiple of what grouped queries reach: Llama-2-7B on an H100 (vLLM 0.15)."""
UNEVEN, UNEVEN_SEQS = 0.05, 64.0
"""Contexts of a served batch differ, and the longest end last: decode attention takes so much longer in batches of 64 and
more. Between even batches (0) and those of an open loop (0.1) of vLLM 0.26 on an H100."""
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
    decode = np.array([
        (1.0 + UNEVEN * min(1.0, n / UNEVEN_SEQS)) * decode_attention_s(model, gpu, engine, n, DECODE_CONTEXT, eff)
        for n in DECODE_SEQS
    ])  # fmt: skip
    return StepTables(
        tokens=tuple(int(t) for t in TOKENS),
        nonattention_s=tuple(map(float, nonattention)),
        decode_seqs=tuple(int(n) for n in DECODE_SEQS),
        decode_context_tokens=tuple(int(c) for c in DECODE_CONTEXT),
        decode_attention_s=tuple(tuple(map(float, row)) for row in decode),
        prefill_tokens=tuple(int(s) for s in PREFILL_TOKENS),
        prefill_pair_s=tuple(map(float, full)),
        window_tokens=main_window(model),
        prefill_window_pair_s=tuple(map(float, window)),
    )


def nonattention_s(model: ModelSpec, gpu: GpuSpec, tensor_parallel: int, tokens: Array, eff: Efficiencies) -> Array:
    """Seconds of everything but attention for each count of new ``tokens``; vectorised."""
    total = np.zeros_like(tokens)
    for group in model.stack:
        for matrix in group_matrices(model, group):
            if matrix.copies == 1:
                total += matrix.layers * matrix_s(matrix, gpu, tensor_parallel, eff, tokens)
            else:
                touched = _touched(matrix.copies, matrix.used, tokens)
                rows = tokens * matrix.used / touched
                total += matrix.layers * matrix_s(matrix, gpu, tensor_parallel, eff, rows, touched)
        total += group.count * _beside_matrices_s(model, group, gpu, tokens, eff)
    total += head_bytes(model) / (gpu.bandwidth_gb_s * 1e9 * eff.memory * tensor_parallel)
    total += all_reduces_s(model, gpu, tensor_parallel, tokens, eff)
    return np.asarray(np.maximum.accumulate(total))


def all_reduces_s(model: ModelSpec, gpu: GpuSpec, tensor_parallel: int, tokens: Array, eff: Efficiencies) -> Array:
    """Seconds of the two all-reduces of every layer; vectorised, 0 without tensor parallelism."""
    if tensor_parallel == 1:
        return np.zeros_like(tokens)
    message = tokens * model.hidden_size * 2.0
    each = all_reduce_s(message, tensor_parallel, gpu, eff.allreduce_latency_s, eff.link)
    return np.asarray(2.0 * model.layer_count * each)


def matrix_s(matrix: Matrix, gpu: GpuSpec, gpus: int, eff: Efficiencies, rows: Array, touched: Array | float = 1.0) -> Array:
    """Seconds in which ``gpus`` GPUs multiply ``touched`` copies of a matrix, split over them, with ``rows`` rows each."""
    bandwidth = gpu.bandwidth_gb_s * 1e9 * eff.memory * gpus
    size = float(matrix.parameters)
    rate = compute_rate(matrix.weights.dtype, gpu, eff) * gpus
    thin = 1.0 + eff.row_slope * np.log(np.minimum(rows, TILE_ROWS))
    if matrix.part == "experts" and matrix.weights.dtype in ("fp8", "int8"):
        bandwidth *= EIGHT_BIT_EXPERTS
    memory = touched * size * weight_element_bytes(matrix.weights) / bandwidth * np.maximum(thin, 1.0)
    beyond = np.where(rows > TILE_ROWS, np.ceil(rows / TILE_ROWS) * TILE_ROWS - rows, 0.0)
    compute = touched * 2.0 * size * (rows + eff.half_tokens + eff.tile * beyond) / rate
    return np.asarray((memory**eff.knee + compute**eff.knee) ** (1.0 / eff.knee))


def _beside_matrices_s(model: ModelSpec, group: LayerGroup, gpu: GpuSpec, tokens: Array, eff: Efficiencies) -> Array:
    """Seconds of one layer of ``group`` besides its matrices: kernel starts, elementwise work, routing, the scan of a
    recurrent state (8 FLOP a state number and token, not fitted)."""
    moved = eff.elementwise_passes * tokens * model.hidden_size * 2.0 / (gpu.bandwidth_gb_s * 1e9 * eff.memory)
    low_bits = any(computes_in_low_bits(matrix.weights.dtype, gpu) for matrix in group_matrices(model, group))
    total = moved + eff.layer_s + (eff.quantise_layer_s if low_bits else 0.0)
    if group.feed_forward is not None and group.feed_forward.experts:
        touched = _touched(group.feed_forward.experts, group.feed_forward.active_experts, tokens)
        total = total + touched * eff.expert_s + eff.expert_layer_s
    if group.state is not None:
        total = total + 8.0 * group.state.state_elements * tokens / compute_rate("bf16", gpu, eff)
    return np.asarray(total)


def _touched(experts: int, active: int, tokens: Array) -> Array:
    return np.array([expected_experts(experts, active, t) for t in tokens])


def compute_rate(dtype: WeightDtype, gpu: GpuSpec, eff: Efficiencies) -> float:
    """FLOP/s that matrix products reach on one GPU: the share of the peak that was measured on it, else the fitted one, and
    no more than the board's power allows."""
    peak = peak_flops(dtype, gpu)
    measured = gpu.matrix_share
    if computes_in_low_bits(dtype, gpu) and gpu.matrix_share_8bit is not None:
        measured = gpu.matrix_share_8bit
    if measured is not None:
        return peak * measured
    if gpu.tdp_w <= 0:
        return peak * UNLIMITED_SHARE
    per_w = eff.tflops_per_w
    if computes_in_low_bits(dtype, gpu):
        per_w = eff.tflops_4bit_per_w if dtype in ("fp4", "mxfp4") else eff.tflops_8bit_per_w
    unlimited, powered = peak * UNLIMITED_SHARE, per_w * 1e12 * gpu.tdp_w
    return float((unlimited**-4 + powered**-4) ** -0.25)


def computes_in_low_bits(dtype: WeightDtype, gpu: GpuSpec) -> bool:
    """Whether weight type and GPU make the matrix products run faster than bf16."""
    return peak_flops(dtype, gpu) > gpu.tflops_bf16 * 1e12


def decode_attention_s(
    model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, seqs: float, context: Array, eff: Efficiencies
) -> Array:
    """Seconds of decode attention of ``seqs`` sequences at each mean ``context``; vectorised, 0 at 0 without recurrent
    layers, whose states are read and written at any context."""
    bandwidth = gpu.bandwidth_gb_s * 1e9 * eff.kv
    states = 2.0 * seqs * state_bytes_per_sequence(model, engine.tensor_parallel_size) / bandwidth
    total = np.full_like(context, states)
    for read in cache_reads(model, engine.kv_cache_dtype, engine.tensor_parallel_size):
        tokens = context if read.window is None else np.minimum(context, float(read.window))
        share = MULTI_HEAD_KV if read.queries_per_head == 1 else 1.0
        stream = seqs * tokens * read.bytes_per_token / (bandwidth * share)
        computed = seqs * tokens * read.flop_per_token / (gpu.tflops_bf16 * 1e12 * eff.pair)
        stream = np.maximum(stream, computed)
        total += read.layers * (stream + eff.kv_ramp_s * -np.expm1(-stream / eff.kv_ramp_s))
    return total


def _pair_times(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, eff: Efficiencies) -> tuple[Array, Array]:
    """Seconds a (query, key) pair by chunk length: all layers without a window, and all with one, a pair of another than the
    main window counted by its length."""
    full, window, main = np.zeros_like(PREFILL_TOKENS), np.zeros_like(PREFILL_TOKENS), main_window(model)
    for work in pair_works(model):
        seconds = work.layers * pair_s(work, gpu, engine, PREFILL_TOKENS, eff)
        if work.window is None:
            full += seconds
        else:
            window += seconds * (work.window / main)
    return full, window


def pair_s(work: PairWork, gpu: GpuSpec, engine: EngineSpec, chunk: Array, eff: Efficiencies) -> Array:
    """Seconds of one (query, key) pair in one layer when ``chunk`` queries share the keys; vectorised."""
    flop = work.flop / engine.tensor_parallel_size
    pair = eff.pair * (1.0 if gpu.matrix_share is None else min(1.0, gpu.matrix_share / UNLIMITED_SHARE))
    return np.asarray(flop * (1.0 + eff.pair_half_tokens / chunk) / (gpu.tflops_bf16 * 1e12 * pair))


@cache
def _fitted() -> dict[str, Efficiencies]:
    data = json.loads((files("sim.perf") / "roofline_fit.json").read_text(encoding="utf-8"))
    names = {f.name for f in fields(Efficiencies)}
    return {
        arch: Efficiencies(**{k: v for k, v in values.items() if k in names}) for arch, values in data["by_arch"].items()
    }
