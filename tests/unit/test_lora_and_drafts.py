"""Memory and time of adapters and drafts, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sim.errors import ConfigError, DoesNotFitError
from sim.fleet.blueprint import Blueprint
from sim.perf import memory_plan, resolve_engine, step_time_model
from sim.perf.drafting import draft_kv_share, draft_weights_bytes, drafting_of
from sim.perf.lora import adapter_bytes, disk_load_s, slot_bytes, slot_load_s
from sim.perf.step_time import Verified
from sim.perf.verification import verification_time
from sim.spec import EngineSpec
from sim.units import GIB
from tests.presets import gpu, model

LLAMA, DEEPSEEK = model("llama3_8b"), model("deepseek_v3")


def eagle(drafts: int = 3, **more: Any) -> dict[str, Any]:
    return {"method": "eagle3", "num_speculative_tokens": drafts, **more}


def test_a_slot_of_llama_is_5_2_mb_a_unit_of_rank() -> None:
    for rank in (1, 16, 64, 256):
        assert slot_bytes(LLAMA, EngineSpec(max_loras=1, max_lora_rank=rank)) == 81_920 * 32 * 2 * rank
    attention = EngineSpec(max_loras=1, max_lora_rank=16, lora={"modules": "attention"})  # type: ignore[arg-type]
    assert slot_bytes(LLAMA, attention) == (8192 + 2 * 5120 + 8192) * 32 * 2 * 16


def test_tensor_parallel_splits_one_factor_or_both() -> None:
    columns = (4096, 4096), (4096, 1024), (4096, 1024), (4096, 14336), (4096, 14336)
    rows = (4096, 4096), (14336, 4096)
    one = sum(a + b / 2 for a, b in columns) + sum(a / 2 + b for a, b in rows)
    assert slot_bytes(LLAMA, EngineSpec(max_loras=1, tensor_parallel_size=2)) == one * 32 * 2 * 16
    both = EngineSpec(max_loras=1, tensor_parallel_size=2, fully_sharded_loras=True)
    assert slot_bytes(LLAMA, both) == 81_920 / 2 * 32 * 2 * 16
    sixteen = EngineSpec(max_loras=1, tensor_parallel_size=16)  # eight K and V heads are repeated
    columns_kv = sum(a + b / (8 if b == 1024 else 16) for a, b in columns)
    assert slot_bytes(LLAMA, sixteen) == (columns_kv + sum(a / 16 + b for a, b in rows)) * 32 * 2 * 16


def test_loading_is_bytes_over_rates() -> None:
    engine = EngineSpec(max_loras=1, max_lora_rank=64, lora={"rank": 16, "load_s": 0.5})  # type: ignore[arg-type]
    assert adapter_bytes(LLAMA, engine) == 81_920 * 32 * 2 * 16
    assert disk_load_s(LLAMA, engine) == pytest.approx(0.5 + adapter_bytes(LLAMA, engine) / GIB)
    assert slot_load_s(LLAMA, engine) == pytest.approx(adapter_bytes(LLAMA, engine) / (20 * GIB))


def test_drafts_take_what_published_ones_take() -> None:
    engine = EngineSpec(speculative=eagle())  # type: ignore[arg-type]
    draft = drafting_of(LLAMA, engine)
    assert draft is not None
    assert draft_weights_bytes(draft, engine) / 2 == pytest.approx(0.43e9, rel=0.02)
    assert draft_kv_share(LLAMA, engine) == 1 / 32
    mtp = EngineSpec(speculative={"method": "mtp", "num_speculative_tokens": 1})  # type: ignore[arg-type]
    module = drafting_of(DEEPSEEK, mtp)
    assert module is not None
    assert draft_weights_bytes(module, mtp) == pytest.approx(11.5e9, rel=0.03)
    assert draft_kv_share(DEEPSEEK, mtp) == pytest.approx(1 / 61)
    whole = EngineSpec(speculative={"method": "draft_model", "num_speculative_tokens": 2, "model": LLAMA})  # type: ignore[arg-type]
    assert draft_kv_share(model("llama3_70b"), whole) == pytest.approx(32 / 80)
    assert drafting_of(LLAMA, EngineSpec(speculative={"method": "ngram", "num_speculative_tokens": 2})) is None  # type: ignore[arg-type]


def plan(**engine: Any) -> Any:
    stated = EngineSpec(max_model_len=8192, **engine)
    return memory_plan(LLAMA, gpu("l40s"), resolve_engine(stated, LLAMA, gpu("l40s")))


def test_both_come_off_the_pool() -> None:
    plain, drafted = plan(), plan(speculative=eagle())
    assert drafted.layout.block_bytes == plain.layout.block_bytes * 33 / 32
    assert "draft weights" in drafted.explain() and drafted.num_gpu_blocks < plain.num_gpu_blocks
    four, eight = plan(max_loras=4), plan(max_loras=8)
    assert four.kv_pool_bytes - eight.kv_pool_bytes == pytest.approx(4 * 81_920 * 32 * 2 * 16)


def test_adapters_over_memory_are_refused_with_the_arithmetic() -> None:
    with pytest.raises(DoesNotFitError) as caught:
        plan(max_loras=400, max_lora_rank=64)
    for word in ("400 LoRA slots of rank 64", "leave no KV pool", "At most 7", "= ", "usable of"):
        assert word in str(caught.value), word


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ({"speculative": {"method": "draft_model", "num_speculative_tokens": 2}}, "needs the draft's geometry"),
        (
            {"speculative": {"method": "draft_model", "num_speculative_tokens": 2, "model": model("llama2_7b")}},
            "share a vocabulary",
        ),
        ({"speculative": eagle(), "pipeline_parallel_size": 2}, "pipeline"),
    ],
)
def test_impossible_combinations_are_refused(engine: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve_engine(EngineSpec(**engine), LLAMA, gpu("h100"))


def test_adapters_of_experts_that_are_spread_are_refused_and_ngram_is_synchronous() -> None:
    for more in ({"data_parallel_size": 8}, {"tensor_parallel_size": 8, "enable_expert_parallel": True}):
        with pytest.raises(ConfigError, match=r"experts of deepseek_v3 lie on 8 GPUs .*lora.modules=attention"):
            resolve_engine(EngineSpec(max_loras=2, **more), DEEPSEEK, gpu("h200"))  # type: ignore[arg-type]
        attention = EngineSpec(max_loras=2, max_model_len=8192, lora={"modules": "attention"}, **more)  # type: ignore[arg-type]
        assert resolve_engine(attention, DEEPSEEK, gpu("h200")).max_loras == 2
    ngram = EngineSpec(speculative={"method": "ngram", "num_speculative_tokens": 2})  # type: ignore[arg-type]
    assert ngram.async_scheduling and not resolve_engine(ngram, LLAMA, gpu("h100")).async_scheduling


def test_verifying_costs_rows_and_drafts() -> None:
    def times(drafts: int, n: int) -> tuple[float, float]:
        stated = EngineSpec(max_model_len=8192, speculative=eagle(drafts))  # type: ignore[arg-type]
        engine = resolve_engine(stated, LLAMA, gpu("l40s"))
        plain = step_time_model(LLAMA, gpu("l40s"), replace(engine, speculative=EngineSpec().speculative))
        verified = Verified(n, n * (1 + drafts), n * 1000, True)
        return plain.step((), n, n * 1000), verification_time(LLAMA, gpu("l40s"), engine).verification((), verified)

    few, many = times(3, 4), times(3, 256)
    assert 1.0 < few[1] / few[0] < 1.35  # bound by memory: rows are nearly free, three passes of a small draft are not
    assert many[1] / many[0] > few[1] / few[0]
    assert times(1, 4)[1] < times(3, 4)[1] < times(7, 4)[1]


def test_the_servers_of_a_pool_share_the_step_times_of_adapters() -> None:
    """Their tables are made once, as those of the base model are; slots are each server's own."""
    blueprint = Blueprint("main", LLAMA, gpu("h100"), EngineSpec(max_loras=2))
    one, other = blueprint.adapters(), blueprint.adapters()
    assert one is not None and other is not None and one is not other
    assert one.time is other.time is not blueprint.step_time
