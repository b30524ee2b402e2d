"""The three paths of the host: one graph, captured pieces, bare kernels; and what hides behind the GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.perf import memory_plan, resolve_engine, step_time_model
from sim.perf.host import overlap
from sim.spec import EngineSpec
from tests.presets import gpu, model


def steps(**engine: object):  # type: ignore[no-untyped-def]
    llama, card = model("llama3_8b"), gpu("h100")
    return step_time_model(llama, card, resolve_engine(EngineSpec(**engine), llama, card))


def test_beyond_the_largest_graph_a_step_waits_for_its_launches() -> None:
    """Measured (vLLM 0.26, H100): steps of 513 to 1,024 tokens take 5 ms more than their GPU work, those of 2,048 none."""
    time = steps(version="0.26")
    within, beyond, large = (time.step([(n - 32, 0)], 32, 32 * 600) for n in (512, 544, 2080))
    assert beyond - within > 4e-3
    assert large - time.step([(2016, 0)], 32, 32 * 600) < 2.5e-3


def test_without_graphs_every_step_waits_for_its_launches() -> None:
    graphs, eager = steps(version="0.26"), steps(version="0.26", enforce_eager=True)
    assert eager.step((), 1, 600) > 2 * graphs.step((), 1, 600)
    assert eager.step((), 32, 32 * 600) >= eager.host.kernels_s
    assert eager.step([(8000, 0)], 1, 600) == pytest.approx(graphs.step([(8000, 0)], 1, 600), rel=0.02)


def test_what_stands_before_a_prefill_hides_its_launches() -> None:
    """128 tokens take 11-12 ms from idle, and 7-9 ms beside decodes."""
    time = steps(version="0.26")
    assert 0.0105 < time.step([(128, 0)], 0, 0) < 0.0125
    assert 0.0065 < time.step([(118, 0)], 10, 10 * 600) < 0.0088


def test_synchronous_engines_hide_launches_alone() -> None:
    time = steps(version="0.11")
    assert not time.host.hidden
    assert time.step((), 8, 8 * 600) == pytest.approx(
        steps(version="0.11", async_scheduling=True).step((), 8, 8 * 600) + time.host.per_step_s + 8 * time.host.per_seq_s
        - time.host.gap_s - 8 * time.host.gap_per_seq_s
    )  # fmt: skip


@given(st.floats(0, 1), st.floats(0, 1))
def test_two_that_overlap_take_at_least_the_longer_and_at_most_both(a: float, b: float) -> None:
    both = overlap(a, b)
    assert max(a, b) <= both * (1 + 1e-12) <= (a + b) * (1 + 1e-9) + 1e-300
    assert both == overlap(b, a)


def test_fp8_keeps_the_measured_matrices() -> None:
    """The cache's type swaps nothing but what it is: half the bytes of decode attention."""
    full, half = steps(), steps(kv_cache_dtype="fp8")
    assert half.regime == full.regime == "interpolated"
    assert half.tables.nonattention_s == full.tables.nonattention_s
    assert half.step((), 64, 64 * 2000) < full.step((), 64, 64 * 2000)


def test_another_vocabulary_keeps_the_table_and_reads_its_own_head() -> None:
    llama, card = model("llama3_8b"), gpu("h100")
    engine = resolve_engine(EngineSpec(), llama, card)
    other = replace(llama, vocab_size=llama.vocab_size + 64_000)
    mine, theirs = (step_time_model(one, card, engine) for one in (llama, other))
    assert theirs.regime == "interpolated"
    read_s = 64_000 * 4096 * 2 / 3350e9
    assert theirs.tables.nonattention_s[0] - mine.tables.nonattention_s[0] == pytest.approx(read_s, rel=0.1)


def test_only_vllm_subtracts_the_profile_of_its_sampler() -> None:
    llama, card = model("llama3_8b"), gpu("h100")
    blocks = {}
    for runtime in ("vllm", "tensorrt_llm"):
        engine = resolve_engine(EngineSpec(runtime=runtime, version="0.26", max_num_seqs=2048), llama, card)
        blocks[runtime] = memory_plan(llama, card, engine).num_gpu_blocks
    assert blocks["tensorrt_llm"] > blocks["vllm"]


def test_an_all_reduce_over_pcie_is_no_measured_rate() -> None:
    llama, card = model("llama3_8b"), gpu("l40s")
    one, two = (
        step_time_model(llama, card, resolve_engine(EngineSpec(tensor_parallel_size=n), llama, card)) for n in (1, 2)
    )
    assert (one.regime, two.regime) == ("interpolated", "extrapolated")
    message_s = 64 * 8192 * 4096 * 2 / 32e9  # all of a step's all-reduces at the link's own rate
    at = two.tables.tokens.index(8192)
    assert two.tables.nonattention_s[at] - one.tables.nonattention_s[one.tables.tokens.index(8192)] / 2 > 2 * message_s


def test_sampling_from_the_top_sorts_the_logits_in_older_releases() -> None:
    """Qwen3-8B on an H100, vLLM 0.11.1 with top-p (ML.ENERGY leaderboard): 20.7 ms at 128 sequences, 17 without the sort."""
    n, context = 128, 128 * 450
    for version, costs in (("0.11", True), ("0.15", True), ("0.16", False), ("0.26", False)):
        plain, top = (steps(version=version, top_p_sampling=asked).step((), n, context) for asked in (False, True))
        assert (top - plain > 2e-3) == costs
