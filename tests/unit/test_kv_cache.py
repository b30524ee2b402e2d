"""Groups of layers in the KV cache against what servers with windows and recurrent states logged.

Each row: facts of a published config.json, the engine's options, GiB that the log calls available, and its KV tokens.
"""

from __future__ import annotations

from typing import Any

import pytest

from sim.engine.policies import make_scheduler
from sim.engine.request import EngineRequest
from sim.engine.scheduler import Scheduler
from sim.fleet.blueprint import Blueprint
from sim.perf import memory_plan, resolve_engine
from sim.perf.hf_config import model_from_facts
from sim.perf.kv_cache import cache_layout
from sim.perf.memory import arithmetic
from sim.spec import EngineSpec
from sim.units import GIB
from tests.presets import gpu, model

GPT_OSS = {
    "model_type": "gpt_oss", "hidden_size": 2880, "num_hidden_layers": 24, "num_attention_heads": 64, "head_dim": 64,
    "num_key_value_heads": 8, "intermediate_size": 2880, "num_local_experts": 32, "num_experts_per_tok": 4,
    "vocab_size": 201088, "sliding_window": 128, "max_position_embeddings": 131072,
}  # fmt: skip
QWEN35 = {
    "model_type": "qwen3_5_text", "hidden_size": 5120, "num_hidden_layers": 64, "num_attention_heads": 24, "head_dim": 256,
    "num_key_value_heads": 4, "intermediate_size": 17408, "vocab_size": 248320, "full_attention_interval": 4,
    "linear_num_key_heads": 16, "linear_num_value_heads": 48, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4, "mamba_ssm_dtype": "float32", "max_position_embeddings": 262144,
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "options", "available_gib", "tokens"),
    [
        (GPT_OSS, {"version": "0.13.0", "max_model_len": 8192, "max_num_batched_tokens": 2048}, 12.94, 282_624),
        (QWEN35, {"version": "0.19.0", "max_model_len": 32768, "tensor_parallel_size": 4}, 7.00, 114_464),
        (QWEN35, {"version": "0.27.1", "max_model_len": 4096, "max_num_batched_tokens": 4096}, 41.03, 292_522),
    ],
    ids=["gpt_oss_20b", "qwen3_5_27b_tp4", "qwen3_5_27b"],
)
def test_tokens_are_those_of_the_log(
    facts: dict[str, Any], options: dict[str, Any], available_gib: float, tokens: int
) -> None:
    spec = model_from_facts(facts, "config.json", "a model")
    engine = resolve_engine(EngineSpec(**options), spec, gpu("h100"))
    layout = cache_layout(spec, engine)
    blocks = int(available_gib * GIB / layout.block_bytes)
    assert layout.tokens(blocks, engine.max_model_len or 0) == pytest.approx(tokens, rel=1e-3)


def test_gpt_oss_holds_the_streams_that_the_log_counts() -> None:
    spec = model_from_facts(GPT_OSS, "config.json", "a model")
    options: dict[str, Any] = {"version": "0.13.0", "max_model_len": 8192, "max_num_batched_tokens": 2048}
    layout = cache_layout(spec, resolve_engine(EngineSpec(**options), spec, gpu("h100")))
    assert [(group.kind, group.layers) for group in layout.groups] == [("sliding", 12), ("full", 12)]
    assert int(layout.concurrency(35_333, 8192)) == 54


def test_windows_are_cut_into_groups_as_large_as_the_smallest_kind() -> None:
    spec = model("gemma3_12b")  # 40 sliding, 8 full
    layout = cache_layout(spec, resolve_engine(EngineSpec(), spec, gpu("h100")))
    assert [group.kind for group in layout.groups] == ["sliding"] * 5 + ["full"]
    assert layout.block_bytes == 8 * 2 * 8 * 256 * 2 * 16
    assert layout.blocks_while_decoding(131_072) == 8192 + 5 * (65 + 1)


