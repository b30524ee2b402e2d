"""Vision and audio towers beside the language model: their parameters, from what their sub-configuration states.

A transformer of L layers over width H: ``L (4 H^2 + 2 H I)`` (gated: ``3 H I``), patches or a convolution in front, and a
projector into the language model. What no formula here knows (convolutional towers, conformers) is counted by the same
formula where its sizes are stated and is then an estimate, or is said not to be counted.
Source: ``modeling_*`` of transformers 5.24; the sums agree within 2 % for the types named below.
"""

from __future__ import annotations

from sim.perf.hf_config.facts import Facts
from sim.spec.layers import Tower

VISION = ("vision_config", "vision_tower_config", "vit_config", "visual", "vision_encoder_config", "img_processor")
AUDIO = ("audio_config", "audio_encoder_config", "audio_processor", "speech_config", "encoder_config")
_GATED = {
    "qwen2_5_vl", "qwen2_5_vl_vision", "qwen2_5_omni_vision_encoder", "pixtral", "gemma4_vision", "glm4v", "glm4v_vision",
    "glm4v_moe", "glm4v_moe_vision", "glm_ocr_vision", "dots_vit", "dots_ocr", "mistral4_vision", "radio_gated", "aimv2",
    "exaone4_5_vision", "hyperclovax_vision", "paddleocr_gated",
}  # fmt: skip
_KNOWN = _GATED | {
    "qwen2_vl", "qwen2_vl_vision", "qwen3_vl", "qwen3_vl_vision", "qwen3_vl_moe", "qwen3_vl_moe_vision", "qwen3_5",
    "qwen3_5_vision", "qwen3_5_moe", "qwen3_5_moe_vision", "clip_vision_model", "siglip_vision_model",
    "siglip2_vision_model",
    "intern_vit_6b", "internvl_vision", "mllama_vision_model", "llama4_vision_model", "vision", "kimi_k25",
    "kimi_k25_vision",
    "moonvit", "idefics3_vision", "idefics3", "smolvlm_vision", "whisper", "qwen2_audio_encoder", "voxtral_encoder",
}  # fmt: skip
_WIDE_MERGER = {"glm4v", "glm4v_vision", "glm4v_moe", "glm4v_moe_vision", "glm46v"}
_STATED_PARAMETERS = {"gemma3n_vision": 300_000_000}
"""Towers of another kind than transformers, by their cards (MobileNet-V5 of Gemma 3n)."""
_CONFORMER = {"gemma3n_audio", "gemma4_audio", "granite_speech_encoder", "parakeet_encoder"}
"""About 23 H^2 a layer: two feed-forward parts of 8 H^2, attention, and a gated convolution."""
_MERGER = ("qwen", "glm", "kimi", "dots", "exaone4_5", "ernie4_5_vl", "paddleocr", "keye")


def towers_of(facts: Facts, outer: str, hidden: int) -> tuple[tuple[Tower, ...], tuple[str, ...]]:
    """The towers of a composed configuration of type ``outer`` over a language model of width ``hidden``, and what has to
    be said of them."""
    found: list[Tower] = []
    notes: list[str] = []
    for own, name in ((facts.inner(*VISION), "vision"), (facts.inner(*AUDIO), "audio")):
        if own is None:
            continue
        tower = _tower(own, outer, hidden, "vision" if name == "vision" else "audio", facts)
        if tower is None:
            notes.append(
                f"the {name} tower ({own.kind or 'of no stated type'}) is not counted: its sizes are not in the file"
            )
            continue
        found.append(tower)
        if tower.estimated:
            notes.append(
                f"the {name} tower ({own.kind or 'of no stated type'}) is an estimate: {tower.parameters / 1e9:.2f}B"
            )
    return tuple(found), tuple(notes)


