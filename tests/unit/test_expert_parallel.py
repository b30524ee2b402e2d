"""Experts over many GPUs: memory of a rank, all-to-all, imbalance, step time, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sim.errors import ConfigError, DoesNotFitError
from sim.perf import memory_plan, resolve_engine, step_time_model
from sim.perf.all_to_all import FREE, all_to_all
from sim.perf.choose import host_overhead
from sim.perf.collectives import all_reduce_s
from sim.perf.expert_load import imbalance, loads_of
from sim.perf.geometry import weights_bytes_per_gpu
from sim.perf.machines import link_bytes_per_s, machines
from sim.perf.memory import MemoryPlan
from sim.perf.rank_step import RankLoad, RankStepTime
from sim.perf.ranks import rank_step_time
from sim.perf.roofline import TOKENS, compute_rate, efficiencies
from sim.perf.tabulated import TabulatedStepTime
from sim.spec import EngineSpec, GpuSpec, ModelSpec
from tests.presets import gpu, model

EP = {"enable_expert_parallel": True}
DEEPSEEK = {**EP, "max_model_len": 16384}


def engine_of(name: str, card: str, **options: Any) -> tuple[ModelSpec, GpuSpec, EngineSpec]:
    return model(name), gpu(card), resolve_engine(EngineSpec(**options), model(name), gpu(card))


def plan_of(name: str, card: str, **options: Any) -> MemoryPlan:
    return memory_plan(*engine_of(name, card, **options))


def ranks_of(name: str, card: str, **options: Any) -> RankStepTime:
    found = step_time_model(*engine_of(name, card, **options))
    assert isinstance(found, RankStepTime)
    return found


def test_gpus_of_a_replica_count_its_ranks() -> None:
    assert EngineSpec(tensor_parallel_size=2, pipeline_parallel_size=3, data_parallel_size=4).gpus == 24


# -- memory ------------------------------------------------------------------------------------------------------------


def test_weights_of_a_rank_by_hand() -> None:
    """DeepSeek-V3 on 32 GPUs with 32 redundant experts: 9 whole experts and everything else on each."""
    plan = plan_of("deepseek_v3", "h800", data_parallel_size=32, enable_eplb=True, num_redundant_experts=32, **DEEPSEEK)
    expert = 3 * 7168 * 2048
    all_of_it = weights_bytes_per_gpu(model("deepseek_v3"))
    assert plan.weights_bytes_per_gpu == pytest.approx(all_of_it - (256 - 9) * 58 * expert, rel=1e-9)


def test_slices_and_whole_experts_weigh_the_same() -> None:
    whole, sliced = (plan_of("qwen3_30b_a3b", "h100", data_parallel_size=8, **extra) for extra in (EP, {}))
    assert whole.weights_bytes_per_gpu == pytest.approx(sliced.weights_bytes_per_gpu)
    assert whole.gpu == "8 x h100"


def test_mla_ranks_hold_as_much_cache_each_as_one_and_together_that_many_times() -> None:
    """A latent is not split by tensor parallelism: 8 ranks have 8 pools where TP 8 repeats one eight times."""
    plan = plan_of("deepseek_v3", "h200", data_parallel_size=8, **DEEPSEEK)
    tensor = plan_of("deepseek_v3", "h200", tensor_parallel_size=8, max_model_len=16384)
    assert plan.kv_bytes_per_token_per_gpu == tensor.kv_bytes_per_token_per_gpu
    assert 8 * plan.kv_tokens > 3 * tensor.kv_tokens


def test_what_does_not_fit_names_more_ranks() -> None:
    with pytest.raises(DoesNotFitError, match=r"on 8 GPU\(s\).*engine\.data_parallel_size"):
        plan_of("deepseek_v3", "h100", data_parallel_size=8, **DEEPSEEK)


# -- imbalance -----------------------------------------------------------------------------------------------------------


def test_loads_are_shares_and_nobody_is_chosen_twice_by_a_token() -> None:
    for experts, active, alpha in ((256, 8, 1.2), (128, 8, 1.0), (8, 2, 2.5), (64, 1, 3.0), (16, 16, 1.5)):
        loads = loads_of(experts, active, alpha)
        assert loads.sum() == pytest.approx(1.0)
        assert loads.max() <= 1 / active + 1e-12
        assert (np.diff(loads) <= 1e-15).all()


def test_imbalance_grows_with_gpus_and_placing_by_load_brings_it_down() -> None:
    assert imbalance(256, 8, 1, 1.2) == imbalance(256, 8, 64, 0.0) == 1.0
    by_gpus = [imbalance(256, 8, gpus, 1.2) for gpus in (2, 8, 32, 128)]
    assert by_gpus == sorted(by_gpus)
    assert 1.2 < by_gpus[1] < 2.0
    placed = imbalance(256, 8, 32, 1.2, by_load=True)
    copied = imbalance(256, 8, 32, 1.2, 32, by_load=True)
    assert 1.0 <= copied < placed < by_gpus[2]
    assert copied < 1.02  # DeepSeek's 32 copies over 32 GPUs


# -- all-to-all ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "dispatch_us", "combine_us"), [(8, 77, 114), (16, 118, 195), (64, 173, 314), (128, 192, 369)]
)
def test_low_latency_kernels_take_what_was_measured(gpus: int, dispatch_us: int, combine_us: int) -> None:
    way = all_to_all("deepep_low_latency", gpus, gpu("h800"), 7168, 8)
    assert way.layer_s(128, 128 * gpus, gpus, 1.0) == pytest.approx((dispatch_us + combine_us) * 1e-6)
    assert 0 < way.layer_s(1, gpus, gpus, 1.0) < way.layer_s(64, 64 * gpus, gpus, 1.0)


def test_all_to_all_grows_with_tokens_imbalance_and_slower_networks() -> None:
    for backend in ("allgather_reducescatter", "deepep_low_latency", "deepep_high_throughput"):
        fast, slow = (
            all_to_all(backend, 16, replace(gpu("h100"), nic_gb_s_per_direction=rate), 7168, 8) for rate in (100, 25)
        )
        assert slow.layer_s(4096, 65536, 16, 1.0) > 1.1 * fast.layer_s(4096, 65536, 16, 1.0)
        assert fast.layer_s(4096, 65536, 16, 1.0) < fast.layer_s(8192, 131072, 16, 1.0)
    way = all_to_all("deepep_high_throughput", 16, gpu("h100"), 7168, 8)
    assert way.layer_s(64, 64 * 16, 16, 2.0) > way.layer_s(64, 64 * 16, 16, 1.0) >= way.layer_s(64, 64, 16, 1.0)
    assert all_to_all("deepep_low_latency", 1, gpu("h100"), 7168, 8) == FREE


def test_gathering_costs_more_bytes_than_sending_to_the_chosen() -> None:
    gathered = all_to_all("allgather_reducescatter", 32, gpu("h100"), 7168, 8).layer_s(4096, 4096 * 32, 32, 1.0)
    assert gathered > 1.5 * all_to_all("deepep_high_throughput", 32, gpu("h100"), 7168, 8).layer_s(4096, 4096 * 32, 32, 1.0)


# -- step time -----------------------------------------------------------------------------------------------------------


def test_one_gpu_with_all_experts_is_today_s_arithmetic() -> None:
    """No imbalance, nothing carried: experts and the rest add up to one engine's step, to rounding."""
    m, g = model("qwen3_30b_a3b"), gpu("h100")
    engine = resolve_engine(EngineSpec(expert_imbalance_alpha=0.0, step_time="roofline"), m, g)
    apart = rank_step_time(m, g, engine, host_overhead(m, g, engine))
    together = step_time_model(m, g, engine)
    assert isinstance(together, TabulatedStepTime)
    for tokens in TOKENS:
        assert apart.own.nonattention_at(tokens) + apart.experts_s(tokens) == pytest.approx(
            together.nonattention_at(tokens), rel=2e-3
        )
        assert apart.experts.carried_s(tokens, tokens) == 0.0


