"""The attention of a layer, from the spellings of its heads."""

from __future__ import annotations

from dataclasses import replace

from sim.perf.hf_config.facts import Facts
from sim.spec.layers import CrossAttention, FullAttention, LatentAttention

HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads", "decoder_attention_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "kv_n_heads", "n_kv_heads", "num_query_groups")
_HEAD_DIM = ("head_dim", "attention_head_dim", "head_size", "kv_channels", "dim_head", "d_kv")
_QK_NORM = ("use_qk_norm", "qk_layernorm", "use_qk_layernorm")
_NORMED_QK = {
    "qwen3", "qwen3_moe", "qwen3_vl_text", "qwen3_vl_moe_text", "qwen3_omni_moe_text", "qwen3_next", "qwen3_5_text",
    "qwen3_5_moe_text", "gemma3", "gemma3_text", "gemma3n_text", "gemma4_text", "gemma4_unified_text", "olmo2", "olmo3",
    "olmoe", "olmo_hybrid", "flex_olmo", "exaone4", "exaone_moe", "apertus", "minimax_m2", "minimax_m3_vl_text", "dots1",
    "afmoe", "hunyuan_v1_dense", "hunyuan_v1_moe", "bailing_moe_v2", "nanochat",
}  # fmt: skip
"""Model types whose class normalises Q and K; others say so by one of ``_QK_NORM``. Source: transformers 5.24."""
_BIAS = ("attention_bias", "qkv_bias", "use_qkv_bias", "add_qkv_bias", "use_bias", "bias")