def test_the_engine_of_one_group_is_charged_every_token_in_every_group() -> None:
    """A sequence within its windows costs that much; one of the model's own length always fits."""
    spec = model("gemma3_12b")
    for length in (8192, 131_072):
        engine = resolve_engine(EngineSpec(max_model_len=length), spec, gpu("h100"))
        plan = memory_plan(spec, gpu("h100"), engine)
        assert plan.one_group_tokens >= max(length, (plan.num_gpu_blocks - 1) // 6 * 16) - 16
        assert plan.one_group_tokens <= max(length, plan.num_gpu_blocks // 6 * 16) + 16
    assert memory_plan(spec, gpu("h100"), engine).most_sequences is None


def test_short_windows_of_every_seat_are_set_aside() -> None:
    """DeepSeek V4: a decoding sequence holds 8 + 4 + 18 blocks of windows, a batch in flight its own."""
    spec = model("deepseek_v4_flash")
    options: dict[str, Any] = {"max_model_len": 131_072, "tensor_parallel_size": 4, "max_num_seqs": 256}
    plan = memory_plan(spec, gpu("h200"), resolve_engine(EngineSpec(**options), spec, gpu("h200")))
    assert plan.most_sequences == 256
    in_flight = 2 * (16_384 // 64) + 16_384 // 4 + 16_384 // 8
    assert plan.one_group_tokens == (plan.num_gpu_blocks - 1 - in_flight - 256 * (2 * 4 + 4 + 18)) * 256


def test_states_are_simulated_in_groups_and_without_prefix_hits() -> None:
    spec = model("qwen3_5_27b")
    for version, hits, pages in (("0.33", True, 2), ("0.26", False, 1)):
        engine = EngineSpec(version=version, max_model_len=8192, max_num_seqs=512)
        plan = memory_plan(spec, gpu("h100"), resolve_engine(engine, spec, gpu("h100")))
        assert (plan.caches_prefixes, plan.without_hits) == (hits, hits)
        served = Blueprint("main", spec, gpu("h100"), engine)
        assert [group.pages for group in served.groups if group.kind == "state"] == [pages] * 3
        assert (served.engine.enable_prefix_caching, served.engine.block_size) == (False, 784)
        scheduler = make_scheduler(served.engine, served.blocks, "engine", lambda: 0.0, groups=served.groups)
        assert plan.streams(1560) - 2 <= most_at_once(scheduler, 90, 1500, 60) <= plan.streams(1560)


@pytest.mark.parametrize(("length", "gib"), [(30_000, 6.66), (13_528, 5.44)])
def test_compressed_attention_needs_what_the_server_said(length: int, gib: float) -> None:
    """vLLM 0.22 with DeepSeek-V4-Flash on two GH200 (vllm-project/vllm#44376): 30,000 tokens need 6.66 GiB, and 13,528 is
    the most that its 5.44 GiB hold."""
    spec = model("deepseek_v4_flash")
    options: dict[str, Any] = {"version": "0.22", "max_num_batched_tokens": 16_384, "kv_cache_dtype": "fp8"}
    layout = cache_layout(spec, resolve_engine(EngineSpec(max_model_len=length, **options), spec, gpu("gh200")))
    assert round(layout.blocks_of(length) * layout.block_bytes / GIB, 2) == gib
    assert layout.blocks_of(length + 8) * layout.block_bytes / GIB > gib - 0.005
    assert [(group.kind, group.layers, group.block_size, group.window) for group in layout.groups] == [
        ("full", 21, 256, 0), ("sliding", 22, 64, 128), ("sliding", 22, 64, 128), ("sliding", 21, 4, 8), ("sliding", 20, 8, 128),
    ]  # fmt: skip


def test_blocks_of_two_lengths_hold_the_streams_of_the_layout() -> None:
    """Gemma 4: global layers have blocks twice as long; two window groups of the longer blocks stand for one."""
    spec = model("gemma4_31b")
    served = Blueprint("main", spec, gpu("h200"), EngineSpec(max_model_len=32_768, async_scheduling=False))
    assert [(group.kind, group.block_size) for group in served.groups] == [("sliding", 32)] * 10 + [("full", 32)]
    scheduler = make_scheduler(served.engine, served.blocks, "engine", lambda: 0.0, groups=served.groups)
    plan = memory_plan(spec, gpu("h200"), resolve_engine(served.stated, spec, gpu("h200")))
    assert plan.streams(8192) - 3 <= most_at_once(scheduler, 60, 7600, 592) <= plan.streams(8192) + 3


def test_one_kind_is_one_group_and_its_tokens_are_blocks_times_their_size() -> None:
    spec = model("llama3_8b")
    layout = cache_layout(spec, resolve_engine(EngineSpec(), spec, gpu("h100")))
    assert [(group.kind, group.layers) for group in layout.groups] == [("full", 32)]
    assert (layout.block_bytes, layout.tokens(100, 8192)) == (131_072 * 16, 1600)
    assert layout.blocks_of(8192) == 512


def most_at_once(scheduler: Scheduler, requests: int, prompt: int, output: int) -> int:
    """The most requests that hold their whole prompt side by side before anybody is preempted."""
    for number in range(requests):
        scheduler.add(EngineRequest(number, prompt, output))
    most = 0
    while not scheduler.books.preemptions and (batch := scheduler.compose()) is not None:
        if not batch.number:
            scheduler.close(batch)
        scheduler.complete(batch)
        most = max(most, scheduler.books.decodes.size)
    return most


def test_the_engine_holds_the_streams_of_windows() -> None:
    """gpt-oss-20b at 8k: what vLLM's log counts (54) and some more, as a running request has less in flight."""
    spec = model_from_facts(GPT_OSS, "config.json", "a model")
    options: dict[str, Any] = {"version": "0.13.0", "max_model_len": 8192, "max_num_batched_tokens": 2048}
    engine = EngineSpec(num_gpu_blocks_override=35_333, async_scheduling=False, enable_prefix_caching=False, **options)
    served = Blueprint("main", spec, gpu("h100"), engine)
    assert [group.kind for group in served.groups] == ["sliding", "full"]
    scheduler = make_scheduler(served.engine, served.blocks, "engine", lambda: 0.0, groups=served.groups)
    assert 54 <= most_at_once(scheduler, 100, 7600, 592) <= 35_332 // (475 + 9)
    alone = make_scheduler(served.engine, 35_333 // 2, "engine", lambda: 0.0)
    assert most_at_once(alone, 100, 7600, 592) in (34, 35, 36)


def test_long_windows_hold_several_times_more() -> None:
    """Gemma-3-27B at 128k: five of six groups hold a window of 1,024."""
    spec = model("gemma3_27b")
    engine = EngineSpec(max_model_len=131_072, tensor_parallel_size=2, enable_prefix_caching=False)
    plan = memory_plan(spec, gpu("h100"), resolve_engine(engine, spec, gpu("h100")))
    served = Blueprint("main", spec, gpu("h100"), engine)
    assert served.blocks == plan.num_gpu_blocks
    scheduler = make_scheduler(served.engine, served.blocks, "engine", lambda: 0.0, groups=served.groups)
    now = most_at_once(scheduler, 60, 128_000, 1000)
    assert int(plan.concurrency) <= now <= plan.streams(128_000)
    assert now > 4.6 * plan.one_group_tokens / 129_000


def test_windows_keep_every_token_without_the_hybrid_manager() -> None:
    spec = model("gemma3_12b")
    layout = cache_layout(spec, resolve_engine(EngineSpec(disable_hybrid_kv_cache_manager=True), spec, gpu("h100")))
    assert [(group.kind, group.layers) for group in layout.groups] == [("full", 48)]


def test_states_are_kept_in_the_type_that_is_asked_for() -> None:
    spec = model("qwen3_5_27b")
    sizes = [
        memory_plan(
            spec, gpu("h100"), resolve_engine(EngineSpec(max_model_len=4096, mamba_ssm_cache_dtype=dtype), spec, gpu("h100"))
        )
        for dtype in ("fp32", "bf16")
    ]
    assert sizes[0].layout.block_bytes > sizes[1].layout.block_bytes
    assert sizes[1].streams(1) > 1.8 * sizes[0].streams(1)


def test_towers_lie_whole_on_every_gpu_where_they_work_on_pictures_of_their_own() -> None:
    spec = model("mistral_large_3")
    plans = [
        arithmetic(
            spec, gpu("h200"), resolve_engine(EngineSpec(tensor_parallel_size=8, mm_encoder_tp_mode=mode), spec, gpu("h200"))
        )
        for mode in ("weights", "data")
    ]
    more = plans[1].weights_bytes_per_gpu - plans[0].weights_bytes_per_gpu
    assert more == pytest.approx(2 * sum(tower.parameters for tower in spec.towers) * 7 / 8)
