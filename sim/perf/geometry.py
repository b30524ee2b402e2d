"""What follows from a model's stack alone: parameters, weight bytes, and what a token or a sequence leaves in the cache.

All are sums over the groups of layers. Parameters: the matrices (``sim.perf.matrices``), routers ``H x experts``, biases,
norms; outside the layers the embedding ``V x H``, again for the head unless tied, one norm, the towers. Cache of a token:
``kv_heads (head_dim + v_head_dim)`` numbers a layer of full attention, ``kv_lora_rank + rope`` of MLA, 132 bytes of a
sparse-attention index (128 in fp8 and a scale); of compressed attention one vector within the window and its share of an
entry; nothing in layers that read another layer's K and V, cross-attention
layers and recurrent ones, whose state a sequence keeps whatever its length.

Leaves out: vocabulary padding, rotary tables, extra prediction layers (loaded with speculation only).
Source: the published architectures; checked against published parameter counts in ``tests/golden/test_model_facts.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from sim.perf.matrices import Matrix, matrices
from sim.spec.layers import (
    USUAL_GROUP,
    USUAL_SCALE_BYTES,
    CompressedAttention,
    FullAttention,
    LatentAttention,
    LayerGroup,
    Weights,
)  # fmt: skip
from sim.spec.model import ModelSpec
from sim.units import DTYPE_BYTES

_SPARSE_FP8_BYTES = 656.0
"""A token's latent in vLLM's ``fp8_ds_mla`` format, which sparse MLA uses for an fp8 cache: 512 fp8, 4 scales, 64 bf16."""
_COMPRESSED_FP8_BYTES = 584.0
"""The same for DeepSeek V4's vector of 512: 448 fp8, 8 scales, 64 bf16 (vLLM 0.26 ``v1/kv_cache_interface.py``)."""


def small_parameters(model: ModelSpec, group: LayerGroup) -> int:
    """Parameters of one layer that stay in 16 bits whatever the weight type: router, norms, biases, convolutions."""
    total = group.norms * model.hidden_size + group.other_parameters
    attention = group.attention
    if isinstance(attention, FullAttention) and attention.bias:
        total += (attention.heads + (0 if attention.shares_kv else 2 * attention.kv_heads)) * attention.head_dim
    if isinstance(attention, LatentAttention):
        total += attention.kv_lora_rank + (attention.q_lora_rank or 0)
    if isinstance(attention, CompressedAttention):
        total += attention.q_lora_rank + attention.head_dim + attention.heads
    if group.state is not None:
        total += group.state.inner_parameters
    if group.feed_forward is not None:
        total += model.hidden_size * group.feed_forward.experts
    return total


def parameter_count(model: ModelSpec) -> int:
    """All parameters of the model, towers included."""
    layers = sum(matrix.layers * matrix.copies * matrix.parameters for matrix in matrices(model))
    layers += sum(group.count * small_parameters(model, group) for group in model.stack)
    embeddings = model.vocab_size * model.hidden_size * (1 if model.tied_embeddings else 2)
    towers = sum(tower.parameters for tower in model.towers)
    return layers + embeddings + model.hidden_size + model.other_parameters + towers


def active_parameter_count(model: ModelSpec) -> int:
    """Parameters that one token passes, embedding and towers apart."""
    layers = sum(matrix.layers * matrix.used * matrix.parameters for matrix in matrices(model))
    layers += sum(group.count * small_parameters(model, group) for group in model.stack)
    return layers + model.vocab_size * model.hidden_size + model.hidden_size


def weight_element_bytes(weights: Weights) -> float:
    """Bytes of one weight of a matrix, group scales included."""
    group = weights.group_size or USUAL_GROUP.get(weights.dtype, 0)
    scale = weights.scale_bytes or USUAL_SCALE_BYTES.get(weights.dtype, 0.0)
    return DTYPE_BYTES[weights.dtype] + (scale / group if group else 0.0)


class ExpertSplit(NamedTuple):
    """How the routed experts of a mixture lie on GPUs."""

    gpus: int
    """That share them."""
    whole: bool = False
    """Each has some experts; False = a slice of every one."""
    copies: int = 0
    """Of experts, beside the first of each."""


