"""Recurrent mixers from their published parameters: state-space models, linear attention, short convolutions.

Shapes are those of the reference implementations (transformers 5.24 ``modeling_*``) and of vLLM's state caches
(``vllm/model_executor/layers/mamba/mamba_utils.py``, 0.33): a convolution of k taps keeps its last k - 1 inputs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from sim.perf.hf_config.facts import Facts
from sim.spec.layers import RecurrentState


def mamba1(facts: Facts, hidden: int) -> RecurrentState:
    """Mamba (Gu and Dao 2023): ``x`` and a gate in; time steps through a low rank; one state of N a channel."""
    alone = not facts.says("num_attention_heads")  # else intermediate_size is the MLP's
    inner = (facts.whole("intermediate_size") if alone and facts.says("intermediate_size") else 0) or _inner(facts, hidden)
    size, taps = facts.size("mamba_d_state", "state_size"), facts.whole("mamba_d_conv", "conv_kernel", default=4, low=1)
    rank = facts.whole("mamba_dt_rank", "time_step_rank") or -(-hidden // 16)
    small = inner * (taps + 1) + inner * (rank + 2 * size) + rank * inner + inner + inner * size + inner
    return RecurrentState(
        form="mamba1", columns_in=2 * inner, rows_out=inner, inner_parameters=small, conv_elements=inner * (taps - 1),
        state_elements=inner * size, state_dtype=_state_dtype(facts), heads=inner,
    )  # fmt: skip


def mamba2(facts: Facts, hidden: int) -> RecurrentState:
    """Mamba 2 (Dao and Gu 2024): heads of a matrix state, B and C shared by groups of heads."""
    heads = facts.size("mamba_num_heads", "mamba_n_heads", "n_mamba_heads", "num_heads")
    head = facts.whole("mamba_head_dim", "mamba_d_head", "mamba_headdim", "head_dim")
    inner = heads * head if head else _inner(facts, hidden)
    size = facts.size("ssm_state_size", "mamba_d_state", "state_size")
    groups = facts.whole("mamba_n_groups", "mamba_ngroups", "n_groups", default=1, low=1)
    taps = facts.whole("mamba_d_conv", "conv_kernel", default=4, low=1)
    channels = inner + 2 * groups * size
    return RecurrentState(
        form="mamba2", columns_in=inner + channels + heads, rows_out=inner,
        inner_parameters=channels * (taps + 1) + 3 * heads + inner, conv_elements=channels * (taps - 1),
        state_elements=inner * size, state_dtype=_state_dtype(facts), heads=heads,
    )  # fmt: skip


def gated_delta(facts: Facts, hidden: int) -> RecurrentState:
    """Gated delta net (Yang 2024) as in Qwen3-Next: Q, K, V and an output gate in, two gates a head."""
    key_heads, heads = facts.size("linear_num_key_heads"), facts.size("linear_num_value_heads")
    key, value = facts.size("linear_key_head_dim"), facts.size("linear_value_head_dim")
    taps = facts.whole("linear_conv_kernel_dim", default=4, low=1)
    channels = 2 * key_heads * key + heads * value
    return RecurrentState(
        form="gated_delta", columns_in=channels + heads * value + 2 * heads, rows_out=heads * value,
        inner_parameters=channels * taps + 2 * heads + value, conv_elements=channels * (taps - 1),
        state_elements=heads * key * value, state_dtype=_state_dtype(facts), heads=key_heads,
    )  # fmt: skip


def kda(facts: Facts, hidden: int) -> RecurrentState:
    """Kimi delta attention: gated delta with a decay for each channel, through a low rank."""
    own = facts.inner("linear_attn_config") or facts
    heads, size = own.size("num_heads", "linear_num_heads"), own.size("head_dim", "linear_head_dim")
    taps = own.whole("short_conv_kernel_size", "linear_conv_kernel_dim", default=4, low=1)
    width = heads * size
    small = 3 * width * taps + 2 * (hidden * size + size * width) + heads + width + size
    return RecurrentState(
        form="kda", columns_in=3 * width + heads, rows_out=width, inner_parameters=small,
        conv_elements=3 * width * (taps - 1), state_elements=width * size, state_dtype="fp32", heads=heads,
    )  # fmt: skip


def kda_full_gates(facts: Facts, hidden: int) -> RecurrentState:
    """Kimi delta attention with full matrices for decay and output gate (Bailing hybrid)."""
    low_rank = kda(facts, hidden)
    width = low_rank.rows_out
    size = width // low_rank.heads
    small = low_rank.inner_parameters - 2 * (hidden * size + size * width)
    return replace(low_rank, columns_in=low_rank.columns_in + 2 * width, inner_parameters=small)


def lightning(facts: Facts, hidden: int) -> RecurrentState:
    """Lightning attention (MiniMax): Q, K, V and an output gate in, one K x V state a head."""
    heads = facts.size("num_attention_heads")
    width = heads * facts.whole("head_dim", default=hidden // heads, low=1)
    return RecurrentState(
        form="lightning", columns_in=4 * width, rows_out=width, inner_parameters=width,
        state_elements=width * (width // heads), state_dtype="fp32", heads=heads,
    )  # fmt: skip


def short_conv(facts: Facts, hidden: int) -> RecurrentState:
    """Gated short convolution (LFM2): its inputs are all that it keeps."""
    taps = facts.whole("conv_L_cache", default=3, low=1)
    return RecurrentState(
        form="short_conv", columns_in=3 * hidden, rows_out=hidden, inner_parameters=hidden * taps,
        conv_elements=hidden * (taps - 1), heads=hidden,
    )  # fmt: skip


def rg_lru(facts: Facts, hidden: int) -> RecurrentState:
    """Real-gated linear recurrent unit (Griffin): one number a channel."""
    width = facts.whole("lru_width") or hidden
    heads = facts.size("num_attention_heads")
    taps = facts.whole("conv1d_width", default=4, low=1)
    return RecurrentState(
        form="short_conv", columns_in=2 * width, rows_out=width,
        inner_parameters=width * (taps + 1) + 2 * (width * width // heads + width) + width + 2 * width + hidden,
        conv_elements=width * (taps - 1), state_elements=width, state_dtype="fp32", heads=heads,
    )  # fmt: skip


def _inner(facts: Facts, hidden: int) -> int:
    return int(facts.number("mamba_expand", "expand", default=2.0) * hidden)


def _state_dtype(facts: Facts) -> Literal["bf16", "fp16", "fp32"]:
    """What a published file says of its state; the model's own type where it says nothing."""
    stated = facts.text("mamba_ssm_dtype", "mamba_ssm_cache_dtype", default="auto")
    known: dict[str, Literal["bf16", "fp16", "fp32"]] = {
        "auto": "bf16", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16",
    }  # fmt: skip
    if stated not in known:
        raise facts.refused("mamba_ssm_dtype", f"known are {', '.join(known)}, but got {stated!r}")
    return known[stated]
