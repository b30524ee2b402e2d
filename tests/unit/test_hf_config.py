"""``model_from_hf_config``: spellings of published config.json files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sim.errors import ConfigError
from sim.perf import kv_bytes_per_token, model_from_hf_config, parameter_count
from tests.presets import model

LLAMA = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 131072,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
QWEN_MOE = {
    "model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32, "head_dim": 128,
    "num_key_value_heads": 4, "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128,
    "num_experts_per_tok": 8, "vocab_size": 151936, "max_position_embeddings": 40960, "tie_word_embeddings": False,
}  # fmt: skip
DEEPSEEK = {
    "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128,
    "num_key_value_heads": 128, "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256,
    "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3, "q_lora_rank": 1536,
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 129280,
    "max_position_embeddings": 163840, "tie_word_embeddings": False, "quantization_config": {"quant_method": "fp8"},
}  # fmt: skip


def written(folder: Path, config: Any) -> Path:
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


@pytest.mark.parametrize(
    ("config", "preset"),
    [(LLAMA, "llama3_8b"), (QWEN_MOE, "qwen3_30b_a3b"), (DEEPSEEK, "deepseek_v3"), ({"text_config": LLAMA}, "llama3_8b")],
)
def test_published_configs_are_the_presets(tmp_path: Path, config: dict[str, Any], preset: str) -> None:
    found = model_from_hf_config(written(tmp_path, config))
    assert parameter_count(found) == parameter_count(model(preset))
    assert kv_bytes_per_token(found) == kv_bytes_per_token(model(preset))
    assert found.weight_dtype == model(preset).weight_dtype


@pytest.mark.parametrize(
    ("quantisation", "dtype"),
    [
        ({"quant_method": "awq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "x", "config_groups": {"a": {"weights": {"num_bits": 8, "type": "float"}}}}, "fp8"),
        ({"quant_method": "x", "config_groups": {"a": {"weights": {"num_bits": 4, "type": "int"}}}}, "int4"),
        ({"quant_method": "mxfp4"}, "fp4"),
    ],
)
def test_quantisation_methods(tmp_path: Path, quantisation: dict[str, Any], dtype: str) -> None:
    assert model_from_hf_config(written(tmp_path, {**LLAMA, "quantization_config": quantisation})).weight_dtype == dtype


def test_sliding_windows(tmp_path: Path) -> None:
    some = {**LLAMA, "sliding_window": 1024, "layer_types": ["sliding_attention"] * 20 + ["full_attention"] * 12}
    found = model_from_hf_config(written(tmp_path, some))
    assert (found.sliding_window, found.sliding_window_layers) == (1024, 20)
    off = model_from_hf_config(written(tmp_path, {**LLAMA, "sliding_window": 1024, "use_sliding_window": False}))
    assert off.sliding_window_layers == 0
    late = {**LLAMA, "sliding_window": 1024, "use_sliding_window": True}
    for first, count in ((0, 32), (24, 8), (32, 0)):  # Qwen2: the window begins at layer max_window_layers
        found = model_from_hf_config(written(tmp_path, {**late, "max_window_layers": first}))
        assert found.sliding_window_layers == count
    gpt_oss = {**LLAMA, "model_type": "gpt_oss", "sliding_window": 128}
    assert model_from_hf_config(written(tmp_path, gpt_oss)).sliding_window_layers == 16


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object"),
        ({"hidden_size": 8}, "num_hidden_layers"),
        ({**LLAMA, "ssm_cfg": {"d": 1}}, "ssm_cfg"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, config: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        model_from_hf_config(written(tmp_path, config))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        model_from_hf_config(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("config", "billions", "kv_heads"),
    [
        pytest.param(
            {"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71, "multi_query": True,
             "vocab_size": 65024}, 6.92, 1, id="falcon_7b"),
        pytest.param(
            {"model_type": "falcon", "hidden_size": 8192, "num_hidden_layers": 60, "num_attention_heads": 128,
             "new_decoder_architecture": True, "num_kv_heads": 8, "vocab_size": 65024}, 41.8, 8, id="falcon_40b"),
        pytest.param(
            {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240,
             "num_hidden_layers": 34, "sliding_window": 1024}}, 3.88, 4, id="gemma3_4b"),
        pytest.param(
            {"model_type": "qwen2_moe", "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16,
             "num_key_value_heads": 16, "intermediate_size": 5632, "moe_intermediate_size": 1408, "num_experts": 60,
             "num_experts_per_tok": 4, "shared_expert_intermediate_size": 5632, "decoder_sparse_step": 1, "vocab_size": 151936},
            14.3, 16, id="qwen1_5_moe"),
        pytest.param(
            {"model_type": "llama4_text", "hidden_size": 5120, "num_hidden_layers": 48, "num_attention_heads": 40,
             "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 8192, "intermediate_size_mlp": 16384,
             "num_local_experts": 128, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "vocab_size": 202048},
            400.0, 8, id="llama4_maverick"),
        pytest.param(
            {"model_type": "mixtral", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
             "num_key_value_heads": 8, "intermediate_size": 14336, "num_local_experts": 8, "num_experts_per_tok": 2,
             "vocab_size": 32000, "text_config": None}, 46.7, 8, id="mixtral_8x7b"),
        pytest.param(
            {"model_type": "gpt_oss", "hidden_size": 2880, "num_hidden_layers": 24, "num_attention_heads": 64, "head_dim": 64,
             "num_key_value_heads": 8, "intermediate_size": 2880, "num_local_experts": 32, "experts_per_token": 4,
             "vocab_size": 201088, "sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 12},
            20.9, 8, id="gpt_oss_20b"),
    ],
)  # fmt: skip
def test_other_families_have_the_size_of_their_name(
    tmp_path: Path, config: dict[str, Any], billions: float, kv_heads: int
) -> None:
    """Parameters as the model cards state them, within 3 % (biases, norms and vision towers are left out)."""
    found = model_from_hf_config(written(tmp_path, config))
    assert found.kv_heads == kv_heads
    assert parameter_count(found) / 1e9 == pytest.approx(billions, rel=0.03)


def test_a_quantisation_that_is_no_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="quantization_config"):
        model_from_hf_config(written(tmp_path, {**LLAMA, "quantization_config": ["fp8"]}))
