"""Quantisation by part: methods, what they leave in 16 bits, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sim.errors import ConfigError
from sim.perf import model_from_hf_config
from sim.perf.geometry import weights_bytes_per_gpu
from sim.perf.hf_config import model_from_data, model_from_facts
from sim.spec import ModelSpec
from sim.units import GIB
from tests.unit.hf_config.test_spellings import LLAMA, QWEN_MOE


def quantised(quantisation: Any, facts: dict[str, Any] = LLAMA) -> ModelSpec:
    return model_from_facts({**facts, "quantization_config": quantisation}, "config.json", "a model")


@pytest.mark.parametrize(
    ("quantisation", "dtype", "gib"),
    [
        # Llama-3.1-8B: 6.98B in matrices, 2.10 GB of embedding and head in 16 bits
        ({"quant_method": "awq", "bits": 4}, "int4", 5.34),
        ({"quant_method": "gptq", "bits": 8}, "int8_weight_only", 8.46),
        ({"quant_method": "gptq", "bits": 3, "group_size": 128}, "int3", 4.51),
        ({"quant_method": "auto-round", "bits": 4, "group_size": 32}, "int4", 5.72),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4", 5.31),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8", 8.46),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}}, "int4", 5.61),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "fp4", 5.61),
        ({"quant_method": "fbgemm_fp8"}, "fp8", 8.46),
        ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig"}}}, "int4", 5.34),
        ({"quant_method": "torchao", "quant_type": "float8dq"}, "fp8", 8.46),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp8_e4m3"}}}, "fp8", 8.46),
        ({"quant_method": "aqlm", "nbits_per_codebook": 16, "num_codebooks": 1, "in_group_size": 8}, "int2", 3.69),
        ({"quant_method": "bitnet"}, "ternary", 3.58),
        ({"quant_method": "deepspeedfp", "bits": 6}, "fp6", 6.88),
        ({"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 8, "type": "float"}}}}, "fp8", 8.46),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": {
                "weights": {"num_bits": 8, "type": "int"}, "input_activations": {"num_bits": 8}}}}, "int8", 8.46,
        ),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": {
                "weights": {"num_bits": 4, "type": "int", "group_size": 128}}}}, "int4", 5.31,
        ),
    ],
    ids=lambda value: value.get("quant_method") if isinstance(value, dict) else None,
)  # fmt: skip
def test_methods_and_their_bytes(quantisation: dict[str, Any], dtype: str, gib: float) -> None:
    found = quantised(quantisation)
    assert found.weight_dtype == dtype
    assert weights_bytes_per_gpu(found) / GIB == pytest.approx(gib, rel=0.01)


def test_what_a_method_leaves_alone_stays_in_16_bits() -> None:
    every = weights_bytes_per_gpu(quantised({"quant_method": "fp8"}))
    layer = 4096 * (4096 + 2 * 1024) + 4096 * 4096
    for names in (["model.layers.3.self_attn.q_proj", "model.layers.3.self_attn.o_proj"], ["re:.*layers\\.3\\.self_attn.*"],
                  ["model.language_model.layers.3.self_attn*"]):  # fmt: skip
        some = quantised({"quant_method": "fp8", "modules_to_not_convert": ["lm_head", *names]})
        assert weights_bytes_per_gpu(some) == pytest.approx(every + layer, rel=1e-9)
        assert sorted(group.count for group in some.stack) == [1, 31]
    down = quantised({"quant_method": "fp8", "ignored_layers": ["mlp.down_proj"]})
    assert weights_bytes_per_gpu(down) == pytest.approx(every + 32 * 4096 * 14336, rel=1e-9)
    gates = quantised({"quant_method": "fp8", "modules_to_not_convert": ["gate"]}, QWEN_MOE)  # the router, not gate_proj
    assert gates.stack == quantised({"quant_method": "fp8"}, QWEN_MOE).stack


def test_a_method_may_mean_the_experts_only_or_types_by_module() -> None:
    (group,) = quantised({"quant_method": "mxfp4"}, QWEN_MOE).stack
    assert group.weights.attention is not None
    assert (group.weights.attention.dtype, group.weights.experts) == ("bf16", None)
    mixed = {f"model.layers.{n}.self_attn.{p}": {"quant_algo": "FP8"} for n in range(32) for p in ("q_proj", "o_proj")}
    mixed |= {
        f"model.layers.{n}.mlp.{p}": {"quant_algo": "W4A16_NVFP4"} for n in range(32) for p in ("gate_proj", "down_proj")
    }
    found = quantised({"quant_method": "modelopt", "quantized_layers": {**mixed, "lm_head": {"quant_algo": "FP8"}}})
    (group,) = found.stack
    assert {"fp8", "fp4"} == {
        found.weight_dtype,
        *(part.dtype for part in (group.weights.attention, group.weights.mlp) if part),
    }
    assert found.head_weights is not None
    assert found.head_weights.dtype == "fp8"


def test_a_scheme_for_the_cache_is_what_auto_stores() -> None:
    scheme = {"num_bits": 8, "type": "float"}
    assert quantised({"quant_method": "modelopt", "quant_algo": "NVFP4", "kv_cache_scheme": scheme}).kv_cache_dtype == "fp8"
    assert quantised({"quant_method": "modelopt", "quant_algo": "FP8"}).kv_cache_dtype == "bf16"


def test_the_file_beside_states_it_too(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    beside = {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(beside))
    found = model_from_hf_config(tmp_path)
    assert (found.weight_dtype, found.kv_cache_dtype) == ("fp8", "fp8")


def test_a_name_that_says_what_nothing_states_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "Llama-3.1-8B-FP8.json"
    file.write_text(json.dumps(LLAMA))
    with pytest.raises(ConfigError, match=r"FP8.*hf_quant_config"):
        model_from_hf_config(file)
    other = tmp_path / "Llama-3.1-70B.json"
    other.write_text(json.dumps(LLAMA))
    with pytest.raises(ConfigError, match=r"70B.*8\.0B"):
        model_from_hf_config(other)


@pytest.mark.parametrize(
    ("quantisation", "message"),
    [
        (["fp8"], "quantization_config"),
        ({"quant_method": "vptq"}, "vptq"),
        ({"quant_method": "gptq", "bits": 7}, "bits"),
        ({"quant_method": "modelopt", "quant_algo": "W3A3"}, "W3A3"),
        ({"quant_method": "compressed-tensors", "config_groups": []}, "config_groups"),
        ({"quant_method": "fp8", "ignored_layers": "lm_head"}, "ignored_layers"),
        ({"quant_method": "fp8", "ignored_layers": ["re:("]}, "regular expression"),
        ({"quant_method": 8}, "quant_method"),
    ],
)
def test_what_is_not_supported_is_named(quantisation: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        quantised(quantisation)


@pytest.mark.parametrize(
    ("quantisation", "parts"),
    [
        (
            {"quant_method": "gptq", "bits": 4, "group_size": 128,
             "dynamic": {r"+:.*\.mlp\..*": {"bits": 8, "group_size": 64}, r"-:.*self_attn.*": {}}},
            {"attention": "bf16", "mlp": "int8_weight_only"},
        ),
        (
            {"quant_method": "auto-round", "bits": 4, "extra_config": {".*self_attn.*": {"bits": 8}, ".*mlp.*": {"bits": 16}}},
            {"attention": "int8_weight_only", "mlp": "bf16"},
        ),
        (
            {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4", "group_size": 32}},
             "layer_quant_config": {"*self_attn*": {"weight": {"dtype": "fp8_e4m3"}}}},
            {"attention": "fp8", "mlp": None},
        ),
    ],
    ids=["gptq", "auto-round", "quark"],
)  # fmt: skip
def test_modules_with_types_of_their_own(quantisation: dict[str, Any], parts: dict[str, str | None]) -> None:
    weights = quantised(quantisation).stack[0].weights
    assert {part: own.dtype if (own := getattr(weights, part)) else None for part in parts} == parts


def test_a_whole_layer_may_be_left_alone() -> None:
    for name in ("model.layers.0", "model.layers.0*", "model.layers.0.*"):
        first, rest = quantised({"quant_method": "fp8", "modules_to_not_convert": [name]}).stack
        assert (first.count, first.weights.mlp.dtype if first.weights.mlp else None, rest.count) == (1, "bf16", 31)


def test_a_stated_type_needs_no_method_that_is_known() -> None:
    facts = {**LLAMA, "quantization_config": {"quant_method": "exl2"}}
    with pytest.raises(ConfigError, match="weight_dtype overrides"):
        model_from_data({"hf_config": facts})
    assert model_from_data({"hf_config": facts, "weight_dtype": "int4"}).weight_dtype == "int4"
    with pytest.raises(ConfigError, match="MLX"):
        model_from_data({"hf_config": {**LLAMA, "quantization": {"bits": 4, "group_size": 64}}})


@pytest.mark.parametrize(
    "stated", [{"kv_cache_scheme": {"num_bits": 4, "type": "float"}}, {"kv_cache_quant_algo": "NVFP4"}], ids=["scheme", "algorithm"]
)
def test_a_cache_of_four_bits_is_said_not_to_be_modelled(stated: dict[str, Any]) -> None:
    found = quantised({"quant_method": "modelopt", "quant_algo": "NVFP4", **stated})
    assert found.kv_cache_dtype == "bf16"
    assert "cache of 4 bits" in found.notes[-1]
