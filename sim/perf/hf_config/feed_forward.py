"""The feed-forward part of a layer, from the spellings of its widths and experts."""

from __future__ import annotations

from sim.perf.hf_config.facts import Facts
from sim.spec.layers import FeedForward

EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts", "n_experts")
_ACTIVE = (
    "num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_top_k", "moe_topk", "moe_k", "top_k_experts",
    "num_selected_experts",
)  # fmt: skip
_WIDTH = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "dff", "d_ff", "decoder_ffn_dim")
_SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")
_SHARED_WIDTH = (
    "shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", "shared_intermediate_size", "share_expert_dim",
    "shared_experts_intermediate_size",
)  # fmt: skip


def expert_count(facts: Facts) -> int:
    """Routed experts of a mixture layer; 0 = none. Where layers differ, the most."""
    name, value = facts.found(*EXPERTS)
    if isinstance(value, list):
        return max((one for one in value if isinstance(one, int)), default=0)
    return facts.whole(name)


def feed_forwards(
    facts: Facts, layers: int, hidden: int, kinds: list[str], *, gated: bool, beside: str, halved: bool, shared: int
) -> list[FeedForward | None]:
    """The feed-forward part of each layer. ``beside``: mixtures have a dense MLP beside their
    experts, as wide as the file says (``mlp``, Gemma 4) or as the hidden state (``residual``, Arctic);
    ``halved``: the stated width counts gate and up together (Qwen 1)."""
    experts = expert_count(facts)
    dense = _dense_widths(facts, layers, hidden, kinds)
    if halved:
        dense = tuple(width // 2 for width in dense)
    dense_parts = [FeedForward(width=width, gated=gated) if width else None for width in dense]
    if "moe" not in kinds:
        return [part if kind == "dense" else None for part, kind in zip(dense_parts, kinds, strict=True)]
    if facts.kind == "ernie4_5_vl_moe_text" and isinstance(facts.found("moe_intermediate_size")[1], list):
        raise facts.refused(
            "moe_intermediate_size", "experts of text and of pictures apart, of sizes of their own, are not modelled"
        )
    own = facts.each(layers, "moe_intermediate_size", "expert_ffn_hidden_size", "expert_intermediate_size", default=0)
    plain = facts.each(layers, *_WIDTH, default=0)
    widths = tuple(mine or other for mine, other in zip(own, plain, strict=True))
    active = facts.each(layers, *_ACTIVE, low=1)
    counts = facts.each(layers, *EXPERTS, default=experts, low=1)
    inside = facts.whole("moe_latent_size") or None
    found: list[FeedForward | None] = []
    for layer, kind in enumerate(kinds):
        if kind != "moe":
            found.append(dense_parts[layer] if kind == "dense" else None)
            continue
        if active[layer] > counts[layer]:
            raise facts.refused(facts.found(*_ACTIVE)[0], f"must be at most the {experts} experts, but got {active[layer]}")
        if not widths[layer]:
            raise facts.refused("moe_intermediate_size", "is missing")
        width = {"mlp": plain[layer], "residual": hidden}.get(beside, 0)
        found.append(FeedForward(
            width=width, gated=gated, experts=counts[layer], active_experts=active[layer], expert_width=widths[layer],
            expert_hidden_size=inside, shared_width=_shared(facts, layers, layer, widths[layer], shared),
        ))  # fmt: skip
    return found


def _dense_widths(facts: Facts, layers: int, hidden: int, kinds: list[str]) -> tuple[int, ...]:
    """Widths of dense layers; Llama 4 and MiniMax M3 name them apart from the experts'."""
    own = facts.whole("intermediate_size_mlp", "dense_intermediate_size", "prefix_dense_intermediate_size")
    if own:
        return (own,) * layers
    ratio = facts.number("expansion_ratio", "mlp_ratio", default=0.0)
    if "dense" not in kinds:
        return (0,) * layers
    if facts.flag("block_auto_adjust_ff_dim"):  # LFM2: two thirds, rounded up to a multiple
        whole = facts.size("block_ff_dim", "intermediate_size")
        two_thirds = int(facts.number("block_ffn_dim_multiplier", default=1.0) * int(2 * whole / 3))
        step = facts.whole("block_multiple_of", default=256, low=1)
        return (-(-two_thirds // step) * step,) * layers
    if facts.found(*_WIDTH)[1] is None:
        return (int((ratio or 4.0) * hidden),) * layers
    return facts.each(layers, *_WIDTH, low=1)


def _shared(facts: Facts, layers: int, layer: int, width: int, usual: int) -> int:
    """Width of the experts that every token passes, together."""
    number = facts.each(layers, *_SHARED, default=0)[layer] if facts.found(*_SHARED)[1] is not None else usual
    own = facts.whole(*_SHARED_WIDTH)
    if own:
        return own * number if number > 1 and facts.says("shared_experts_intermediate_size") else own
    return number * width
