"""The cache of compressed attention (DeepSeek V4) as vLLM lays it out: blocks that hold one page of each kind and layer.

Five kinds of page, in FP8 each rounded up to 576 bytes, in 16 bits to 512:

    entries of 4 tokens     block / 4 vectors, and beside them as many keys of the index
    entries of 128 tokens   block / 128 vectors
    window                  64 vectors of single tokens
    partial entries of 4    4 tokens x 16 d bytes, of the index 4 x 16 d_index: what an entry is made of, in 32 bits
    partial entries of 128  8 tokens x 8 d bytes

Entries make one group with a block of 256 tokens; windows (W tokens) and partial entries (8 and 128 tokens) are sliding
groups with blocks of 64, 4 and 8. A block of the pool is as wide as the widest group, and groups of many layers are cut so
that least is padded. Before 0.33 every group is padded to one page of each kind of entry a layer.
Source: vLLM 0.26 and 0.33 ``vllm/models/deepseek_v4/{attention,compressor}.py``, ``v1/core/kv_cache_utils.py``,
``v1/core/kv_cache_planning.py``; a start-up refusal of 0.22 (vllm-project/vllm#44376) is met to its last digit.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.perf.geometry import compressed_vector_bytes
from sim.perf.kv_groups import CacheGroup
from sim.spec.layers import CompressedAttention
from sim.spec.releases import parse_version

BLOCK_TOKENS = 256
_WINDOW_BLOCK, _SPARSE_STATE_BLOCK, _HEAVY_STATE_BLOCK = 64, 4, 8
_PACKED_SINCE = (0, 33)


class _Kind(NamedTuple):
    layers: int
    pages: tuple[int, ...]
    """Bytes of a layer's pages."""
    block: int
    window: int


def compressed_groups(
    layers: dict[CompressedAttention, int], element_bytes: float, block_size: int, version: str
) -> tuple[list[CacheGroup], float]:
    """Groups and bytes of a block for ``layers`` of each attention on one GPU; ``element_bytes``: of a stored number."""
    step = 576 if element_bytes == 1.0 else 512
    any_one = next(iter(layers))
    vector = compressed_vector_bytes(any_one, element_bytes)
    wide = 4.0 * 2 * any_one.head_dim

    def page(size: float) -> int:
        return -(-int(size) // step) * step

    sparse = {one: count for one, count in layers.items() if one.index_heads}
    heavy = {one: count for one, count in layers.items() if one.tokens_per_entry and not one.index_heads}
    entries: list[tuple[int, int]] = []
    sliding = [_Kind(sum(layers.values()), (page(_WINDOW_BLOCK * vector),), _WINDOW_BLOCK, any_one.window)]
    for one, count in sparse.items():
        held = block_size // one.tokens_per_entry
        entries += [(count, page(held * vector)), (count, page(held * (one.index_head_dim + 4)))]
        states = page(_SPARSE_STATE_BLOCK * 2 * wide), page(_SPARSE_STATE_BLOCK * 16.0 * one.index_head_dim)
        sliding.append(_Kind(count, states, _SPARSE_STATE_BLOCK, 2 * one.tokens_per_entry))
    for one, count in heavy.items():
        entries.append((count, page(max(1, block_size // one.tokens_per_entry) * vector)))
        sliding.append(_Kind(count, (page(_HEAVY_STATE_BLOCK * wide),), _HEAVY_STATE_BLOCK, one.tokens_per_entry))
    deepest = max((count for count, _ in entries), default=0)
    repeats = _least_padding([*([deepest] if deepest else []), *(kind.layers for kind in sliding)], deepest or 1)
    cut = [(kind, -(-kind.layers // repeats)) for kind in sliding]
    widest = sum(count * size for count, size in entries)
    if parse_version(version) < _PACKED_SINCE and entries:
        widest = repeats * sum({size: 0 for _, size in entries})
    widest = max([widest, *(-(-kind.layers // parts) * sum(kind.pages) for kind, parts in cut)])
    groups = [CacheGroup("full", deepest, block_size)] if deepest else []
    for kind, parts in cut:
        groups += [CacheGroup("sliding", -(-kind.layers // parts), kind.block, kind.window)] * parts
    return groups, float(widest)


def _least_padding(counts: list[int], at_least: int) -> int:
    """Layers a group so that rounding every count up to a multiple pads least; the larger where two pad alike."""
    found = range(at_least, max(counts) + 1) or [at_least]
    return max(found, key=lambda size: (-sum(-count % size for count in counts), size))
