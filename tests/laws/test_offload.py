"""KV in host memory against theory: nothing where there is none, an infinite GPU cache where all is free, never more than the
link carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.analysis import price, summarize
from sim.analysis.notes import notes_of
from sim.analysis.tiers import tiers_usd
from sim.cli.compose import composed_scenario
from sim.errors import ConfigError
from sim.record import Result
from sim.run import simulate

TURNS = [
    "workload=agents_and_chat_synthetic", "workload.limit=160", "workload.rate_scale=2", "fleet.replicas=1",
    "engine.max_model_len=24000", "engine.num_gpu_blocks_override=1600", "check_invariants=true",
]  # fmt: skip


def run(*overrides: str) -> Result:
    return simulate(composed_scenario([*TURNS, *overrides]))


def test_no_room_is_no_tier() -> None:
    assert run("engine.kv_offloading_size_gib=0").tiers is None
    with pytest.raises(ConfigError, match="not one block of 16 tokens"):
        run("engine.kv_offloading_size_gib=0.0001")


def test_an_infinite_tier_finds_what_an_infinite_gpu_cache_finds_but_for_its_lag() -> None:
    """Free copies, all room: each look-up finds what was ever computed, but for the block that a step in flight holds and
    the step that its report takes."""
    fast = ["engine.kv_offload.job_s=0", "engine.kv_offload.gb_s_per_direction=1e9", "engine.async_scheduling=false"]
    small, tiered = run("engine.async_scheduling=false"), run("engine.kv_offloading_size_gib=400", *fast)
    large = run("engine.async_scheduling=false", "engine.num_gpu_blocks_override=60000")
    found = [float(result.requests["cached_tokens"].sum()) for result in (small, tiered, large)]
    assert found[0] < 0.9 * found[2], "the small cache must forget for this to say anything"
    assert found[1] == pytest.approx(found[2], rel=0.02)
    assert tiered.tiers is not None
    assert tiered.tiers["evicted_bytes"].sum() == tiered.tiers["refused_stores"].sum() == 0


def test_what_is_moved_is_counted_and_never_outruns_the_link() -> None:
    result = run("engine.kv_offloading_size_gib=2", "engine.kv_offload.gb_s_per_direction=10")
    assert result.tiers is not None
    tier = result.tiers.iloc[0]
    assert tier["loaded_tokens"] > 0
    assert tier["evicted_bytes"] > 0
    assert tier["stored_bytes"] == pytest.approx(tier["used_bytes"] + tier["evicted_bytes"])
    assert tier["used_bytes"] <= tier["capacity_bytes"] <= 2 * 2**30
    for moved, busy in (("loaded_bytes", "loading_s"), ("stored_bytes", "storing_s")):
        assert tier[moved] <= 10e9 * tier[busy] * (1 + 1e-9)
        assert tier[busy] <= result.end_s
    summary: dict[str, Any] = summarize(result, result.scenario.slo)
    assert summary["kv_in_host_memory"]["host_hit_tokens"] == tier["loaded_tokens"]
    assert any("instead of computed" in note for note in notes_of(result))


def test_arc_and_thresholds_run_and_memory_has_its_price() -> None:
    arc = run(
        "engine.kv_offloading_size_gib=2", "engine.kv_offload.eviction_policy=arc", "engine.kv_offload.store_threshold=2",
        "engine.kv_offload.prompt_only=true", "cost.host_memory_usd_per_gib_hour=0.005",
    )  # fmt: skip
    assert set(arc.requests["outcome"]) <= {"completed", "rejected"}
    assert arc.tiers is not None
    hours = float((arc.replicas["billed_stop_s"] - arc.replicas["billed_start_s"]).sum()) / 3600
    assert tiers_usd(arc, arc.end_s)["host memory for KV"] == pytest.approx(0.005 * hours * arc.tiers["capacity_bytes"].sum() / 2**30)
    assert "host memory for KV" in [node.name for node in price(arc).children]


def test_who_is_aborted_leaves_nothing_behind() -> None:
    result = run("engine.kv_offloading_size_gib=2", "gateway.client_timeout_s=4", "workload.rate_scale=6")
    assert (result.requests["outcome"] == "timed_out").any()
    assert np.isfinite(result.end_s)


def test_two_ways_for_kv_are_refused_together() -> None:
    with pytest.raises(ConfigError, match=r"beside kv_connector is not modelled"):
        composed_scenario(["engine.kv_offloading_size_gib=4", "engine.kv_connector.role=consumer"])
    with pytest.raises(ConfigError, match="kv_offloading_size_gib"):
        simulate(composed_scenario(["model=gemma3_12b", "engine.kv_offloading_size_gib=4", "workload.limit=5"]))


def test_a_hit_in_host_memory_gains_what_was_measured_by_the_engine_alone(tmp_path: Path) -> None:
    """vLLM, blog 2026-01-08: Llama-3.1-8B on H100, one request, no tokeniser and no API server, prompts of 1k to 90k tokens:
    x2 to x22."""
    for tokens, low, high in ((1_000, 2.0, 3.0), (90_000, 18.0, 22.0)):
        trace = tmp_path / f"{tokens}.csv"
        rows = [f"{100 * turn},{tokens},1,{name},1" for turn, name in enumerate("abc")] + [f"300,{tokens + 18},1,a,2"]
        trace.write_text("arrival_s,input_tokens,output_tokens,session_id,turn\n" + "\n".join(rows) + "\n")
        measured = [
            f"workload.path={trace}", "model=llama3_8b", "gpu=h100", "fleet.replicas=1", "output.timeseries=false",
            f"engine.max_model_len={tokens + 200}", f"engine.num_gpu_blocks_override={tokens // 16 + 20}",
            "gpu.step_time_scale={front_end: 1e-9}",
        ]  # fmt: skip
        ttft_s = [
            simulate(composed_scenario([*measured, f"engine.kv_offloading_size_gib={gib}"])).requests["ttft_s"].iloc[-1]
            for gib in (0, 64)
        ]
        assert low < ttft_s[0] / ttft_s[1] < high
