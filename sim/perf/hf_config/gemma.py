"""What Gemma 3n and Gemma 4 add to a layer: embeddings of its own, shared K and V, wide global heads.

Per-layer inputs: a second embedding ``vocab x layers x size`` and, a layer, a gate and a projection of that size. Gemma 3n
adds a low-rank branch (LAuReL) and predicts four streams (AltUp). The last ``num_kv_shared_layers`` read the K and V of the
last layer of their kind before them. Gemma 4's global layers have heads of their own and, with ``attention_k_eq_v``, no V
matrix. Source: transformers 5.24, ``modeling_gemma3n.py``, ``modeling_gemma4.py``.
"""

from __future__ import annotations

from dataclasses import replace

from sim.perf.hf_config.facts import Facts
from sim.spec.layers import FullAttention, LayerGroup

_FOUR = ("gemma4_text", "gemma4_unified_text")


def adjusted(facts: Facts, hidden: int, layers: list[LayerGroup]) -> list[LayerGroup]:
    """``layers`` with what these classes add; others come back as they are."""
    shared = facts.whole("num_kv_shared_layers")
    inputs = facts.whole("hidden_size_per_layer_input")
    if not (shared or inputs or facts.kind in _FOUR):
        return layers
    found: list[LayerGroup] = []
    for number, layer in enumerate(layers):
        attention = layer.attention
        if isinstance(attention, FullAttention):
            if facts.kind in _FOUR and attention.window is None:
                attention = _global(facts, attention)
            if number >= len(layers) - shared:
                attention = replace(attention, shares_kv=True)
        more = 2 * hidden * inputs + (hidden if inputs else 0) + _side_branches(facts, hidden)
        part = layer.feed_forward
        if part is not None and facts.flag("use_double_wide_mlp") and number >= len(layers) - shared:
            part = replace(part, width=2 * part.width)
        found.append(replace(layer, attention=attention, feed_forward=part, other_parameters=layer.other_parameters + more))
    return found


def outside_layers(facts: Facts, hidden: int, layers: int) -> int:
    """Parameters outside the layers: per-layer embeddings and their projection, AltUp's streams."""
    inputs = facts.whole("hidden_size_per_layer_input")
    total = facts.whole("vocab_size_per_layer_input") * inputs * layers + hidden * inputs * layers if inputs else 0
    streams = facts.whole("altup_num_inputs")
    return total + (2 * (streams - 1) * hidden * hidden if streams > 1 else 0)


def _global(facts: Facts, attention: FullAttention) -> FullAttention:
    same = facts.flag("attention_k_eq_v")
    kv_heads = facts.whole("num_global_key_value_heads") if same else 0
    if kv_heads and attention.heads % kv_heads:
        raise facts.refused("num_global_key_value_heads", f"must divide the {attention.heads} heads, but got {kv_heads}")
    return replace(
        attention,
        head_dim=facts.whole("global_head_dim", default=512, low=1),
        kv_heads=kv_heads or attention.kv_heads,
        k_is_v=same,
    )


def _side_branches(facts: Facts, hidden: int) -> int:
    rank, streams = facts.whole("laurel_rank"), facts.whole("altup_num_inputs")
    laurel = 2 * hidden * rank + hidden if rank else 0
    return laurel + (hidden * streams + streams**3 + streams * streams + 2 * hidden if streams else 0)
