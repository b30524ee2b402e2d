"""``model_from_hf_config``: a ``ModelSpec`` from any Hugging Face ``config.json``.

Reads the decoder's geometry (``text_config`` of multimodal models), grouped-query and multi-head latent attention,
mixtures (Mixtral, Qwen, DeepSeek, gpt-oss and Llama 4 spellings), sliding windows and the quantisation method.
Leaves out: vision towers, linear-attention and state-space layers (refused, because their memory does not grow).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sim.errors import ConfigError
from sim.spec.model import ModelSpec, WeightDtype

_BIASED = {"qwen2", "qwen2_moe", "qwen"}
_UNGATED = {"gpt2", "opt", "gpt_neox", "phi", "bloom", "falcon", "gpt_bigcode"}
_TIED = {"gpt2", "opt", "bloom", "falcon", "gpt_bigcode", "cohere", "cohere2"}
"""Classes that tie the output matrix to the embedding unless the file says otherwise (as every Gemma does)."""
_GEMMA3 = {
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262_208, "sliding_window": 4096,
    "sliding_window_pattern": 6, "max_position_embeddings": 131_072,
}  # fmt: skip
"""Defaults of transformers' ``Gemma3TextConfig``, which published files leave out."""
_STATE_SPACE = ("mamba", "rwkv", "linear_attention", "layers_block_type", "linear_num_key_heads", "ssm_cfg")


