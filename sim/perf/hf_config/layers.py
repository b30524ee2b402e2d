"""The stack of a language model: every layer as its file describes it, equal ones together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sim.perf.hf_config import attention as attentions
from sim.perf.hf_config import gemma, kinds
from sim.perf.hf_config.compressed import compressed, layer_extras
from sim.perf.hf_config.facts import Facts
from sim.perf.hf_config.feed_forward import expert_count, feed_forwards
from sim.perf.hf_config.model_types import Family
from sim.perf.hf_config.number_types import NumberTypes
from sim.spec.layers import CompressedAttention, FeedForward, FullAttention, LatentAttention, LayerGroup, PartWeights

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")


def stack_of(facts: Facts, family: Family, types: NumberTypes) -> tuple[LayerGroup, ...]:
    """The groups of equal layers that ``facts`` describe, in the order in which they first appear.

    Raises:
        ConfigError: a key that is missing or not what it should be.
    """
    hidden = hidden_size(facts)
    if facts.stated.get("block_configs") is not None:
        return grouped(_with_types(_blocks(facts, hidden), types, family))
    count = layer_count(facts)
    mixing, forward = layer_kinds(facts, family, count)
    state = family.mixer(facts, hidden) if family.mixer is not None and {"state", "both"} & set(mixing) else None
    if state is None and {"state", "both"} & set(mixing):
        raise facts.refused("layer_types", f"recurrent layers of the model type {facts.kind!r} are not modelled")
    own: Sequence[FullAttention | LatentAttention | CompressedAttention | None] = [None] * count
    if set(mixing) - {"state", "none", "cross"}:
        if family.attention == "compressed":
            own = compressed(facts, count)
        elif family.attention == "latent":
            own = attentions.latent(facts, count, mixing)
        else:
            own = attentions.grouped(facts, count, hidden, mixing, bias=family.bias, gated=family.gated_attention)
    parts = feed_forwards(
        facts,
        count,
        hidden,
        forward,
        gated=family.gated,
        beside=family.beside,
        halved=family.halved,
        shared=family.shared,
    )
    crossed = attentions.cross(facts, hidden) if "cross" in mixing else None
    layers = [
        LayerGroup(
            count=1, attention=crossed if kind == "cross" else own[layer], feed_forward=parts[layer], norms=family.norms,
            state=state if kind in ("state", "both") else None, other_parameters=layer_extras(facts, hidden, own[layer]),
        )
        for layer, kind in enumerate(mixing)
    ]  # fmt: skip
    layers = gemma.adjusted(facts, hidden, layers)
    if facts.kind == "longcat_flash":
        layers = _twice(facts, hidden, layers)
    return grouped(_with_types(layers, types, family))


def hidden_size(facts: Facts) -> int:
    """Width of the residual stream."""
    return facts.size("hidden_size", "n_embd", "d_model", "n_embed", "model_dim", "dim")


def layer_count(facts: Facts) -> int:
    """Layers of the language model; a pattern or list of all of them says how many there are, too."""
    if not facts.says(*_LAYERS):
        pattern = facts.text("hybrid_override_pattern")
        blocks = facts.stated.get("layers_block_type")
        if pattern or isinstance(blocks, list):
            return len(pattern or blocks or ())
    count = facts.size(*_LAYERS)
    if count > 2000:
        raise facts.refused(facts.found(*_LAYERS)[0], f"must be a whole number from 1 to 2000, but got {count}")
    return count


def prediction_layers(facts: Facts, stack: tuple[LayerGroup, ...], hidden: int) -> tuple[LayerGroup, ...]:
    """The extra layers that draft further tokens: as the last layer, and a projection of two hidden states into one."""
    count = facts.whole("num_nextn_predict_layers", "num_mtp_modules", "mtp_num_hidden_layers", "num_mtp_layers")
    if not count:
        return ()
    like = next((group for group in reversed(stack) if group.attention is not None), stack[-1])
    return (replace(like, count=count, other_parameters=like.other_parameters + 2 * hidden * hidden),)


def grouped(layers: Iterable[LayerGroup]) -> tuple[LayerGroup, ...]:
    """Equal layers counted together."""
    counts: dict[LayerGroup, int] = {}
    for layer in layers:
        counts[layer] = counts.get(layer, 0) + 1
    return tuple(replace(layer, count=count) for layer, count in counts.items())


def layer_kinds(facts: Facts, family: Family, count: int) -> tuple[list[str], list[str]]:
    """Mixing and feed-forward kind of each of ``count`` layers (``sim.perf.hf_config.kinds``)."""
    experts = expert_count(facts)
    if family.routed_from and not facts.flag(family.routed_from):
        experts = 0
    if family.one_thing_a_layer:
        both = kinds.letters(facts, count)
        if both is None:
            raise facts.refused("hybrid_override_pattern", "is missing")
        return both
    mixing = ["full"] * count
    if family.attention != "compressed":
        mixing = kinds.mixing(facts, count, family.pattern, needs_flag=family.needs_flag, first=family.first)
    forward = ["moe"] * count
    if not experts or family.beside != "residual":
        forward = kinds.feed_forward(facts, count, experts, family.dense_first)
    if family.pattern == "R" and family.norms == 1:  # Mamba alone has no feed-forward part
        forward = ["none"] * count
    listed = facts.words("layer_types", count) or ()
    for layer, word in enumerate(listed):  # a layer may be a feed-forward part only
        if word in ("mlp", "moe"):
            forward[layer] = "dense" if word == "mlp" else "moe"
    return mixing, forward


def _with_types(layers: list[LayerGroup], types: NumberTypes, family: Family) -> list[LayerGroup]:
    """``layers`` with the number type of each part."""
    if not types.rules:
        return layers
    found: list[LayerGroup] = []
    for number, layer in enumerate(layers):
        inner = types.of("state" if layer.state is not None and layer.attention is None else "attention", number)
        outer = types.of("state_out" if layer.state is not None and layer.attention is None else "attention_out", number)
        part = layer.feed_forward or FeedForward()
        experts = "experts_beside_mlp" if family.beside == "mlp" else "experts"
        mlp = types.of("mlp", number) if part.width else None
        mlp_out = types.of("mlp_out", number) if part.width else None
        found.append(replace(layer, weights=PartWeights(
            attention=inner, attention_out=outer if outer != inner else None, mlp=mlp,
            mlp_out=mlp_out if mlp_out != mlp else None,
            experts=types.of(experts, number) if part.experts else None,
            shared_experts=types.of("shared_experts", number) if part.shared_width else None,
        )))  # fmt: skip
    return found


def _blocks(facts: Facts, hidden: int) -> list[LayerGroup]:
    """``block_configs`` of models found by architecture search (Nemotron 51B, 253B): attention and MLP block by block."""
    blocks = facts.stated["block_configs"]
    heads = facts.size(*attentions.HEADS)
    head_dim = facts.whole("head_dim", default=max(1, hidden // heads), low=1)
    if not isinstance(blocks, list) or not blocks or not all(isinstance(block, dict) for block in blocks):
        raise facts.refused("block_configs", "must be a list of objects, one a layer")
    layers: list[LayerGroup] = []
    for number, block in enumerate(blocks):
        own = Facts(block, f"{facts.where}: block_configs[{number}]")
        mix, forward = own.inner("attention"), own.inner("ffn")
        if mix is None or forward is None:
            raise own.refused("attention" if mix is None else "ffn", "is missing")
        attention = None
        matrix = 0
        if mix.flag("replace_with_linear"):
            matrix += hidden * hidden
        elif not mix.flag("no_op"):
            each = mix.size("n_heads_in_group")
            if heads % each:
                raise mix.refused("n_heads_in_group", f"must divide the {heads} attention heads, but got {each}")
            attention = FullAttention(heads=heads, kv_heads=heads // each, head_dim=head_dim)
        part = None
        if forward.flag("replace_with_linear"):
            matrix += hidden * hidden
        elif not forward.flag("no_op"):
            ratio = forward.number("ffn_mult", default=0.0)
            width = forward.whole("intermediate_size") or -(-int(2 * ratio * hidden / 3) // 256) * 256
            if not width:
                raise forward.refused("ffn_mult", "is missing")
            part = FeedForward(width=width)
        layers.append(LayerGroup(count=1, attention=attention, feed_forward=part, other_parameters=matrix))
    return layers


def _twice(facts: Facts, hidden: int, layers: list[LayerGroup]) -> list[LayerGroup]:
    """LongCat: each layer is attention, MLP, attention, MLP, with one mixture beside the first pair."""
    width = facts.size("ffn_hidden_size")
    own = facts.size("expert_ffn_hidden_size")
    experts, active = facts.size("n_routed_experts"), facts.size("moe_topk")
    idle = facts.whole("zero_expert_num")  # choosing one of these costs nothing
    real = max(1, round(active * experts / (experts + idle)))
    mixture = FeedForward(width=width, experts=experts, active_experts=real, expert_width=own)
    dense = FeedForward(width=width)
    return [
        replace(layer, feed_forward=part, other_parameters=hidden * idle if part is mixture else 0)
        for layer in layers for part in (mixture, dense)
    ]  # fmt: skip
