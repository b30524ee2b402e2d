"""Which modules of a layer a quantisation's lists mean: names, prefixes, globs and regular expressions.

Files name modules as the reference implementation does (``model.layers.3.self_attn.q_proj``), under whatever the language
model is called within a composed one. A rule is looked at in two parts: the layer, and the name within the layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

from sim.errors import ConfigError

PARTS: dict[str, tuple[str, ...]] = {
    "attention": (
        "self_attn.q_proj", "self_attn.qkv_proj", "self_attn.q_b_proj", "self_attention.query_key_value", "attn.c_attn",
        "attention.wqkv", "attention.query_key_value", "self_attn.W_pack", "attn.Wqkv", "mixer.q_proj",
    ),
    "attention_out": (
        "self_attn.o_proj", "self_attn.out_proj", "self_attention.dense", "attn.c_proj", "attention.wo", "attention.dense",
        "attn.out_proj", "mixer.o_proj",
    ),
    "state": (
        "linear_attn.in_proj_qkv", "linear_attn.in_proj_qkvz", "mamba.in_proj", "mixer.in_proj", "conv.in_proj",
        "self_attn.qkv_proj", "linear_attn.q_proj",
    ),
    "state_out": ("linear_attn.out_proj", "mamba.out_proj", "mixer.out_proj", "conv.out_proj", "linear_attn.o_proj"),
    "mlp": (
        "mlp.gate_proj", "mlp.up_proj", "mlp.gate_up_proj", "feed_forward.gate_proj", "feed_forward.w1", "mlp.c_fc",
        "mlp.fc1",
        "mlp.dense_h_to_4h", "mlp.w1", "ffn.up_proj", "mixer.up_proj",
    ),
    "mlp_out": (
        "mlp.down_proj", "feed_forward.down_proj", "feed_forward.w2", "mlp.c_proj", "mlp.fc2", "mlp.dense_4h_to_h", "mlp.w2",
        "ffn.down_proj", "mixer.down_proj",
    ),
    "experts": (
        "mlp.experts", "mlp.experts.0.gate_proj", "mlp.experts.0.up_proj", "mlp.experts.gate_up_proj",
        "block_sparse_moe.experts.0.w1", "block_sparse_moe.experts", "feed_forward.experts",
        "feed_forward.experts.gate_up_proj",
        "mixer.experts.0.up_proj", "mixer.experts", "moe.experts", "ffn.experts", "mlp.experts.0.w1",
    ),
    "experts_beside_mlp": (
        "experts", "experts.gate_up_proj", "moe.experts", "block_sparse_moe.experts", "experts.0.gate_proj",
    ),
    "shared_experts": (
        "mlp.shared_experts.gate_proj", "mlp.shared_expert.gate_proj", "mlp.shared_experts.up_proj",
        "mlp.shared_mlp.gate_proj",
        "feed_forward.shared_expert.gate_proj", "mixer.shared_experts.up_proj", "shared_mlp.input_linear",
        "block_sparse_moe.shared_experts.gate_proj", "share_expert.gate_proj",
    ),
}  # fmt: skip
"""Names under which implementations know a part; one that is named stands for the part."""
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.(\d+|\*)(?:\.(.+)|\*?$)")
_TOWER = re.compile(r"vision|visual|audio|multi_modal|mm_projector|embed_vision|aligner|(^|\.)mtp(\.|$)")
_HOMES = ("model.layers", "model.language_model.layers", "language_model.model.layers", "transformer.h", "backbone.layers")


class ModuleRules:
    """A list of module names, prefixes, globs (``*``) and regular expressions (``re:``)."""

    def __init__(self, patterns: Iterable[str], key: str) -> None:
        self._by_layer: dict[int, list[str]] = {}
        self._any_layer: list[str] = []
        self._expressions: list[re.Pattern[str]] = []
        self.outside: set[str] = set()
        """Names that stand in no layer: ``lm_head``, ``embed_tokens``."""
        for pattern in patterns:
            if pattern.startswith("re:"):
                try:
                    self._expressions.append(re.compile(pattern[3:]))
                except re.error as error:
                    raise ConfigError(f"model.hf_config: {key}: {pattern!r} is no regular expression ({error})") from None
                continue
            if _TOWER.search(pattern):
                continue
            found = _LAYER.search(pattern)
            if found is None:
                self._any_layer.append(pattern)
                self.outside.add(pattern.rpartition(".")[2])
            elif found[1] == "*":
                self._any_layer.append(found[2] or "*")
            else:
                self._by_layer.setdefault(int(found[1]), []).append(found[2] or "*")

    def names(self, part: str, layer: int) -> bool:
        """Whether a module of ``part`` in ``layer`` is among them."""
        tails = PARTS[part]
        if any(_named(rule, tail) for rule in self._by_layer.get(layer, ()) for tail in tails):
            return True
        if any(_named(rule, tail) for rule in self._any_layer for tail in tails):
            return True
        return any(
            expression.match(f"{home}.{layer}.{tail}")
            for expression in self._expressions for home in _HOMES for tail in tails
        )  # fmt: skip


@lru_cache(maxsize=65_536)
def _named(rule: str, tail: str) -> bool:
    """``rule`` is ``tail``, a module that holds it, a component of its name, or a glob over it."""
    if "*" in rule:
        return fnmatchcase(tail, rule) or fnmatchcase(f"model.layers.0.{tail}", rule)
    return tail == rule or tail.startswith(f"{rule}.") or rule in tail.split(".") or tail.endswith(f".{rule}")