def test_balanced_experts_divide_one_gpu_s_work_by_the_gpus() -> None:
    m, g = model("deepseek_v3"), gpu("h200")
    options = {"expert_imbalance_alpha": 0.0, **DEEPSEEK}
    eight = ranks_of("deepseek_v3", "h200", data_parallel_size=8, **options)
    engine = EngineSpec(expert_imbalance_alpha=0.0, max_num_seqs=256, max_num_batched_tokens=8192, max_model_len=16384)
    one = rank_step_time(m, g, engine, host_overhead(m, g, engine))
    for tokens in (2048, 8192, 32768):
        assert eight.experts_s(tokens) == pytest.approx(one.experts_s(tokens) / 8, rel=0.05)


def test_ranks_that_carry_the_same_take_one_rank_s_time_and_the_all_to_all() -> None:
    ranks = ranks_of("deepseek_v3", "h200", data_parallel_size=8, all2all_backend="deepep_low_latency", **DEEPSEEK)
    engine = resolve_engine(EngineSpec(data_parallel_size=8, **DEEPSEEK), model("deepseek_v3"), gpu("h200"))
    free = rank_step_time(model("deepseek_v3"), gpu("h200"), engine, ranks.host)
    free.experts = ranks.experts._replace(way=FREE)
    for n in (1, 16, 64):
        carried = ranks.experts.carried_s(n, 8 * n)
        assert ranks.step((), n, 2000 * n) == pytest.approx(free.step((), n, 2000 * n) + carried)


