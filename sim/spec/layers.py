"""What one layer of a model is made of: an attention, a recurrent state, a feed-forward part, and their number types.

A layer reads its input of ``hidden_size`` numbers through an attention or a recurrent mixer (some models run both side by
side, some layers have neither) and then through a feed-forward part (dense, a mixture of experts, both, or none). Names
follow the papers: Vaswani 2017, GQA (Ainslie 2023), MLA (DeepSeek-V2), Mamba (Gu and Dao), gated delta (Yang 2024).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

WeightDtype = Literal[
    "bf16", "fp16", "fp8", "int8", "int8_weight_only", "fp6", "int6", "int5", "int4", "nf4", "fp4", "mxfp4", "int3", "int2",
    "ternary",
]  # fmt: skip
"""fp8, int8 and fp4 matrices are multiplied in their type where the GPU can; all others are read and multiplied in bf16."""
USUAL_GROUP = {
    "int6": 128, "int5": 128, "int4": 128, "int3": 128, "int2": 128, "fp6": 512, "nf4": 64, "fp4": 16, "mxfp4": 32,
}  # fmt: skip
"""Weights that share a scale where ``Weights.group_size`` is 0."""
USUAL_SCALE_BYTES = {
    # GPTQ, AWQ: an fp16 scale and a zero point of the weight's own bits
    "int6": 2.0 + 0.75, "int5": 2.0 + 0.625, "int4": 2.0 + 0.5, "int3": 2.0 + 0.375, "int2": 2.0 + 0.25,
    "fp6": 4.0,  # DeepSpeed
    "nf4": 1.0,  # double quantisation: the scale itself is stored in 8 bits
    "fp4": 1.0, "mxfp4": 1.0,
}  # fmt: skip
"""Bytes beside each group where ``Weights.scale_bytes`` is 0."""
LARGEST = 10_000_000
"""No width or count of a real model comes near it; a larger one is a mistyped number."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Weights:
    """How the matrices of a part are stored."""

    dtype: WeightDtype
    """Number type."""
    group_size: int = Field(default=0, ge=0, le=LARGEST)
    """Weights that share one scale; 0 = the usual of the format (``USUAL_GROUP``)."""
    scale_bytes: float = Field(default=0.0, ge=0, le=64)
    """Stored for each such group: scale and zero point; 0 = the usual of the format (``USUAL_SCALE_BYTES``)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PartWeights:
    """Number types of one layer's parts; None = the model's ``weight_dtype``."""

    attention: Weights | None = None
    """Projections before the attention or the recurrent state."""
    attention_out: Weights | None = None
    """The output projection, where it differs."""
    mlp: Weights | None = None
    """Gate and up projections of the dense MLP, and down where ``mlp_out`` is null."""
    mlp_out: Weights | None = None
    """The down projection, where it differs."""
    experts: Weights | None = None
    """Routed experts."""
    shared_experts: Weights | None = None
    """Experts that every token passes."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FullAttention:
    """Softmax attention with K and V of every token: multi-head, grouped-query or multi-query."""

    kind: Literal["full"] = "full"
    """Softmax attention over every token, or those of a window."""
    heads: int = Field(ge=1, le=LARGEST)
    """Query heads."""
    kv_heads: int = Field(ge=1, le=LARGEST)
    """Key and value heads; must divide ``heads``."""
    head_dim: int = Field(ge=1, le=LARGEST)
    """Numbers a head compares."""
    v_head_dim: int | None = Field(default=None, ge=1, le=LARGEST)
    """Numbers of a value head; None = ``head_dim``."""
    window: int | None = Field(default=None, ge=1)
    """Tokens that a query sees, itself included; None = all before it."""
    window_kind: Literal["sliding", "chunk"] = "sliding"
    """chunk: the sequence is cut into pieces of ``window`` tokens that do not see one another (Llama 4)."""
    bias: bool = False
    """Of the Q, K and V projections."""
    gated: bool = False
    """A gate of Q's width is computed beside Q and multiplies the output (Qwen3-Next)."""
    qk_norm: bool = False
    """Q and K are normalised head by head before they are compared (Qwen3, Gemma 3): kernels of their own in each layer."""
    k_is_v: bool = False
    """V is K before its norm and rotation: no matrix of its own, both are cached (Gemma 4)."""
    shares_kv: bool = False
    """Reads K and V that an earlier layer wrote: no projections, no cache of its own (Gemma 3n)."""
    index_heads: int = Field(default=0, ge=0, le=LARGEST)
    """Heads of the index that chooses ``index_top_k`` tokens for each query (sparse attention); 0 = reads all."""
    index_head_dim: int = Field(default=0, ge=0, le=LARGEST)
    """Numbers a head of the index compares."""
    index_top_k: int = Field(default=0, ge=0)
    """Tokens that a query reads, chosen by the index; 0 = all."""

    @model_validator(mode="after")
    def _check(self) -> FullAttention:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads must be a multiple of kv_heads, but got {self.heads} and {self.kv_heads}")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LatentAttention:
    """Multi-head latent attention (MLA): one latent of ``kv_lora_rank + qk_rope_head_dim`` a token for all heads."""

    kind: Literal["mla"] = "mla"
    """Multi-head latent attention."""
    heads: int = Field(ge=1, le=LARGEST)
    """Query heads."""
    q_lora_rank: int | None = Field(default=None, ge=1, le=LARGEST)
    """None = Q is one matrix."""
    kv_lora_rank: int = Field(ge=1, le=LARGEST)
    """Numbers of the latent of a token."""
    qk_nope_head_dim: int = Field(ge=0, le=LARGEST)
    """Numbers a head compares without position."""
    qk_rope_head_dim: int = Field(ge=0, le=LARGEST)
    """Numbers a head compares with position, shared by all heads."""
    v_head_dim: int = Field(ge=1, le=LARGEST)
    """Numbers a head gives out."""
    shares_kv: bool = False
    """Reads the latent that an earlier layer wrote: no projection to it, no cache of it (Mistral Large 4)."""
    index_heads: int = Field(default=0, ge=0, le=LARGEST)
    """Heads of the index that chooses ``index_top_k`` tokens for each query (DeepSeek sparse attention); 0 = no index."""
    index_head_dim: int = Field(default=0, ge=0, le=LARGEST)
    """Numbers a head of the index compares."""
    index_top_k: int = Field(default=0, ge=0)
    """Tokens that a query reads, chosen by an index of its own or of an earlier layer; 0 = all."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CompressedAttention:
    """Attention to a window of single tokens and, before it, to entries that each stand for several (DeepSeek V4): one
    vector a token, or an entry, is key and value of all heads."""

    kind: Literal["compressed"] = "compressed"
    """A window beside compressed entries."""
    heads: int = Field(ge=1, le=LARGEST)
    """Query heads."""
    head_dim: int = Field(ge=1, le=LARGEST)
    """Numbers of a key, which is the value too."""
    q_lora_rank: int = Field(ge=1, le=LARGEST)
    """Numbers that queries are made from."""
    out_groups: int = Field(ge=1, le=LARGEST)
    """Groups of heads whose output is projected apart; must divide ``heads``."""
    out_lora_rank: int = Field(ge=1, le=LARGEST)
    """Numbers that a group gives out."""
    window: int = Field(ge=1)
    """Tokens that a query sees one by one, itself included."""
    tokens_per_entry: int = Field(default=0, ge=0, le=LARGEST)
    """Tokens that one entry stands for; 0 = there is nothing but the window."""
    index_heads: int = Field(default=0, ge=0, le=LARGEST)
    """Heads of the index that chooses ``index_top_k`` entries for each query; 0 = all are read."""
    index_head_dim: int = Field(default=0, ge=0, le=LARGEST)
    """Numbers a head of the index compares."""
    index_top_k: int = Field(default=0, ge=0)
    """Entries that a query reads; 0 = all."""

    @model_validator(mode="after")
    def _check(self) -> CompressedAttention:
        if self.heads % self.out_groups:
            raise ValueError(f"heads must be a multiple of out_groups, but got {self.heads} and {self.out_groups}")
        if self.index_heads and not self.tokens_per_entry:
            raise ValueError("an index chooses entries: index_heads needs tokens_per_entry")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CrossAttention:
    """Attention to the states of a tower (Llama 3.2 Vision): text tokens leave nothing in its cache."""

    kind: Literal["cross"] = "cross"
    """Attention to a tower."""
    heads: int = Field(ge=1, le=LARGEST)
    """Query heads."""
    kv_heads: int = Field(ge=1, le=LARGEST)
    """Key and value heads."""
    head_dim: int = Field(ge=1, le=LARGEST)
    """Numbers a head compares."""


def _kind(stated: Any) -> Any:
    return stated.get("kind", "full") if isinstance(stated, dict) else getattr(stated, "kind", None)


Attention = Annotated[
    Annotated[FullAttention, Tag("full")]
    | Annotated[LatentAttention, Tag("mla")]
    | Annotated[CompressedAttention, Tag("compressed")]
    | Annotated[CrossAttention, Tag("cross")],
    Discriminator(_kind),
]
"""Where a kind is not stated it is ``full``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RecurrentState:
    """A mixer whose memory does not grow with the sequence: state-space models and linear attention.

    Its projections read ``hidden_size`` into ``columns_in`` numbers and write ``rows_out`` of them back; a short
    convolution and the state are kept for each sequence.
    """

    form: Literal["mamba1", "mamba2", "gated_delta", "kda", "lightning", "short_conv", "rwkv"]
    """Which mixer it is; the numbers below say all that counts."""
    columns_in: int = Field(ge=1, le=LARGEST)
    """Width of the projections that read the hidden state."""
    rows_out: int = Field(ge=1, le=LARGEST)
    """Width of the projection that writes it back."""
    inner_parameters: int = Field(default=0, ge=0)
    """Convolution, time-step and decay parameters, norms, low-rank projections between input and output."""
    conv_elements: int = Field(default=0, ge=0)
    """Numbers that a sequence keeps for the convolution, in 16 bits."""
    state_elements: int = Field(default=0, ge=0)
    """Numbers of the state that a sequence keeps."""
    state_dtype: Literal["bf16", "fp16", "fp32"] = "bf16"
    """Type of the state."""
    heads: int = Field(default=1, ge=1, le=LARGEST)
    """Over at most so many tensor-parallel ranks the state is split."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FeedForward:
    """Dense MLP, mixture of experts, or both side by side (Arctic, Gemma 4)."""

    width: int = Field(default=0, ge=0, le=LARGEST)
    """Of the dense MLP; 0 = none."""
    gated: bool = True
    """Gate, up and down projections; False = up and down only."""
    experts: int = Field(default=0, ge=0, le=LARGEST)
    """Routed experts; 0 = none."""
    active_experts: int = Field(default=0, ge=0, le=LARGEST)
    """Routed experts that a token passes."""
    expert_width: int = Field(default=0, ge=0, le=LARGEST)
    """Inner width of one routed expert."""
    expert_hidden_size: int | None = Field(default=None, ge=1, le=LARGEST)
    """Size of the space in which the experts work where it is not ``hidden_size`` (a projection leads there and back)."""
    shared_width: int = Field(default=0, ge=0, le=LARGEST)
    """Of the experts that every token passes, together."""

    @model_validator(mode="after")
    def _check(self) -> FeedForward:
        if self.experts and not 1 <= self.active_experts <= self.experts:
            raise ValueError(f"1 <= active_experts <= experts must hold, but got {self.active_experts} of {self.experts}")
        if self.experts and not self.expert_width:
            raise ValueError("experts need an expert_width of at least 1")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LayerGroup:
    """``count`` equal layers, wherever they stand in the model."""

    count: int = Field(ge=1, le=100_000)
    """Equal layers."""
    attention: Attention | None = None
    """How its tokens see one another; null = not at all."""
    state: RecurrentState | None = None
    """Recurrent mixer beside the attention or in its place; null = none."""
    feed_forward: FeedForward | None = None
    """Dense MLP, mixture of experts or both; null = none."""
    norms: int = Field(default=2, ge=0, le=100)
    """Vectors of ``hidden_size``."""
    other_parameters: int = Field(default=0, ge=0)
    """Of one layer, 16 bits: what the parts do not name."""
    weights: PartWeights = Field(default_factory=PartWeights)
    """Number types of the parts."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tower:
    """An encoder beside the language model: its weights lie on every GPU of the first stage, in 16 bits."""

    name: Literal["vision", "audio"]
    """What it encodes."""
    parameters: int = Field(ge=0)
    """How many, its projector included."""
    width: int = Field(default=0, ge=0, le=LARGEST)
    """Of its hidden state."""
    inner_width: int = Field(default=0, ge=0, le=LARGEST)
    """Of its feed-forward part, for the memory of its profiling pass."""
    largest_input: int = Field(default=0, ge=0, le=LARGEST)
    """Patches (frames) of the largest picture (clip) that it is profiled with."""
    estimated: bool = False
    """The file does not state all of it."""
