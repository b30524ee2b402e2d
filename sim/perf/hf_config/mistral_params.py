"""Mistral's ``params.json`` (checkpoints without a ``config.json``) as the configuration that vLLM makes of it.

Source: vLLM 0.33 ``transformers_utils/configs/mistral.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.errors import ConfigError

_SIZES = {
    "dim": "hidden_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads", "hidden_dim": "intermediate_size", "tied_embeddings": "tie_word_embeddings",
}  # fmt: skip
_EXPERTS = {
    "num_experts": "n_routed_experts", "num_experts_per_tok": "num_experts_per_tok",
    "expert_hidden_dim": "moe_intermediate_size", "num_shared_experts": "n_shared_experts",
    "first_k_dense_replace": "first_k_dense_replace", "route_every_n": "moe_layer_freq",
}  # fmt: skip
_LENGTH = 128_000


def is_params(stated: Mapping[str, Any]) -> bool:
    """Whether an object has Mistral's own names."""
    return "model_type" not in stated and {"dim", "n_layers", "n_heads"} <= set(stated)


def from_params(stated: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The configuration that ``stated`` means.

    Raises:
        ConfigError: a part that is not modelled (audio, recurrent layers), or is no object.
    """
    parts = ("moe", "vision_encoder", "quantization")
    text = {_SIZES.get(key, key): value for key, value in stated.items() if key not in parts}
    text.setdefault("max_position_embeddings", stated.get("max_seq_len", _LENGTH))
    experts = _object(stated, "moe", where)
    if stated.get("multimodal") is not None:
        raise ConfigError(f"model.hf_config: {where}: multimodal: Mistral's audio encoders are not modelled")
    if experts:
        text |= {theirs: experts[ours] for ours, theirs in _EXPERTS.items() if ours in experts}
        text.setdefault("moe_intermediate_size", stated.get("hidden_dim"))
    latent = stated.get("qk_nope_head_dim") is not None
    if not latent and experts:
        text["num_local_experts"] = text.pop("n_routed_experts", None)
    text["model_type"] = "deepseek_v3" if latent else "mixtral" if experts else "mistral"
    windows = stated.get("sliding_window")
    if isinstance(windows, list) and windows:
        kinds = ["full_attention" if one is None else "sliding_attention" for one in windows]
        layers = stated["n_layers"] if isinstance(stated["n_layers"], int) and stated["n_layers"] <= 2000 else 0
        text["layer_types"] = kinds * (layers // len(kinds))
        text["sliding_window"] = next((one for one in windows if one), None)
    quantised = _object(stated, "quantization", where)
    if quantised:
        fp8 = quantised.get("qformat_weight") == "fp8_e4m3"
        text["quantization_config"] = {"quant_method": "fp8"} if fp8 else quantised
    vision = _object(stated, "vision_encoder", where)
    if not vision:
        return text
    return {
        "model_type": "mistral3", "text_config": text, "vision_config": {"model_type": "pixtral", **vision},
        "spatial_merge_size": vision.get("spatial_merge_size", 1), "quantization_config": text.get("quantization_config"),
        "tie_word_embeddings": text.get("tie_word_embeddings", False),
    }  # fmt: skip


def _object(stated: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = stated.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigError(f"model.hf_config: {where}: {key}: must be an object, but got {value!r}")
    return value