def _tower(own: Facts, outer: str, hidden: int, name: str, facts: Facts) -> Tower | None:
    if own.kind in _STATED_PARAMETERS:
        return Tower(name="vision", parameters=_STATED_PARAMETERS[own.kind], estimated=True)
    kind = own.kind or outer
    layers = own.whole(
        "depth",
        "num_hidden_layers",
        "vt_num_hidden_layers",
        "layers",
        "num_layers",
        "encoder_layers",
        "n_layer",
        "conf_num_hidden_layers",
    )
    width = own.whole("embed_dim", "vt_hidden_size", "width", "d_model", "hidden_size", "hidden_dim")
    if not layers or not width:
        return None
    ratio = own.number("mlp_ratio", default=3.7362 if own.kind == "vision" else 4.0)
    inner = own.whole("vt_intermediate_size", "intermediate_size", "encoder_ffn_dim", "mlp_dim") or int(ratio * width)
    gated = (
        kind in _GATED
        or own.flag("gated_mlp")
        or (outer in ("dots_ocr", "glm4v", "glm4v_moe", "glm46v", "glm_ocr", "exaone4_5", "hyperclovax_vision_v2"))
    )
    layers += own.whole("num_global_layers")
    heads = own.whole("num_heads", "num_attention_heads", default=1, low=1)
    mixing = 2 * width * width + 2 * width * width * own.whole("num_key_value_heads", default=heads, low=1) // heads
    if kind in _WIDE_MERGER:  # intermediate_size is the merger's, the blocks are as wide as their output
        inner = own.whole("out_hidden_size", default=inner, low=1)
    parameters = layers * (mixing + (3 if gated else 2) * width * inner)
    if kind in _CONFORMER:
        parameters = layers * 23 * width * width
    parameters += _in_front(own, width, name) + _projector(own, outer, width, hidden, facts)
    known = kind in _KNOWN or outer in ("dots_ocr", "deepseek_vl_v2", "kimi_k25", "kimi_vl")
    return Tower(
        name="vision" if name == "vision" else "audio",
        parameters=parameters,
        width=width,
        inner_width=inner,
        largest_input=_largest(own, outer, name),
        estimated=not known,
    )


def _largest(own: Facts, outer: str, name: str) -> int:
    """Patches of the largest picture that vLLM profiles with: 16,384 tokens of merged patches where the size is free."""
    if name == "audio":
        return own.whole("max_source_positions", default=1500)
    if outer.startswith(_MERGER):
        return 16_384 * own.whole("spatial_merge_size", default=2, low=1) ** 2
    patch, side = _side(own, "patch_size", 14), _side(own, "image_size", 448)
    return (side // patch) ** 2


def _side(own: Facts, name: str, default: int) -> int:
    """A length in pixels; of a pair, height and width, the first (InternVL)."""
    value = own.found(name)[1]
    if isinstance(value, list) and value:
        own = Facts({**own.stated, name: value[0]}, own.where, kind=own.kind, nested=True)
    return own.whole(name, default=default, low=1)


def _in_front(own: Facts, width: int, name: str) -> int:
    """Patch or mel convolution and position embedding."""
    if name == "audio":
        return 3 * width * (own.whole("num_mel_bins", default=128) + width) + width * own.whole(
            "max_source_positions", default=1500
        )
    patch = _side(own, "patch_size", 14)
    patches = 3 * patch * patch * own.whole("temporal_patch_size", default=1) * width
    positions = own.whole("num_position_embeddings", "position_embedding_size") * width
    if own.kind == "gemma4_vision":
        positions *= 2
    if own.kind == "mllama_vision_model":  # one embedding of the whole picture for each aspect ratio and tile
        side = _side(own, "image_size", 448) // patch
        positions = (9 * own.whole("max_num_tiles", default=4) + 1) * (side * side + 1) * width
    return patches + positions


def _projector(own: Facts, outer: str, width: int, hidden: int, facts: Facts) -> int:
    """What leads from the tower into the language model."""
    if (own.kind or outer) in _WIDE_MERGER:
        out, inner = (
            own.whole("out_hidden_size", default=hidden, low=1),
            own.whole("intermediate_size", default=4 * hidden, low=1),
        )
        return own.whole("spatial_merge_size", default=2, low=1) ** 2 * width * out + out * out + 3 * out * inner
    if outer.startswith(_MERGER) and not outer.startswith("glm_edge"):
        stated = own.found("merge_kernel_size", "spatial_merge_size")[1]
        merge = stated[0] if isinstance(stated, list) and stated and isinstance(stated[0], int) else None
        factor = (merge or own.whole("spatial_merge_size", default=2, low=1)) ** 2
        one = (factor * width) ** 2 + factor * width * hidden
        deep = own.numbers("deepstack_visual_indexes") or ()
        return one * (1 + len(deep))
    if outer.startswith(("gemma3", "gemma4", "paligemma", "mllama")):
        return own.whole("vision_output_dim", default=width) * hidden
    if outer.startswith(("mistral3", "mistral_large4")):
        factor = facts.whole("spatial_merge_size", default=2, low=1) ** 2
        return factor * width * width + width * hidden + hidden * hidden
    if outer.startswith(("intern", "nvlm", "skywork", "h2ovl", "eagle")):
        return 4 * width * hidden + hidden * hidden
    if outer.startswith("llama4"):
        out = own.whole("projector_output_dim", default=4096)
        return (
            own.whole("intermediate_size", default=4 * width) * out
            + out * out
            + own.whole("vision_output_dim", default=out) * hidden
        )
    return width * hidden + hidden * hidden
