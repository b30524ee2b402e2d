"""From the parts of a model to the matrices that a step multiplies: shape, number, number type, and how they are split.

The one table of the architecture; parameters, weight bytes and FLOPs are sums over it (``sim.perf.geometry``), step
times walk it (``sim.perf.roofline``).

    attention   H x (heads + 2 kv_heads) d, heads d_v x H         MLA: its low-rank factors
    state       H x columns_in, rows_out x H
    MLP         H x 2 I (gate and up), I x H                       not gated: H x I, I x H
    experts     the same, ``experts`` times, of which a token passes ``active_experts``
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from sim.spec.layers import (
    Attention,
    CompressedAttention,
    CrossAttention,
    FeedForward,
    FullAttention,
    LatentAttention,
    LayerGroup,
    Weights,
)  # fmt: skip
from sim.spec.model import ModelSpec

Part = Literal["attention", "attention_out", "mlp", "experts", "shared_experts"]


class Matrix(NamedTuple):
    """One matrix of each of ``layers`` equal layers."""

    part: Part
    rows: int
    columns: int
    layers: int
    weights: Weights
    copies: int = 1
    """Experts of a layer; 1 = every token uses the matrix."""
    used: int = 1
    """Copies that one token passes."""
    shards: int = 0
    """It is split over at most so many tensor-parallel ranks and repeated beyond; 0 = any number."""
    fan: int = 1
    """Projections that lie side by side in it: 2 = gate and up."""
    widens: bool = True
    """It leads from the hidden state inwards; False = back."""

    @property
    def parameters(self) -> int:
        """Of one copy."""
        return self.rows * self.columns

    def share(self, tensor_parallel: int) -> float:
        """Part of it that one of ``tensor_parallel`` GPUs holds."""
        return 1.0 / (min(tensor_parallel, self.shards) if self.shards else tensor_parallel)


@lru_cache(maxsize=256)
def matrices(model: ModelSpec) -> tuple[Matrix, ...]:
    """The matrices of ``model``'s layers, embedding and head apart, in the order of its stack."""
    return tuple(matrix for group in model.stack for matrix in group_matrices(model, group))


def group_matrices(model: ModelSpec, group: LayerGroup) -> Iterator[Matrix]:
    """The matrices of one group of layers."""
    hidden, default = model.hidden_size, Weights(dtype=model.weight_dtype)
    inner = group.weights.attention or default
    outer = group.weights.attention_out or inner
    for rows, columns, shards in _attention_in(group.attention, hidden):
        yield Matrix("attention", rows, columns, group.count, inner, shards=shards)
    if group.attention is not None:
        yield Matrix("attention_out", _attention_width(group.attention), hidden, group.count, outer)
    if group.state is not None:
        yield Matrix("attention", hidden, group.state.columns_in, group.count, inner, shards=group.state.heads)
        yield Matrix("attention_out", group.state.rows_out, hidden, group.count, outer, shards=group.state.heads)
    if group.feed_forward is not None:
        yield from _feed_forward(group, group.feed_forward, hidden, default)


def _attention_in(attention: Attention | None, hidden: int) -> Iterator[tuple[int, int, int]]:
    """``(rows, columns, shards)`` of the projections of an attention, but the last one."""
    if isinstance(attention, LatentAttention):
        yield from _latent_in(attention, hidden)
    elif isinstance(attention, CompressedAttention):
        yield from _compressed_in(attention, hidden)
    elif isinstance(attention, FullAttention):
        yield hidden, attention.heads * attention.head_dim * (2 if attention.gated else 1), 0
        if not attention.shares_kv:
            value = 0 if attention.k_is_v else attention.v_head_dim or attention.head_dim
            yield hidden, attention.kv_heads * (attention.head_dim + value), attention.kv_heads
        if attention.index_heads:
            yield hidden, (attention.index_heads + 1) * attention.index_head_dim, 1
    elif isinstance(attention, CrossAttention):
        yield hidden, attention.heads * attention.head_dim, 0
        yield hidden, attention.kv_heads * 2 * attention.head_dim, attention.kv_heads


def _latent_in(attention: LatentAttention, hidden: int) -> Iterator[tuple[int, int, int]]:
    query = attention.heads * (attention.qk_nope_head_dim + attention.qk_rope_head_dim)
    if attention.q_lora_rank:
        yield hidden, attention.q_lora_rank, 1
        yield attention.q_lora_rank, query, 0
    else:
        yield hidden, query, 0
    if not attention.shares_kv:
        yield hidden, attention.kv_lora_rank + attention.qk_rope_head_dim, 1
    yield attention.kv_lora_rank, attention.heads * (attention.qk_nope_head_dim + attention.v_head_dim), 0
    if attention.index_heads:
        yield attention.q_lora_rank or hidden, attention.index_heads * attention.index_head_dim, 1
        yield hidden, attention.index_head_dim + attention.index_heads, 1


def _compressed_in(attention: CompressedAttention, hidden: int) -> Iterator[tuple[int, int, int]]:
    """Entries with an index overlap: each is made of twice the tokens that it stands for."""
    yield hidden, attention.q_lora_rank + attention.head_dim, 1
    yield attention.q_lora_rank, attention.heads * attention.head_dim, 0
    if attention.tokens_per_entry:
        yield hidden, (4 if attention.index_heads else 2) * attention.head_dim, 1
    if attention.index_heads:
        yield attention.q_lora_rank, attention.index_heads * attention.index_head_dim, 1
        yield hidden, 4 * attention.index_head_dim + attention.index_heads, 1
    each = attention.heads // attention.out_groups * attention.head_dim
    yield each, attention.out_groups * attention.out_lora_rank, attention.out_groups


def _attention_width(attention: Attention) -> int:
    """Numbers that the heads of an attention give to its last projection."""
    if isinstance(attention, CompressedAttention):
        return attention.out_groups * attention.out_lora_rank
    if isinstance(attention, CrossAttention):
        return attention.heads * attention.head_dim
    if isinstance(attention, LatentAttention):
        return attention.heads * attention.v_head_dim
    return attention.heads * (attention.v_head_dim or attention.head_dim)


def _feed_forward(group: LayerGroup, part: FeedForward, hidden: int, default: Weights) -> Iterator[Matrix]:
    fan = 2 if part.gated else 1
    mlp = group.weights.mlp or default
    if part.width:
        yield Matrix("mlp", hidden, fan * part.width, group.count, mlp)
        yield Matrix("mlp", part.width, hidden, group.count, group.weights.mlp_out or mlp)
    if part.shared_width:
        shared = group.weights.shared_experts or mlp
        yield Matrix("shared_experts", hidden, fan * part.shared_width, group.count, shared)
        yield Matrix("shared_experts", part.shared_width, hidden, group.count, shared)
    if part.experts:
        experts, inside = group.weights.experts or default, part.expert_hidden_size or hidden
        if inside != hidden:
            yield Matrix("mlp", hidden, 2 * inside, group.count, mlp, shards=1)
        yield Matrix(
            "experts", inside, fan * part.expert_width, group.count, experts, part.experts, part.active_experts, fan=fan
        )
        yield Matrix(
            "experts", part.expert_width, inside, group.count, experts, part.experts, part.active_experts, widens=False
        )
