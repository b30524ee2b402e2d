"""From the attention of each group of layers to what a step reads and computes: cache bytes and (query, key) pairs.

A decode reads, in each layer, what its context left in the cache, at most the window's part. A prefill computes
``4 x heads x width`` FLOP a (query, key) pair, where width is the mean of what a head compares and what it adds up.
Sparse attention (an index that chooses ``top_k`` tokens) reads and compares its small index over the whole context and
the chosen tokens only; the chosen are modelled as a window of ``top_k``. Compressed attention (DeepSeek V4) reads its
window token by token and an entry for every few tokens before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from sim.perf.geometry import compressed_vector_bytes, kv_element_bytes, layer_kv_bytes, window_of
from sim.spec.layers import CompressedAttention, FullAttention, LatentAttention, LayerGroup
from sim.spec.model import ModelSpec


class CacheRead(NamedTuple):
    """What equal layers read for each token of a decode's context."""

    layers: int
    bytes_per_token: float
    """Of one layer, on one GPU."""
    window: int | None
    """Tokens of the context that are read at most."""
    queries_per_head: int
    """Query heads that share a key head: 1 = multi-head attention."""
    flop_per_token: float
    """Computed on one GPU for each token of a decode's context, one layer: what latent attention is bound by."""


class PairWork(NamedTuple):
    """What equal layers compute for each (query, key) pair of a prefill."""

    layers: int
    flop: float
    """Of one layer, all heads, every GPU together."""
    window: int | None


def cache_reads(model: ModelSpec, kv_dtype: str, tensor_parallel: int) -> list[CacheRead]:
    """The reads of ``model``'s layers with attention, in the order of its stack."""
    found: list[CacheRead] = []
    for group in model.stack:
        attention = group.attention
        if isinstance(attention, CompressedAttention):
            element = kv_element_bytes(kv_dtype, model)
            found += _compressed_reads(group.count, attention, compressed_vector_bytes(attention, element), tensor_parallel)
            continue
        if isinstance(attention, FullAttention | LatentAttention) and attention.shares_kv:  # read all the same
            group = replace(group, attention=replace(attention, shares_kv=False))
        size = layer_kv_bytes(model, group, kv_dtype, tensor_parallel)
        if not size or not isinstance(attention, FullAttention | LatentAttention):
            continue
        if attention.index_top_k:
            without = replace(group, attention=replace(attention, index_heads=0, index_head_dim=0))
            main = layer_kv_bytes(model, without, kv_dtype, tensor_parallel)
            found.append(CacheRead(group.count, main, attention.index_top_k, *_decode_work(attention, tensor_parallel)))
            if size > main:
                found.append(CacheRead(group.count, size - main, None, attention.index_heads, 0.0))
        else:
            found.append(CacheRead(group.count, size, window_of(group), *_decode_work(attention, tensor_parallel)))
    return found


def _compressed_reads(layers: int, attention: CompressedAttention, vector: float, tensor_parallel: int) -> list[CacheRead]:
    """The window token by token; of the entries all, or those that the index chose, and the index itself."""
    each, flop = attention.tokens_per_entry, 4.0 * attention.heads * attention.head_dim / tensor_parallel
    found = [CacheRead(layers, vector, attention.window, attention.heads, flop)]
    if each:
        chosen = attention.index_top_k * each or None
        found.append(CacheRead(layers, vector / each, chosen, attention.heads, flop / each))
    if attention.index_heads:
        found.append(CacheRead(layers, (attention.index_head_dim + 4.0) / each, None, attention.index_heads, 0.0))
    return found


def _decode_work(attention: FullAttention | LatentAttention, tensor_parallel: int) -> tuple[int, float]:
    """Query heads that share a key, and FLOP a token of context on one GPU. Latent attention compares and adds up the latent
    itself, for every head (its up-projections are absorbed)."""
    if isinstance(attention, LatentAttention):
        width = 2 * attention.kv_lora_rank + attention.qk_rope_head_dim
        return attention.heads, 2.0 * attention.heads * width / tensor_parallel
    width = attention.head_dim + (attention.v_head_dim or attention.head_dim)
    return attention.heads // attention.kv_heads, 2.0 * attention.heads * width / tensor_parallel


def pair_works(model: ModelSpec) -> list[PairWork]:
    """The pair work of ``model``'s layers with attention, in the order of its stack."""
    return [work for group in model.stack for work in _pairs(group)]


def full_pair_flop(model: ModelSpec) -> float:
    """FLOP of one pair in all layers without a window."""
    return sum(work.layers * work.flop for work in pair_works(model) if work.window is None)


def main_window(model: ModelSpec) -> int:
    """The window in which most of the pair work lies, tokens; 0 = there is none."""
    work: dict[int, float] = {}
    for one in pair_works(model):
        if one.window is not None:
            work[one.window] = work.get(one.window, 0.0) + one.layers * one.flop * one.window
    return max(work, key=lambda window: (work[window], window), default=0)


def _pairs(group: LayerGroup) -> Iterator[PairWork]:
    attention = group.attention
    if isinstance(attention, LatentAttention):
        width = (attention.qk_nope_head_dim + attention.qk_rope_head_dim + attention.v_head_dim) / 2
        yield PairWork(group.count, 4.0 * attention.heads * width, attention.index_top_k or None)
    elif isinstance(attention, FullAttention):
        width = (attention.head_dim + (attention.v_head_dim or attention.head_dim)) / 2
        yield PairWork(group.count, 4.0 * attention.heads * width, attention.index_top_k or attention.window)
    elif isinstance(attention, CompressedAttention):
        each, flop = attention.tokens_per_entry, 4.0 * attention.heads * attention.head_dim
        yield PairWork(group.count, flop, attention.window)
        if each:
            yield PairWork(group.count, flop / each, attention.index_top_k * each or None)
    if isinstance(attention, LatentAttention | FullAttention | CompressedAttention) and attention.index_heads:
        entries = attention.tokens_per_entry if isinstance(attention, CompressedAttention) else 1
        yield PairWork(group.count, 2.0 * attention.index_heads * attention.index_head_dim / entries, None)