def test_a_loaded_rank_sets_the_step_of_all() -> None:
    ranks = ranks_of("deepseek_v3", "h200", data_parallel_size=8, **DEEPSEEK)
    alike = RankLoad(64, 64, 8 * 64, 64, prefill=False)
    skewed = RankLoad(64, 1, 64 + 7, 64, prefill=False)  # padded: the others carry as many rows
    assert ranks.round_lines([(64, 100_000)], alike) == ranks.round_lines([(64, 100_000)], skewed)
    eager = RankLoad(8192, 1, 8192 + 7, 1, prefill=True)
    full = RankLoad(8192, 8192, 8 * 8192, 1, prefill=True)
    assert ranks.round_s(0.01, eager) < ranks.round_s(0.01, full)


def test_halving_hides_the_all_to_all_where_every_rank_has_enough() -> None:
    options = {"data_parallel_size": 64, "all2all_backend": "deepep_low_latency", **DEEPSEEK}
    plain, halved = ranks_of("deepseek_v3", "h200", **options), ranks_of("deepseek_v3", "h200", enable_dbo=True, **options)
    assert halved.step((), 96, 96 * 4000) < 0.8 * plain.step((), 96, 96 * 4000)
    assert halved.step((), 8, 8 * 4000) == plain.step((), 8, 8 * 4000)
    one_idle = RankLoad(64, 1, 64 * 63 + 1, 64, prefill=False)
    assert halved.round_lines([(64, 1000)], one_idle) == plain.round_lines([(64, 1000)], one_idle)


def test_lines_are_what_steps_take() -> None:
    for dbo in (False, True):
        options = {"all2all_backend": "deepep_high_throughput", "enable_dbo": dbo, **DEEPSEEK}
        ranks = ranks_of("deepseek_v3", "h200", data_parallel_size=16, **options)
        for n in (1, 40, 128):
            before = 0.0
            for context in range(n * 10, n * 12_000, n * 517):
                line = ranks.decode_line(n, context)
                at = line.intercept + line.slope * context
                assert at >= before - 1e-12
                assert context <= line.last_context
                before = at


# -- machines and refusals -----------------------------------------------------------------------------------------------


def test_an_all_reduce_over_machines_is_charged_on_the_network() -> None:
    h100, message = gpu("h100"), np.array([1e6, 1e8])
    assert machines(16, h100) == 2
    inside, across = (all_reduce_s(message, gpus, h100, 5e-6, 0.9) for gpus in (8, 16))
    assert (across > inside).all()
    slow = resolve_engine(EngineSpec(tensor_parallel_size=16), model("llama3_70b"), h100)
    fast = resolve_engine(EngineSpec(tensor_parallel_size=8), model("llama3_70b"), h100)
    sixteen, eight = (step_time_model(model("llama3_70b"), h100, e).step([(8192, 0)], 0, 0) for e in (slow, fast))
    assert sixteen > 0.5 * eight  # half the arithmetic, but the network


