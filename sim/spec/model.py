"""What a model is, as far as capacity goes: its geometry. Names follow Hugging Face's ``config.json``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from sim.spec.strict import STRICT

WeightDtype = Literal["bf16", "fp16", "fp8", "int8", "int4", "fp4"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelSpec:
    """Geometry and weight format of a decoder-only transformer.

    Parameter counts, KV bytes and step times are derived from these numbers (``sim.perf``), never stored.
    """

    name: str
    """Preset name, e.g. ``llama3_8b``; step-time tables are found by it."""
    layers: int = Field(ge=1)
    hidden_size: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)
    intermediate_size: int = Field(ge=0)
    vocab_size: int = Field(ge=1)
    max_context: int = Field(ge=2)
    """Longest sequence (prompt + answer) the model was made for, tokens."""
    tied_embeddings: bool = False
    qkv_bias: bool = False
    gated_mlp: bool = True
    weight_dtype: WeightDtype = "bf16"
    attention: Literal["mha", "gqa", "mla"] = "gqa"
    mla_q_lora_rank: int | None = Field(default=None, ge=1)
    mla_kv_lora_rank: int | None = Field(default=None, ge=1)
    mla_qk_nope_head_dim: int | None = Field(default=None, ge=1)
    mla_qk_rope_head_dim: int | None = Field(default=None, ge=1)
    mla_v_head_dim: int | None = Field(default=None, ge=1)
    moe_experts: int = Field(default=0, ge=0)
    """Routed experts a layer; 0 = dense."""
    moe_active_experts: int = Field(default=0, ge=0)
    moe_shared_experts: int = Field(default=0, ge=0)
    moe_intermediate_size: int = Field(default=0, ge=0)
    moe_dense_first_layers: int = Field(default=0, ge=0)
    sliding_window: int | None = Field(default=None, ge=1)
    sliding_window_layers: int = Field(default=0, ge=0)
    hf_config: str | None = None
    """Path of a Hugging Face ``config.json``; its geometry replaces the fields above (read by the command line)."""
    source: str = ""
    """Where the geometry comes from."""

    @model_validator(mode="after")
    def _check(self) -> ModelSpec:
        if self.attention == "mla" and (self.mla_kv_lora_rank is None or self.mla_qk_rope_head_dim is None):
            raise ValueError("attention=mla needs mla_kv_lora_rank and mla_qk_rope_head_dim")
        if self.moe_experts and not 1 <= self.moe_active_experts <= self.moe_experts:
            raise ValueError(
                f"1 <= moe_active_experts <= moe_experts must hold, but got {self.moe_active_experts} of {self.moe_experts}"
            )
        if self.heads % self.kv_heads:
            raise ValueError(f"heads must be a multiple of kv_heads, but got {self.heads} and {self.kv_heads}")
        return self