def grouped(
    facts: Facts, layers: int, hidden: int, kinds: list[str], *, bias: bool, gated: bool
) -> list[FullAttention | None]:
    """Multi-head, grouped-query or multi-query attention of each layer that has one (None = it has none)."""
    heads = facts.each(layers, "num_attention_heads_per_layer", *HEADS, low=1)
    kv_heads = _kv_heads(facts, layers, heads)
    name, stated = facts.found(*_HEAD_DIM)
    if stated is None and any(hidden % one or hidden < one for one in heads):
        raise facts.refused(facts.found(*HEADS)[0], f"must divide hidden_size ({hidden}), but got {heads[0]}")
    head_dim = facts.each(layers, name, default=hidden // heads[0], low=1)
    value = facts.whole("v_head_dim") or None
    biased = facts.flag(*_BIAS, default=bias)
    if facts.kind == "laguna":  # gating by head is a number a head
        gated = facts.found("gating")[1] not in (None, True, "per-head")
    own_gate = facts.flag("attn_output_gate", "attention_output_gate", "use_attention_gate", default=gated)
    normed = facts.flag(*_QK_NORM, default=facts.kind in _NORMED_QK)
    window = facts.whole("sliding_window", "sliding_window_size", "attention_window_size", "window_size", high=10**12)
    chunk = facts.whole("attention_chunk_size", high=10**12)
    found: list[FullAttention | None] = []
    for layer, kind in enumerate(kinds):
        if kind in ("state", "none", "cross"):
            found.append(None)
            continue
        _divides(facts, heads[layer], kv_heads[layer])
        one = FullAttention(
            heads=heads[layer],
            kv_heads=kv_heads[layer],
            head_dim=head_dim[layer],
            v_head_dim=value,
            bias=biased,
            gated=own_gate,
            qk_norm=normed,
        )
        if kind == "sliding":
            one = _sliding(facts, replace(one, window=window))
        elif kind == "chunk" and chunk:
            one = replace(one, window=chunk, window_kind="chunk")
        elif kind == "indexed":
            one = _indexed(facts, one)
        found.append(one)
    return found


def latent(facts: Facts, layers: int, kinds: list[str]) -> list[LatentAttention | None]:
    """Multi-head latent attention of each layer that has one, with the index of sparse attention where there is one."""
    heads = facts.size(*HEADS)
    base = LatentAttention(
        heads=heads,
        q_lora_rank=facts.whole("q_lora_rank") or None,
        kv_lora_rank=facts.size("kv_lora_rank"),
        qk_nope_head_dim=facts.whole("qk_nope_head_dim"),
        qk_rope_head_dim=facts.whole("qk_rope_head_dim"),
        v_head_dim=facts.size("v_head_dim"),
    )
    top_k = facts.whole("index_topk", high=10**9)
    owners = facts.words("indexer_types", layers) or ("full",) * layers
    turned, sources = _turned(facts, layers), facts.numbers("kv_source_layers") or range(layers)
    if len(sources) < layers:
        raise facts.refused(
            "kv_source_layers", f"must have one entry for each of the {layers} layers, but got {len(sources)}"
        )
    found: list[LatentAttention | None] = []
    for layer, (kind, owner) in enumerate(zip(kinds, owners, strict=True)):
        if kind in ("state", "none"):
            found.append(None)
            continue
        one = replace(base, index_top_k=top_k, shares_kv=sources[layer] != layer)
        if not turned[layer]:
            one = replace(one, qk_nope_head_dim=base.qk_nope_head_dim + base.qk_rope_head_dim, qk_rope_head_dim=0)
        if top_k and owner == "full":
            one = replace(one, index_heads=facts.size("index_n_heads"), index_head_dim=facts.size("index_head_dim"))
        found.append(one)
    return found


def _turned(facts: Facts, layers: int) -> tuple[bool, ...]:
    """Which layers have positions in their keys: all, but of Mistral Large 4 those that ``no_rope_layers`` marks with 0."""
    if facts.kind != "mistral_large4_text":
        return (True,) * layers
    interval = facts.whole("no_rope_layer_interval", default=4, low=1)
    marks = facts.numbers("no_rope_layers") or tuple((layer + 1) % interval for layer in range(layers))
    if len(marks) < layers:
        raise facts.refused("no_rope_layers", f"must have one entry for each of the {layers} layers, but got {len(marks)}")
    return tuple(bool(mark) for mark in marks[:layers])


def cross(facts: Facts, hidden: int) -> CrossAttention:
    """Attention to a tower's states."""
    heads = facts.size(*HEADS)
    kv_heads = facts.whole(*_KV_HEADS, default=heads, low=1)
    _divides(facts, heads, kv_heads)
    return CrossAttention(heads=heads, kv_heads=kv_heads, head_dim=facts.whole(*_HEAD_DIM, default=hidden // heads, low=1))


def _kv_heads(facts: Facts, layers: int, heads: tuple[int, ...]) -> tuple[int, ...]:
    """Key and value heads: stated, one for all (multi-query), or one for each query head."""
    if facts.flag("multi_query_attention"):
        return facts.each(layers, "multi_query_group_num", low=1)
    if facts.flag("multi_query") and not facts.flag("new_decoder_architecture"):
        return (1,) * layers
    if not facts.says(*_KV_HEADS) and "num_key_value_heads" in facts.defaults:
        default = int(facts.defaults["num_key_value_heads"])
        if "num_key_value_heads" in facts.stated or any(one % default for one in heads):
            return heads
    name, value = facts.found(*_KV_HEADS)
    return heads if value is None else facts.each(layers, name, low=1)


def _divides(facts: Facts, heads: int, kv_heads: int) -> None:
    if heads % kv_heads:
        raise facts.refused(facts.found(*_KV_HEADS)[0], f"must divide the {heads} attention heads, but got {kv_heads}")


def _sliding(facts: Facts, base: FullAttention) -> FullAttention:
    """A sliding layer's own heads, where they differ from the others'."""
    heads = facts.whole("swa_num_attention_heads") or base.heads
    usual = base.kv_heads * (2 if facts.kind == "mimo_v2_flash" else 1)  # as its class has it; original files say so
    kv_heads = facts.whole("swa_num_key_value_heads") or usual
    if heads % kv_heads:
        raise facts.refused("swa_num_key_value_heads", f"must divide the {heads} attention heads, but got {kv_heads}")
    return replace(
        base, heads=heads, kv_heads=kv_heads, head_dim=facts.whole("swa_head_dim") or base.head_dim,
        v_head_dim=facts.whole("swa_v_head_dim") or base.v_head_dim,
    )  # fmt: skip


def _indexed(facts: Facts, base: FullAttention) -> FullAttention:
    """Sparse attention over grouped heads: an index of its own chooses blocks of tokens (MiniMax M3)."""
    own = facts.inner("sparse_attention_config") or facts
    heads = own.whole("sparse_num_index_heads", "index_n_heads")
    size = own.whole("sparse_index_dim", "index_head_dim")
    blocks, block = own.whole("sparse_topk_blocks", "index_topk_blocks"), own.whole("sparse_block_size", "index_block_size")
    return replace(base, index_heads=heads, index_head_dim=size, index_top_k=blocks * block)