def weights_bytes_per_gpu(
    model: ModelSpec,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    *,
    towers: Literal["split", "whole", "none"] = "split",
    experts: ExpertSplit | None = None,
) -> float:
    """Weight bytes of the fullest GPU.

    Matrices are split over the tensor-parallel ranks (K and V heads are repeated where there are fewer than ranks), the
    layers over the pipeline stages; router, norms and biases stay in 16 bits whatever the weight type. ``towers``: those
    beside the language model are split like the rest, whole on every GPU, or not loaded. ``experts``: None = sliced over
    the tensor-parallel ranks. The head of a model that does not generate is not loaded.
    """
    experts = experts or ExpertSplit(tensor_parallel)
    layers = sum(
        matrix.layers * _held(matrix, tensor_parallel, experts) * weight_element_bytes(matrix.weights)
        for matrix in matrices(model)
    )
    layers += sum(2.0 * group.count * small_parameters(model, group) for group in model.stack)
    if pipeline_parallel > 1:
        layers *= -(-model.layer_count // pipeline_parallel) / model.layer_count
    ends = embedding_bytes(model), 0.0 if model.tied_embeddings or not model.generates else head_bytes(model)
    # input embedding and output head live on the same GPU unless there are stages
    outside = (sum(ends) if pipeline_parallel == 1 else max(ends)) / tensor_parallel
    held = {"split": 1.0 / tensor_parallel, "whole": 1.0, "none": 0.0}[towers]
    beside = held * sum(2.0 * tower.parameters for tower in model.towers)
    return layers + outside + beside + 2.0 * (model.hidden_size + model.other_parameters / tensor_parallel)


def _held(matrix: Matrix, tensor_parallel: int, experts: ExpertSplit) -> float:
    """Weights of all copies of a matrix on the fullest GPU."""
    if matrix.copies == 1:
        return _stored(matrix, tensor_parallel)
    if experts.whole:
        return -(-(matrix.copies + experts.copies) // experts.gpus) * _stored(matrix, 1)
    return matrix.copies * _stored(matrix, experts.gpus)


def _stored(matrix: Matrix, tensor_parallel: int) -> float:
    """Weights of one copy on one GPU. MXFP4 experts are padded to what vLLM's kernels multiply: the hidden side to a
    multiple of 256, the other to one of 128 (its Marlin path, ``mxfp4.py``; other paths pad by up to 4 % less or more)."""
    if matrix.weights.dtype != "mxfp4" or matrix.copies == 1:
        return matrix.parameters * matrix.share(tensor_parallel)
    hidden, inside = (matrix.rows, matrix.columns) if matrix.widens else (matrix.columns, matrix.rows)
    each = -(-inside // (matrix.fan * tensor_parallel))
    return -(-hidden // 256) * 256 * -(-each // 128) * 128 * matrix.fan


def embedding_bytes(model: ModelSpec) -> float:
    """The input embedding."""
    element = weight_element_bytes(model.embedding_weights) if model.embedding_weights else 2.0
    return model.vocab_size * model.hidden_size * element


def head_bytes(model: ModelSpec) -> float:
    """The output head's matrix, read in every step whether or not it is the embedding too."""
    if model.tied_embeddings:
        return embedding_bytes(model)
    element = weight_element_bytes(model.head_weights) if model.head_weights else 2.0
    return model.vocab_size * model.hidden_size * element


def stored_kv_dtype(kv_dtype: str, model: ModelSpec) -> str:
    """The type of the cache; ``auto`` is what the checkpoint says, 16 bits where it says nothing."""
    return model.kv_cache_dtype if kv_dtype == "auto" else kv_dtype


def kv_element_bytes(kv_dtype: str, model: ModelSpec) -> float:
    """Bytes of one stored K or V element."""
    return DTYPE_BYTES[stored_kv_dtype(kv_dtype, model)]


class LayerCache(NamedTuple):
    """What the tokens of a sequence leave in one layer on one GPU."""

    bytes_per_token: float
    window: int | None = None
    """Tokens that are kept; None = all."""


def layer_caches(model: ModelSpec, group: LayerGroup, kv_dtype: str, tensor_parallel: int = 1) -> tuple[LayerCache, ...]:
    """The caches of one layer of ``group``: none, one, or a window beside what stays.

    A GPU holds at least one K/V head, so ranks beyond ``kv_heads`` save nothing; a latent is not split at all.
    """
    attention, element = group.attention, kv_element_bytes(kv_dtype, model)
    if isinstance(attention, CompressedAttention):
        vector = compressed_vector_bytes(attention, element)
        index = attention.index_head_dim + 4.0 if attention.index_heads else 0.0
        entries = (LayerCache((vector + index) / attention.tokens_per_entry),) if attention.tokens_per_entry else ()
        return LayerCache(vector, attention.window), *entries
    if isinstance(attention, LatentAttention):
        index = attention.index_head_dim + 4.0 if attention.index_heads else 0.0
        latent = (attention.kv_lora_rank + attention.qk_rope_head_dim) * element
        if attention.index_top_k and element == 1.0:
            latent = _SPARSE_FP8_BYTES
        size = index if attention.shares_kv else latent + index
        return (LayerCache(size),) if size else ()
    if isinstance(attention, FullAttention) and not attention.shares_kv:
        heads = max(1, attention.kv_heads // tensor_parallel)
        index = attention.index_head_dim * element if attention.index_heads else 0.0
        size = heads * (attention.head_dim + (attention.v_head_dim or attention.head_dim)) * element + index
        return (LayerCache(size, attention.window),)
    return ()


def compressed_vector_bytes(attention: CompressedAttention, element: float) -> float:
    """Bytes of a token's vector, or an entry's, of compressed attention."""
    return _COMPRESSED_FP8_BYTES / 512 * attention.head_dim if element == 1.0 else attention.head_dim * element


def layer_kv_bytes(model: ModelSpec, group: LayerGroup, kv_dtype: str, tensor_parallel: int = 1) -> float:
    """Bytes that one token leaves in one layer of ``group`` on one GPU, as long as it lies within every window."""
    return sum(cache.bytes_per_token for cache in layer_caches(model, group, kv_dtype, tensor_parallel))


def kv_bytes_per_token(model: ModelSpec, kv_dtype: str = "auto") -> float:
    """KV bytes of one token in the whole model (all layers, all heads, every GPU together, nothing repeated), as long as it
    lies within every window."""
    return sum(group.count * layer_kv_bytes(model, group, kv_dtype) for group in model.stack)


def kv_bytes_per_token_beyond_window(model: ModelSpec, kv_dtype: str = "auto") -> float:
    """KV bytes of one token that all windows have passed: what a long sequence grows by."""
    return sum(count * cache.bytes_per_token for count, cache in _caches(model, kv_dtype) if cache.window is None)


def kv_bytes_at(model: ModelSpec, tokens: int, kv_dtype: str = "auto") -> float:
    """Cache bytes of one sequence of ``tokens`` in the whole model: tokens within each window, and the states."""
    kept = (count * cache.bytes_per_token * min(tokens, cache.window or tokens) for count, cache in _caches(model, kv_dtype))
    return state_bytes_per_sequence(model) + sum(kept)


def _caches(model: ModelSpec, kv_dtype: str) -> Iterator[tuple[int, LayerCache]]:
    for group in model.stack:
        for cache in layer_caches(model, group, kv_dtype):
            yield group.count, cache


def kv_bytes_per_token_per_gpu(
    model: ModelSpec, kv_dtype: str = "auto", tensor_parallel: int = 1, pipeline_parallel: int = 1
) -> float:
    """KV bytes of one token on one GPU of the stage with most layers."""
    total = sum(group.count * layer_kv_bytes(model, group, kv_dtype, tensor_parallel) for group in model.stack)
    if pipeline_parallel == 1:
        return total
    return total * -(-model.layer_count // pipeline_parallel) / model.layer_count


def state_bytes_per_sequence(model: ModelSpec, tensor_parallel: int = 1) -> float:
    """Bytes that a sequence keeps in recurrent layers on one GPU, whatever its length."""
    return sum(group.count * layer_state_bytes(group, tensor_parallel) for group in model.stack)


def layer_state_bytes(group: LayerGroup, tensor_parallel: int = 1) -> float:
    """Bytes that a sequence keeps in one recurrent layer of ``group`` on one GPU."""
    state = group.state
    if state is None:
        return 0.0
    split = min(tensor_parallel, state.heads)
    return (state.conv_elements * 2.0 + state.state_elements * DTYPE_BYTES[state.state_dtype]) / split


def window_of(group: LayerGroup) -> int | None:
    """Tokens that the layers of ``group`` keep; None = all."""
    return group.attention.window if isinstance(group.attention, FullAttention) else None
