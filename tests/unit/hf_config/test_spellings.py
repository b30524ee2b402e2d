"""Spellings of published ``config.json`` files: geometry, windows, composed models, class defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sim.errors import ConfigError
from sim.fleet.blueprint import Blueprint
from sim.perf import kv_bytes_per_token, model_from_hf_config, parameter_count
from sim.perf.geometry import kv_bytes_per_token_beyond_window, state_bytes_per_sequence, weights_bytes_per_gpu, window_of
from sim.perf.hf_config import model_from_data, model_from_facts
from sim.spec import EngineSpec, ModelSpec
from tests.presets import gpu, model

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


def read(facts: dict[str, Any]) -> ModelSpec:
    return model_from_facts(facts, "config.json", "a model")


def windows(spec: ModelSpec) -> dict[int | None, int]:
    found: dict[int | None, int] = {}
    for group in spec.stack:
        found[window_of(group)] = found.get(window_of(group), 0) + group.count
    return found


@pytest.mark.parametrize(
    ("facts", "preset"),
    [(LLAMA, "llama3_8b"), (QWEN_MOE, "qwen3_30b_a3b"), (DEEPSEEK, "deepseek_v3")],
)
def test_published_configs_are_the_presets(tmp_path: Path, facts: dict[str, Any], preset: str) -> None:
    file = tmp_path / "Some-Model" / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps(facts))
    found = model_from_hf_config(file.parent)
    assert found.name == "Some-Model"
    assert found.stack == model(preset).stack
    assert parameter_count(found) == parameter_count(model(preset))
    assert kv_bytes_per_token(found) == kv_bytes_per_token(model(preset))
    assert found.weight_dtype == model(preset).weight_dtype


def test_windows_of_every_spelling() -> None:
    listed = {**LLAMA, "sliding_window": 1024, "layer_types": ["sliding_attention"] * 20 + ["full_attention"] * 12}
    assert windows(read(listed)) == {1024: 20, None: 12}
    assert windows(read({**LLAMA, "sliding_window": 1024, "use_sliding_window": False})) == {None: 32}
    assert windows(read({**LLAMA, "model_type": "mistral", "sliding_window": 4096})) == {4096: 32}
    assert windows(read({**LLAMA, "model_type": "mistral", "sliding_window": None})) == {None: 32}
    late = {**LLAMA, "model_type": "qwen2", "sliding_window": 1024, "use_sliding_window": True}
    for first, count in ((0, {1024: 32}), (24, {None: 24, 1024: 8}), (32, {None: 32})):  # from max_window_layers on
        assert windows(read({**late, "max_window_layers": first})) == count
    assert windows(read({**late, "use_sliding_window": None})) == {None: 32}  # Qwen's class: off
    assert windows(read({**LLAMA, "model_type": "gpt_oss", "sliding_window": 128, "num_local_experts": 0})) == {
        128: 16,
        None: 16,
    }
    gemma = {**LLAMA, "model_type": "gemma3_text", "sliding_window": 512, "num_hidden_layers": 12}
    assert windows(read(gemma)) == {512: 10, None: 2}
    letters = {**LLAMA, "model_type": "exaone4", "sliding_window": 4096, "sliding_window_pattern": "LLLG"}
    assert windows(read(letters)) == {4096: 24, None: 8}
    mimo = {**LLAMA, "model_type": "mimo_v2_flash", "sliding_window": 128, "hybrid_layer_pattern": [0, 1, 1, 1] * 8}
    mimo |= {"n_routed_experts": 0, "head_dim": 192, "v_head_dim": 128, "swa_num_key_value_heads": 16}
    found = read(mimo)
    assert windows(found) == {None: 8, 128: 24}
    assert kv_bytes_per_token_beyond_window(found) == 8 * 8 * (192 + 128) * 2
    assert kv_bytes_per_token(found) == (8 * 8 + 24 * 16) * (192 + 128) * 2


def test_a_composed_model_reads_its_language_model_and_counts_its_tower() -> None:
    siglip = {
        "model_type": "siglip_vision_model", "hidden_size": 1152, "num_hidden_layers": 27, "intermediate_size": 4304,
        "num_attention_heads": 16, "patch_size": 14,
    }  # fmt: skip
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    }
    found = read({"model_type": "gemma3", "text_config": text, "vision_config": siglip})  # defaults of the class elsewhere
    assert parameter_count(found) == pytest.approx(4.30e9, rel=0.01)  # google/gemma-3-4b-it: 4.3B
    assert found.towers[0].parameters == pytest.approx(0.417e9, rel=0.03)
    assert found.tied_embeddings
    unknown = {**siglip, "model_type": "something_new"}
    assert any(
        "estimate" in note for note in read({"model_type": "gemma3", "text_config": text, "vision_config": unknown}).notes
    )
    assert any(
        "not counted" in note for note in read({"model_type": "gemma3", "text_config": text, "vision_config": {}}).notes
    )


def test_recurrent_layers_keep_a_state_and_no_tokens() -> None:
    facts = {
        "model_type": "qwen3_next", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 16,
        "num_key_value_heads": 2, "head_dim": 256, "full_attention_interval": 4, "linear_num_key_heads": 16,
        "linear_num_value_heads": 32, "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4,
        "num_experts": 512, "num_experts_per_tok": 10, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
        "intermediate_size": 5120, "vocab_size": 151936, "tie_word_embeddings": False,
    }  # fmt: skip
    found = read(facts)
    assert parameter_count(found) == pytest.approx(79.67e9, rel=0.002)  # Qwen/Qwen3-Next-80B-A3B-Instruct
    assert kv_bytes_per_token(found) == 12 * 2 * 2 * 256 * 2
    state = 32 * 128 * 128 * 2 + 3 * (2 * 16 * 128 + 32 * 128) * 2
    assert state_bytes_per_sequence(found) == 36 * state
    assert state_bytes_per_sequence(found, 4) == 36 * state / 4


def test_objects_for_attention_and_experts_are_read() -> None:
    """databricks/dbrx-base: 132B, 36B of them active."""
    facts = {
        "model_type": "dbrx", "d_model": 6144, "n_layers": 40, "n_heads": 48, "max_seq_len": 32768, "vocab_size": 100352,
        "attn_config": {"kv_n_heads": 8, "clip_qkv": 8}, "tie_word_embeddings": False,
        "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4},
    }  # fmt: skip
    found = read(facts)
    assert parameter_count(found) == pytest.approx(131.6e9, rel=0.01)
    assert kv_bytes_per_token(found) == 40 * 2 * 8 * 128 * 2


def test_what_a_model_is_read_as_can_be_said() -> None:
    unknown = {**LLAMA, "model_type": "my_llama"}
    assert model_from_facts(unknown, "config.json", "a model", read_as="llama").stack == model("llama3_8b").stack


def test_a_preset_may_be_facts_and_what_is_stated_beside_them_wins() -> None:
    found = model_from_data({"name": "mine", "hf_config": DEEPSEEK, "max_context": 4096, "weight_dtype": "int4"})
    assert (found.name, found.max_context, found.weight_dtype) == ("mine", 4096, "int4")
    assert any("weight_dtype=int4" in note for note in found.notes)


def test_extra_prediction_layers_are_not_counted() -> None:
    found = read({**DEEPSEEK, "num_nextn_predict_layers": 1})
    assert parameter_count(found) == parameter_count(read(DEEPSEEK))
    assert found.prediction_layers[0].count == 1


MISTRAL: dict[str, Any] = {
    "dim": 7168, "n_layers": 61, "head_dim": 192, "hidden_dim": 16384, "n_heads": 128, "n_kv_heads": 128,
    "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    "vocab_size": 131072, "max_position_embeddings": 294912, "max_seq_len": 262144, "tied_embeddings": False,
    "moe": {"num_experts": 128, "num_experts_per_tok": 4, "num_shared_experts": 1, "expert_hidden_dim": 4096,
            "first_k_dense_replace": 3, "route_every_n": 1},
    "vision_encoder": {"hidden_size": 1664, "intermediate_size": 8192, "num_hidden_layers": 48, "num_attention_heads": 16,
                       "image_size": 1540, "patch_size": 14, "spatial_merge_size": 2},
    "quantization": {"qformat_weight": "fp8_e4m3"},
}  # fmt: skip


def test_mistral_s_own_names_are_read(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps(MISTRAL))
    found = model_from_hf_config(tmp_path, types_replaced=True)
    assert (found.stack, found.towers, found.max_context) == tuple(
        getattr(model("mistral_large_3"), name) for name in ("stack", "towers", "max_context")
    )
    assert found.weight_dtype == "fp8"
    small = {"dim": 4096, "n_layers": 32, "head_dim": 128, "hidden_dim": 14336, "n_heads": 32, "n_kv_heads": 8, "vocab_size": 32000}
    assert parameter_count(read(small)) / 1e9 == pytest.approx(7.24, abs=0.01)
    assert parameter_count(read({**small, "moe": {"num_experts": 8, "num_experts_per_tok": 2}})) / 1e9 == pytest.approx(46.7, abs=0.1)
    assert windows(read({**small, "sliding_window": [None, 4096, 4096, 4096]})) == {None: 8, 4096: 24}
    with pytest.raises(ConfigError, match="audio"):
        read({**small, "multimodal": {"whisper_model_args": {}}})
    with pytest.raises(ConfigError, match="moe: must be an object"):
        read({**small, "moe": 8})


def test_the_whole_s_word_on_tied_embeddings_counts() -> None:
    text = {**LLAMA, "tie_word_embeddings": False}
    assert read({"model_type": "llava", "text_config": text, "tie_word_embeddings": True}).tied_embeddings
    assert not read({"model_type": "llava", "text_config": text}).tied_embeddings


def test_sides_of_pictures_may_be_pairs() -> None:
    vision = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
              "image_size": [448, 448], "patch_size": [14, 14]}  # fmt: skip
    assert read({"model_type": "internvl", "text_config": LLAMA, "vision_config": vision}).towers[0].largest_input == 1024


def test_models_that_do_not_generate_are_known_by_name_class_and_repository(tmp_path: Path) -> None:
    one = {**LLAMA, "num_hidden_layers": 36}
    classed = read({**one, "architectures": ["LlamaForSequenceClassification"]})
    plain = read(one)
    assert (classed.generates, plain.generates) == (False, True)
    head = 2 * plain.vocab_size * plain.hidden_size
    assert weights_bytes_per_gpu(plain) - weights_bytes_per_gpu(classed) == head
    for name, beside in (("Own-Embedding", ""), ("Own-Reranker", ""), ("plain", "modules.json"), ("plain-lm", "")):
        folder = tmp_path / f"{name}{beside}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(one))
        if beside:
            (folder / beside).write_text("[]")
        found = model_from_hf_config(folder)
        assert found.generates == (name == "plain-lm")
        assert found.generates or "embeds or ranks" in found.notes[-1]
    again = model_from_data({"hf_config": str(tmp_path / "Own-Embedding"), "generates": True})
    assert again.generates
    with pytest.raises(ConfigError, match="generates no tokens"):
        Blueprint("main", classed, gpu("h100"), EngineSpec(max_model_len=4096))
