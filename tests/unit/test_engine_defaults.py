"""``resolve_engine``: vLLM's defaults by GPU, its caps, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from pydantic import ValidationError

from sim.errors import ConfigError, DoesNotFitError
from sim.perf import memory_plan, resolve_engine
from sim.perf.cuda_graphs import capture_sizes, padded_tokens
from sim.perf.geometry import weights_bytes_per_gpu
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


def test_auto_cuts_a_long_context_to_what_the_pool_holds() -> None:
    engine = resolve_engine(EngineSpec(max_model_len="auto"), model("llama3_8b"), gpu("l4"))
    plan = memory_plan(model("llama3_8b"), gpu("l4"), engine)
    assert engine.max_model_len == plan.kv_tokens < 131_072
    assert plan.kv_tokens == (plan.num_gpu_blocks - 1) * 16


@pytest.mark.parametrize("length", [None, 131_072])
def test_a_context_that_does_not_fit_is_refused_with_the_one_that_does(length: int | None) -> None:
    """vLLM does the same, whether the length was asked for or is the model's own."""
    engine = resolve_engine(EngineSpec(max_model_len=length), model("llama3_8b"), gpu("l4"))
    with pytest.raises(DoesNotFitError, match=r"131,072.*max_model_len=(\d+) would fit") as error:
        memory_plan(model("llama3_8b"), gpu("l4"), engine)
    fits = int(re.findall(r"max_model_len=(\d+) would fit", str(error.value))[0])
    assert memory_plan(model("llama3_8b"), gpu("l4"), replace(engine, max_model_len=fits)).max_model_len == fits
    with pytest.raises(DoesNotFitError):
        memory_plan(model("llama3_8b"), gpu("l4"), replace(engine, max_model_len=fits + 16))


def test_weights_that_do_not_fit_are_refused_with_the_arithmetic() -> None:
    engine = resolve_engine(EngineSpec(), model("llama3_70b"), gpu("l40s"))
    with pytest.raises(DoesNotFitError, match=r"(?s)70\.6B.*weights.*GiB.*KV pool"):
        memory_plan(model("llama3_70b"), gpu("l40s"), engine)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.10", (0.90, False, False, False)), ("v0.14.1", (0.90, False, True, False)),
        ("0.19.0", (0.90, False, True, True)),
        ("0.26", (0.92, True, True, True)), ("0.33", (0.92, True, True, True)), (0.30, (0.92, True, True, True)),
    ],
)  # fmt: skip
def test_a_release_states_its_defaults(version: str, expected: tuple[float, bool, bool, bool]) -> None:
    found = EngineSpec(version=version)
    assert expected == (
        found.gpu_memory_utilization, found.estimate_cudagraph_memory, found.async_scheduling, found.scheduler_reserve_full_isl
    )  # fmt: skip
    assert EngineSpec(version=version, gpu_memory_utilization=0.5).gpu_memory_utilization == 0.5


def test_large_gpus_have_the_large_budget_since_0_28() -> None:
    for version, tokens in (("0.27", 8192), ("0.28", 16_384)):
        assert resolve_engine(EngineSpec(version=version), model("llama3_8b"), gpu("b200")).max_num_batched_tokens == tokens
    small = replace(gpu("rtx_pro_6000"), name="gb10", memory_gib=119.7)
    assert resolve_engine(EngineSpec(), model("llama3_8b"), small).max_num_batched_tokens == 2048


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"max_model_len": "32k"}, {"max_model_len": 32_000}), ({"max_model_len": "32K"}, {"max_model_len": 32_768}),
        ({"max_num_batched_tokens": "8k"}, {"max_num_batched_tokens": 8000}),
        ({"kv_cache_memory_bytes": "20G"}, {"kv_cache_memory_bytes": 20 * 2**30}),
        ({"kv_cache_memory_bytes": "20GiB"}, {"kv_cache_memory_bytes": 20 * 2**30}),
        ({"kv_cache_dtype": "fp8_e4m3"}, {"kv_cache_dtype": "fp8"}),
        ({"kv_cache_dtype": "bfloat16"}, {"kv_cache_dtype": "bf16"}),
        ({"quantization": "fp8"}, {"quantization": "fp8"}), ({"dtype": "bfloat16"}, {"dtype": "bf16"}),
        ({"dtype": "half"}, {"dtype": "fp16"}),
        ({"quantization": "int8_per_channel_weight_only"}, {"quantization": "int8_weight_only"}),
    ],
)  # fmt: skip
def test_vllms_spellings_are_legal(stated: dict[str, str], expected: dict[str, object]) -> None:
    found = EngineSpec(**stated)  # type: ignore[arg-type]
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize("stated", [{"version": "0.5"}, {"version": "9.9"}, {"max_model_len": 1}, {"max_model_len": "long"}])
def test_what_is_no_release_or_length_is_refused(stated: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EngineSpec(**stated)  # type: ignore[arg-type]


def test_an_engine_may_quantise_while_loading() -> None:
    engine = EngineSpec(quantization="fp8", max_model_len=8192)
    plan = memory_plan(model("llama3_8b"), gpu("h100"), resolve_engine(engine, model("llama3_8b"), gpu("h100")))
    eight = replace(model("llama3_8b"), weight_dtype="fp8")
    assert plan.weights_bytes_per_gpu == weights_bytes_per_gpu(eight)
    assert memory_plan(eight, gpu("h100"), resolve_engine(engine, eight, gpu("h100"))).num_gpu_blocks == plan.num_gpu_blocks


def test_illegal_tensor_parallel_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tensor_parallel_size.*3"):
        resolve_engine(EngineSpec(tensor_parallel_size=3), model("llama3_8b"), gpu("h100"))
    with pytest.raises(ConfigError, match=r"16 GPUs.*2 machines.*whose network is not known"):
        resolve_engine(EngineSpec(tensor_parallel_size=16), model("llama3_8b"), gpu("l40s"))


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
    engine = resolve_engine(EngineSpec(num_gpu_blocks_override=100, max_model_len="auto"), model("llama3_8b"), gpu("h100"))
    plan = memory_plan(model("llama3_8b"), gpu("h100"), engine)
    assert (plan.num_gpu_blocks, plan.kv_tokens, engine.max_model_len) == (100, 1584, 1584)
    assert "num_gpu_blocks_override" in plan.explain()
