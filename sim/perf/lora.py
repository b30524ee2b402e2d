"""What LoRA adapters take: memory of the slots on the GPU, bytes of one adapter, time of loading it.

    slot      max_lora_rank x sum over the matrices with adapters of (in + out) x 2 B, laid out at start whatever the
              adapters' own ranks; 5.2 MB a unit of rank for all matrices of Llama-3.1-8B
    adapter   the same at its own rank
    load      from disk (not in host memory): load_s + whole adapter / disk rate; then part of a GPU / host rate

Over tensor-parallel GPUs a column-parallel matrix (Q, K, V, gate, up) repeats A (rank x in) and splits B (out x rank), a
row-parallel one (output, down) splits A and repeats B; ``fully_sharded_loras`` splits both. K and V are repeated where
there are fewer heads than GPUs. Mixtures have an adapter of each routed expert. Source: vLLM 0.33 ``vllm/lora/layers``.

Leaves out: towers, embeddings and heads with adapters, the buffers of the kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sim.spec.engine import EngineSpec
from sim.spec.layers import FullAttention, LatentAttention, LayerGroup
from sim.spec.model import ModelSpec
from sim.units import GIB

_ELEMENT_BYTES = 2.0
"""Adapters are kept in the model's 16 bits."""


class Adapted(NamedTuple):
    """Equal matrices with an adapter each."""

    inside: int
    outside: int
    copies: int
    """Of one layer."""
    by_rows: bool
    """Row-parallel: split over the GPUs along ``inside``, else along ``outside``."""
    shards: int = 0
    """Split over at most so many GPUs; 0 = any number."""


def slot_bytes(model: ModelSpec, engine: EngineSpec) -> float:
    """Bytes of one slot on one GPU."""
    return engine.max_lora_rank * _bytes_per_rank(model, engine, engine.tensor_parallel_size)


def adapter_bytes(model: ModelSpec, engine: EngineSpec) -> float:
    """Bytes of one adapter as it lies on disk and in host memory."""
    return (engine.lora.rank or engine.max_lora_rank) * _bytes_per_rank(model, engine, 1)


def disk_load_s(model: ModelSpec, engine: EngineSpec) -> float:
    """Seconds to bring an adapter from disk into host memory."""
    return engine.lora.load_s + adapter_bytes(model, engine) / (engine.lora.disk_gib_per_s * GIB)


def slot_load_s(model: ModelSpec, engine: EngineSpec) -> float:
    """Seconds to copy an adapter from host memory into its slots; every GPU copies its own part."""
    rank = engine.lora.rank or engine.max_lora_rank
    part = rank * _bytes_per_rank(model, engine, engine.tensor_parallel_size)
    return part / (engine.lora.host_gib_per_s * GIB)


def _bytes_per_rank(model: ModelSpec, engine: EngineSpec, tensor: int) -> float:
    total = 0.0
    for group in model.stack:
        for adapted in _adapted(model, group, engine.lora.modules == "all"):
            split = min(tensor, adapted.shards) if adapted.shards else tensor
            inside = adapted.inside / (split if adapted.by_rows else 1)
            outside = adapted.outside / (1 if adapted.by_rows else split)
            if engine.fully_sharded_loras:
                inside, outside = adapted.inside / split, adapted.outside / split
            total += group.count * adapted.copies * (inside + outside)
    return total * _ELEMENT_BYTES / engine.pipeline_parallel_size


def _adapted(model: ModelSpec, group: LayerGroup, everywhere: bool) -> Iterator[Adapted]:
    """The matrices of one layer of ``group`` that have adapters."""
    hidden, attention = model.hidden_size, group.attention
    if isinstance(attention, FullAttention):
        width = attention.head_dim * attention.heads
        value = attention.v_head_dim or attention.head_dim
        yield Adapted(hidden, width * (2 if attention.gated else 1), 1, False)
        if not attention.shares_kv:
            yield Adapted(hidden, attention.kv_heads * attention.head_dim, 1, False, attention.kv_heads)
            if not attention.k_is_v:
                yield Adapted(hidden, attention.kv_heads * value, 1, False, attention.kv_heads)
        yield Adapted(attention.heads * value, hidden, 1, True)
    elif isinstance(attention, LatentAttention):
        query = attention.heads * (attention.qk_nope_head_dim + attention.qk_rope_head_dim)
        if attention.q_lora_rank:
            yield Adapted(hidden, attention.q_lora_rank, 1, False, 1)
        yield Adapted(attention.q_lora_rank or hidden, query, 1, False)
        if not attention.shares_kv:
            yield Adapted(hidden, attention.kv_lora_rank + attention.qk_rope_head_dim, 1, False, 1)
        both = attention.heads * (attention.qk_nope_head_dim + attention.v_head_dim)
        yield Adapted(attention.kv_lora_rank, both, 1, False)
        yield Adapted(attention.heads * attention.v_head_dim, hidden, 1, True)
    part = group.feed_forward
    if part is None or not everywhere:
        return
    fan = 2 if part.gated else 1
    for width, copies in ((part.width, 1), (part.shared_width, 1), (part.expert_width, part.experts)):
        if width and copies:
            yield Adapted(hidden, width, fan * copies, False)
            yield Adapted(width, hidden, copies, True)