def test_stages_on_two_machines_hand_over_on_the_network() -> None:
    h100, m = gpu("h100"), model("llama3_70b")
    engine = resolve_engine(EngineSpec(tensor_parallel_size=8, pipeline_parallel_size=2), m, h100)
    near = step_time_model(m, replace(h100, max_scaleup_gpus=16), engine)
    assert step_time_model(m, h100, engine).step([(8192, 0)], 0, 0) > near.step([(8192, 0)], 0, 0)


@pytest.mark.parametrize(
    ("name", "card", "options", "words"),
    [
        ("llama3_8b", "h100", EP, "is dense"),
        ("qwen3_30b_a3b", "h100", {**EP, "data_parallel_size": 256}, "256 GPUs .* for 128 experts"),
        ("qwen3_30b_a3b", "h100", {**EP, "enable_eplb": True, "num_redundant_experts": 3, "data_parallel_size": 8},
         r"128 \+ 3 experts .* multiple of the 8 GPUs .* 8 would do"),
        ("qwen3_30b_a3b", "h100", {**EP, "data_parallel_size": 2, "pipeline_parallel_size": 2}, "pipeline stages"),
        ("qwen3_30b_a3b", "h100", {"data_parallel_size": 2, "max_loras": 2}, "vLLM has no adapters of experts that are spread"),
        ("qwen3_30b_a3b", "l40s", {**EP, "data_parallel_size": 16}, "network is not known"),
        ("llama3_70b", "h100", {"tensor_parallel_size": 12}, "must"),
        ("qwen3_30b_a3b", "h100", {"data_parallel_size": 16, "all2all_backend": "flashinfer_nvlink_one_sided"}, "NVLink"),
        ("qwen3_30b_a3b", "h100", {"data_parallel_size": 2, "step_time": "table"}, "no table for h100/qwen3_30b_a3b/TP1/DP2"),
    ],
)  # fmt: skip
def test_refused_with_the_arithmetic(name: str, card: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        step_time_model(*engine_of(name, card, **options))


@pytest.mark.parametrize("options", [
    {"num_redundant_experts": 8, **EP}, {"enable_eplb": True}, {"data_parallel_size": 0}, {"enable_dbo": True},
])  # fmt: skip
def test_half_stated_expert_options_are_refused_at_the_key(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EngineSpec(**options)


def test_dense_ranks_share_nothing() -> None:
    one, four = (step_time_model(*engine_of("llama3_8b", "h100", data_parallel_size=n)) for n in (1, 4))
    assert type(one) is type(four)
    assert one.step([(500, 0)], 7, 9000) == four.step([(500, 0)], 7, 9000)


def test_in_a_mesh_a_part_of_the_gpus_has_a_part_of_the_link() -> None:
    """MI300X: seven links of 64 GB/s each; four GPUs have three of them towards each other, eight all seven."""
    mi300x = gpu("mi300x")
    assert [link_bytes_per_s(gpus, mi300x) / 1e9 for gpus in (2, 4, 8)] == pytest.approx([64, 192, 448])
    h100 = gpu("h100")
    assert link_bytes_per_s(4, h100) == link_bytes_per_s(8, h100) == 450e9
    message = np.array([1e8])
    four, eight = (float(all_reduce_s(message, gpus, mi300x, 0.0, 1.0)[0]) for gpus in (4, 8))
    assert four / eight == pytest.approx((2 * 3 / 4 / 192) / (2 * 7 / 8 / 448))


def test_a_measured_share_of_the_peak_takes_the_place_of_the_fitted_one() -> None:
    mi300x = gpu("mi300x")
    rates = [compute_rate(dtype, mi300x, efficiencies(mi300x)) / 1e12 for dtype in ("bf16", "fp8", "int4")]
    assert rates == pytest.approx([0.45 * 1307.4, 0.225 * 2614.9, 0.45 * 1307.4])