def model_from_hf_config(path: str | Path) -> ModelSpec:
    """The model that ``config.json`` at ``path`` (or in the folder ``path``) describes.

    Raises:
        ConfigError: no such file, not JSON, a missing key, or an architecture that is not modelled.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "config.json"
    try:
        outer = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"model.hf_config: {file} cannot be read ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"model.hf_config: {file} is not JSON ({error})") from None
    if not isinstance(outer, dict):
        raise ConfigError(f"model.hf_config: {file} must hold a JSON object, but got a {type(outer).__name__}")
    config = {**outer, **(outer.get("text_config") or {})}
    if str(config.get("model_type", "")).startswith("gemma3"):
        config = {**_GEMMA3, **config}
    for marker in _STATE_SPACE:
        if config.get(marker):
            raise ConfigError(
                f"model.hf_config: {file}: state-space and linear-attention layers ({marker}) are not modelled"
            )
    return _spec(config, file)


def _spec(config: dict[str, Any], file: Path) -> ModelSpec:
    def need(*names: str) -> int:
        for name in names:
            if config.get(name) is not None:
                return int(config[name])
        raise ConfigError(f"model.hf_config: {file}: {' or '.join(names)} is missing")

    def have(*names: str) -> int:
        return next((int(config[name]) for name in names if config.get(name)), 0)

    kind = str(config.get("model_type", ""))
    hidden, layers = need("hidden_size", "n_embd"), need("num_hidden_layers", "n_layer")
    heads = need("num_attention_heads", "n_head")
    kv_heads = have("num_key_value_heads") or _kv_heads(config, heads)
    mla = bool(config.get("kv_lora_rank"))
    experts = have("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
    intermediate = have("intermediate_size", "n_inner") or 4 * hidden
    expert_width = have("moe_intermediate_size") or intermediate
    if kind.startswith("llama4"):  # here intermediate_size is an expert's, and the dense layers' has its own name
        expert_width, intermediate = intermediate, have("intermediate_size_mlp") or intermediate
    window, windowed = _window(config, layers)
    return ModelSpec(
        name=str(config.get("_name_or_path") or file.parent.name or kind or "hf_model"),
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        kv_heads=heads if mla else kv_heads,
        head_dim=have("head_dim") or (have("v_head_dim") if mla else 0) or hidden // heads,
        intermediate_size=intermediate,
        vocab_size=need("vocab_size"),
        max_context=have("max_position_embeddings", "n_positions", "seq_length") or 4096,
        tied_embeddings=bool(config.get("tie_word_embeddings", kind.startswith("gemma") or kind in _TIED)),
        qkv_bias=bool(config.get("attention_bias", kind in _BIASED)),
        gated_mlp=kind not in _UNGATED,
        weight_dtype=_weight_dtype(config),
        attention="mla" if mla else ("mha" if kv_heads == heads else "gqa"),
        mla_q_lora_rank=have("q_lora_rank") or None if mla else None,
        mla_kv_lora_rank=have("kv_lora_rank") if mla else None,
        mla_qk_nope_head_dim=have("qk_nope_head_dim") if mla else None,
        mla_qk_rope_head_dim=have("qk_rope_head_dim") if mla else None,
        mla_v_head_dim=have("v_head_dim") if mla else None,
        moe_experts=experts,
        moe_active_experts=have("num_experts_per_tok", "experts_per_token", "moe_top_k") if experts else 0,
        moe_shared_experts=_shared_experts(config, expert_width) if experts else 0,
        moe_intermediate_size=expert_width if experts else 0,
        moe_dense_first_layers=_dense_layers(config, layers) if experts else 0,
        sliding_window=window,
        sliding_window_layers=windowed,
        hf_config=str(file),
        source=str(file),
    )


def _kv_heads(config: dict[str, Any], heads: int) -> int:
    """Falcon's and StarCoder's spelling: one head for all queries, or a number of its own."""
    if config.get("new_decoder_architecture"):
        return int(config.get("num_kv_heads") or heads)
    return 1 if config.get("multi_query") else int(config.get("n_head_kv") or heads)


def _shared_experts(config: dict[str, Any], expert_width: int) -> int:
    """Experts that every token passes, in experts of the routed width (Qwen2-MoE states their width instead)."""
    width = config.get("shared_expert_intermediate_size")
    if width:
        return max(1, round(int(width) / expert_width))
    return int(config.get("n_shared_experts") or str(config.get("model_type", "")).startswith("llama4"))


def _dense_layers(config: dict[str, Any], layers: int) -> int:
    """Layers without experts: the first ones (DeepSeek), those between every n-th (Qwen2-MoE, Llama 4), those listed."""
    step = int(config.get("decoder_sparse_step") or config.get("interleave_moe_layer_step") or 1)
    listed = config.get("mlp_only_layers") or ()
    sparse = sum((layer + 1) % step == 0 and layer not in listed for layer in range(layers))
    return max(int(config.get("first_k_dense_replace") or 0), layers - sparse)


def _weight_dtype(config: dict[str, Any]) -> WeightDtype:
    quantisation = config.get("quantization_config") or {}
    if not isinstance(quantisation, dict):
        raise ConfigError(f"model.hf_config: quantization_config must be an object, but got {quantisation!r}")
    method = str(quantisation.get("quant_method", "")).lower()
    text = json.dumps(quantisation).lower()
    if method in ("fp8", "fbgemm_fp8") or ('"float"' in text and '"num_bits": 8' in text):
        return "fp8"
    if method in ("mxfp4", "nvfp4") or "nvfp4" in text:
        return "fp4"
    if method in ("awq", "gptq", "awq_marlin", "gptq_marlin") or '"num_bits": 4' in text:
        return "int8" if quantisation.get("bits") == 8 else "int4"
    if '"num_bits": 8' in text:
        return "int8"
    return "fp16" if str(config.get("torch_dtype") or config.get("dtype")) == "float16" else "bf16"


def _window(config: dict[str, Any], layers: int) -> tuple[int | None, int]:
    """Window length and the number of layers that have it."""
    window = config.get("sliding_window")
    if not window or config.get("use_sliding_window") is False:
        return None, 0
    kinds = config.get("layer_types")
    if kinds:
        count = sum(kind == "sliding_attention" for kind in kinds)
    elif config.get("sliding_window_pattern"):
        count = layers - layers // int(config["sliding_window_pattern"])
    elif str(config.get("model_type", "")).startswith(("gemma2", "gpt_oss")):
        count = layers - layers // 2
    elif config.get("use_sliding_window"):  # Qwen2: the layers from this one on
        count = max(0, layers - int(config.get("max_window_layers") or 0))
    else:
        count = layers
    return (int(window), count) if count else (None, 0)
