"""DeepSeek V4: each layer sees a window of single tokens and entries that stand for several before it.

``compress_ratios`` gives the tokens of an entry layer by layer (0 or 1 = the window alone; entries after the last layer are
the extra prediction layers'), or ``layer_types`` and ``compress_rates`` do. The layers of the lowest ratio have an index
that chooses entries. The residual stream is ``hc_mult`` streams, mixed before and after each part (hyper-connections).
Source: transformers 5.24 ``deepseek_v4``, vLLM 0.33 ``vllm/models/deepseek_v4``.
"""

from __future__ import annotations

from dataclasses import replace

from sim.perf.hf_config.attention import HEADS
from sim.perf.hf_config.facts import Facts
from sim.spec.layers import Attention, CompressedAttention

_INDEXED = 4
"""Tokens of an entry in the layers that have an index."""
_SPARSE, _HEAVY = "compressed_sparse_attention", "heavily_compressed_attention"
_RATES = {_SPARSE: _INDEXED, _HEAVY: 128}


def compressed(facts: Facts, layers: int) -> list[CompressedAttention]:
    """The attention of each layer."""
    window = CompressedAttention(
        heads=facts.size(*HEADS), head_dim=facts.size("head_dim"), q_lora_rank=facts.size("q_lora_rank"),
        out_groups=facts.size("o_groups"), out_lora_rank=facts.size("o_lora_rank"), window=facts.size("sliding_window"),
    )  # fmt: skip
    sparse = replace(
        window, tokens_per_entry=_INDEXED, index_heads=facts.size("index_n_heads"),
        index_head_dim=facts.size("index_head_dim"), index_top_k=facts.size("index_topk"),
    )  # fmt: skip
    return [sparse if ratio == _INDEXED else replace(window, tokens_per_entry=ratio) for ratio in _ratios(facts, layers)]


def layer_extras(facts: Facts, hidden: int, attention: Attention | None) -> int:
    """Parameters of such a layer that its parts do not name: hyper-connections of both, positions within an entry."""
    if not isinstance(attention, CompressedAttention):
        return 0
    streams = facts.whole("hc_mult")
    mixing = (2 + streams) * streams
    positions = attention.tokens_per_entry * (2 if attention.index_heads else 1) * attention.head_dim
    entries = positions + attention.head_dim if attention.tokens_per_entry else 0
    index = (2 * attention.tokens_per_entry + 1) * attention.index_head_dim
    return 2 * (mixing * streams * hidden + mixing + 3) + entries + index


def outside_layers(facts: Facts, hidden: int) -> int:
    """Parameters that join the streams before the head."""
    streams = facts.whole("hc_mult")
    return streams * streams * hidden + streams + 1


def said(facts: Facts) -> tuple[str, ...]:
    """What of such a model is not in its step times."""
    return (f"the mixing of its {facts.whole('hc_mult')} residual streams (hyper-connections) is not in the step time",)


def _ratios(facts: Facts, layers: int) -> tuple[int, ...]:
    stated = facts.numbers("compress_ratios")
    if stated is not None:
        if len(stated) < layers:
            raise facts.refused(
                "compress_ratios", f"must have one entry for each of the {layers} layers, but got {len(stated)}"
            )
        return tuple(ratio if ratio > 1 else 0 for ratio in stated[:layers])
    words = facts.words("layer_types", layers)
    if words is None:
        raise facts.refused("compress_ratios", "is missing")
    rates = facts.inner("compress_rates")
    stated_rates = {word: rates.whole(word, default=rate, low=1) if rates else rate for word, rate in _RATES.items()}
    known = {"sliding_attention": 0, **stated_rates}
    for word in words:
        if word not in known:
            raise facts.refused("layer_types", f"known are {', '.join(known)}, but got {word!r}")
    return tuple(known[word] for word in words)
