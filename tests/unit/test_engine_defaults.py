"""``resolve_engine``: vLLM's defaults by GPU, its caps, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sim.errors import ConfigError, DoesNotFitError
from sim.perf import memory_plan, resolve_engine
from sim.perf.cuda_graphs import capture_sizes, padded_tokens
from sim.spec import EngineSpec
from tests.presets import gpu, model


@pytest.mark.parametrize(
    ("device", "tokens", "seqs"),
    [("l40s", 2048, 256), ("a100_80", 2048, 256), ("l4", 2048, 256), ("h100", 8192, 1024), ("rtx_pro_6000", 8192, 1024),
     ("h200", 8192, 1024), ("b200", 16384, 1024), ("mi300x", 16384, 1024)],
)  # fmt: skip
def test_batch_limits_follow_the_gpu(device: str, tokens: int, seqs: int) -> None:
    engine = resolve_engine(EngineSpec(), model("llama3_8b"), gpu(device))
    assert (engine.max_num_batched_tokens, engine.max_num_seqs) == (tokens, seqs)


def test_token_budget_is_capped_by_sequences_times_length_and_caps_sequences() -> None:
    engine = resolve_engine(EngineSpec(max_num_seqs=4, max_model_len=100), model("llama3_8b"), gpu("l40s"))
    assert engine.max_num_batched_tokens == 400
    engine = resolve_engine(EngineSpec(max_num_batched_tokens=64), model("llama3_8b"), gpu("l40s"))
    assert engine.max_num_seqs == 64


def test_without_chunked_prefill_the_budget_holds_a_whole_prompt() -> None:
    spec = EngineSpec(enable_chunked_prefill=False, max_model_len=8192)
    assert resolve_engine(spec, model("llama3_8b"), gpu("l40s")).max_num_batched_tokens == 8192
    with pytest.raises(ConfigError, match=r"max_num_batched_tokens.*8192.*2048"):
        resolve_engine(replace(spec, max_num_batched_tokens=2048), model("llama3_8b"), gpu("l40s"))


def test_a_long_context_is_cut_to_what_the_pool_holds() -> None:
    engine = resolve_engine(EngineSpec(), model("llama3_8b"), gpu("l4"))
    plan = memory_plan(model("llama3_8b"), gpu("l4"), engine)
    assert engine.max_model_len == plan.kv_tokens < 131_072
    assert plan.kv_tokens == (plan.num_gpu_blocks - 1) * 16


def test_a_context_asked_for_that_does_not_fit_is_refused_with_the_one_that_does() -> None:
    engine = resolve_engine(EngineSpec(max_model_len=131_072), model("llama3_8b"), gpu("l4"))
    with pytest.raises(DoesNotFitError, match=r"131,072.*max_model_len=\d+ would fit"):
        memory_plan(model("llama3_8b"), gpu("l4"), engine)


def test_weights_that_do_not_fit_are_refused_with_the_arithmetic() -> None:
    with pytest.raises(DoesNotFitError, match=r"(?s)70\.6B.*weights.*GiB.*KV pool"):
        resolve_engine(EngineSpec(), model("llama3_70b"), gpu("l40s"))


@pytest.mark.parametrize("tensor", [3, 16])
def test_illegal_tensor_parallel_sizes_are_refused(tensor: int) -> None:
    with pytest.raises(ConfigError, match=f"tensor_parallel_size.*{tensor}"):
        resolve_engine(EngineSpec(tensor_parallel_size=tensor), model("llama3_8b"), gpu("h100"))


def test_sequences_above_the_default_budget_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_num_batched_tokens >= max_num_seqs"):
        resolve_engine(EngineSpec(max_num_seqs=4096), model("llama3_8b"), gpu("l40s"))


def test_capture_sizes_are_vllms() -> None:
    engine = resolve_engine(EngineSpec(), model("llama3_8b"), gpu("h100"))
    sizes = capture_sizes(engine, gpu("h100"))
    assert len(sizes) == 51
    assert [padded_tokens(t, sizes) for t in (1, 3, 9, 250, 512, 513)] == [1, 4, 16, 256, 512, 513]
    assert capture_sizes(replace(engine, enforce_eager=True), gpu("h100")) == ()


def test_override_replaces_the_arithmetic() -> None:
    engine = resolve_engine(EngineSpec(num_gpu_blocks_override=100), model("llama3_8b"), gpu("h100"))
    plan = memory_plan(model("llama3_8b"), gpu("h100"), engine)
    assert (plan.num_gpu_blocks, plan.kv_tokens, engine.max_model_len) == (100, 1584, 1584)
    assert "num_gpu_blocks_override" in plan.explain()
