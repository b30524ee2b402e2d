"""Weights and KV per GPU under parallelism and quantisation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.perf import memory_plan, parameter_count, resolve_engine
from sim.perf.geometry import kv_bytes_per_token_per_gpu, weights_bytes_per_gpu
from sim.spec import EngineSpec
from sim.units import GIB
from tests.presets import gpu, model


def test_bf16_weights_are_two_bytes_a_parameter() -> None:
    for name in ("llama3_8b", "mixtral_8x7b", "deepseek_v3"):
        spec = replace(model(name), weight_dtype="bf16")
        assert weights_bytes_per_gpu(spec) == pytest.approx(2 * parameter_count(spec), rel=1e-3)


def test_quantised_weights_keep_embeddings_in_16_bits() -> None:
    bf16 = model("llama3_8b")
    embeddings = 2 * bf16.vocab_size * bf16.hidden_size * 2
    matrices = weights_bytes_per_gpu(bf16) - embeddings
    assert weights_bytes_per_gpu(replace(bf16, weight_dtype="fp8")) == pytest.approx(embeddings + matrices / 2, rel=1e-3)
    int4 = weights_bytes_per_gpu(replace(bf16, weight_dtype="int4"))
    assert embeddings + matrices / 4 < int4 < embeddings + matrices / 3.5


def test_kv_heads_are_repeated_beyond_their_number() -> None:
    llama = model("llama3_70b")
    assert kv_bytes_per_token_per_gpu(llama, "auto", 8) == 40_960
    assert kv_bytes_per_token_per_gpu(llama, "auto", 16) == 40_960
    assert weights_bytes_per_gpu(llama, 16) > weights_bytes_per_gpu(llama) / 16
    assert kv_bytes_per_token_per_gpu(model("deepseek_v3"), "auto", 8) == 70_272  # the latent is not split


def test_the_terms_of_a_plan_add_up() -> None:
    engine = resolve_engine(EngineSpec(tensor_parallel_size=4), model("llama3_70b"), gpu("h100"))
    plan = memory_plan(model("llama3_70b"), gpu("h100"), engine)
    parts = plan.weights_bytes_per_gpu + plan.activation_bytes + plan.graph_bytes + plan.kv_pool_bytes
    assert parts == pytest.approx(plan.usable_bytes)
    assert plan.usable_bytes == pytest.approx(79.2 * GIB * 0.92)
    block_bytes = plan.kv_bytes_per_token_per_gpu * 16
    assert plan.num_gpu_blocks * block_bytes <= plan.kv_pool_bytes < (plan.num_gpu_blocks + 1) * block_bytes


def test_pipeline_stages_share_the_weights() -> None:
    whole, half = weights_bytes_per_gpu(model("llama3_70b")), weights_bytes_per_gpu(model("llama3_70b"), 1, 2)
    assert half == pytest.approx(whole / 2, rel=0.01)
