"""Tiers below host memory against theory: nothing where they take nothing, an infinite host memory where they are free, never
more than their links carry nor than was stored, one store for many replicas."""

from __future__ import annotations

import random
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis import price, summarize
from sim.analysis.laws import violations
from sim.analysis.notes import notes_of
from sim.cli.compose import composed_scenario
from sim.engine.clock import Clock
from sim.engine.content_nodes import ContentNode
from sim.engine.traffic import Traffic
from sim.errors import ConfigError
from sim.links.transfers import Link
from sim.record import Result
from sim.run import simulate
from sim.tiers.below import Below, Level, Waiting
from sim.tiers.recency import Chunk, Touches
from sim.tiers.tier import Tier

TURNS = [
    "workload=agents_and_chat_synthetic", "workload.limit=160", "workload.rate_scale=2", "fleet.replicas=1",
    "engine.max_model_len=24000", "engine.num_gpu_blocks_override=1600", "check_invariants=true",
]  # fmt: skip
SMALL_HOST = "engine.kv_offloading_size_gib=2"
DISK = "engine.kv_offload.disk.size_gib=64"


def run(*overrides: str) -> Result:
    return simulate(composed_scenario([*TURNS, *overrides]))


def rows(result: Result, tier: str) -> pd.DataFrame:
    assert result.tiers is not None
    return result.tiers[result.tiers["tier"] == tier]


def test_a_tier_that_takes_nothing_changes_nothing() -> None:
    alone = run(SMALL_HOST)
    beside = run(SMALL_HOST, DISK, "engine.kv_offload.disk.store_threshold=1000000", "fleet.kv_store.size_gib=64",
                 "fleet.kv_store.store_threshold=1000000")  # fmt: skip
    pd.testing.assert_frame_equal(alone.requests, beside.requests)
    pd.testing.assert_frame_equal(alone.replicas, beside.replicas)
    assert rows(beside, "disk")["stored_bytes"].sum() == rows(beside, "store")["stored_bytes"].sum() == 0


@pytest.mark.parametrize("below", ["disk", "store"])
def test_an_infinite_tier_behind_infinite_links_is_infinite_host_memory_but_for_its_lag(below: str) -> None:
    """A chunk is there a step later, and a look-up that promotes asks a step later."""
    free = ["engine.kv_offload.job_s=0", "engine.kv_offload.gb_s_per_direction=1e9", "engine.async_scheduling=false"]
    tiers = {
        "disk": [f"engine.kv_offload.disk.{key}" for key in ("size_gib=4000", "read_gb_s=1e9", "write_gb_s=1e9", "latency_s=0")],
        "store": ["fleet.kv_store.size_gib=4000", "fleet.kv_store.gb_s=1e9", "fleet.kv_transfer.nic_gb_per_s=1e9",
                  "fleet.kv_transfer.setup_s=0"],
    }  # fmt: skip
    small, large = run("engine.kv_offloading_size_gib=4", *free), run("engine.kv_offloading_size_gib=400", *free)
    tiered = run("engine.kv_offloading_size_gib=4", *free, *tiers[below])
    found = [float(result.requests["cached_tokens"].sum()) for result in (small, tiered, large)]
    assert found[0] < 0.95 * found[2], "host memory alone must forget for this to say anything"
    assert found[1] == pytest.approx(found[2], rel=0.03)
    held = rows(tiered, below)
    assert held["evicted_bytes"].sum() == held["refused_stores"].sum() == 0


def test_what_moves_is_counted_and_never_outruns_the_links() -> None:
    result = run(
        SMALL_HOST, "engine.kv_offload.disk.size_gib=6", "engine.kv_offload.disk.read_gb_s=2",
        "engine.kv_offload.disk.write_gb_s=1", "engine.kv_offload.disk.eviction_policy=arc",
        "cost.kv_disk_usd_per_gib_hour=0.01",
    )  # fmt: skip
    disk = rows(result, "disk").iloc[0]
    assert disk["loaded_bytes"] > 0
    assert disk["evicted_bytes"] > 0
    assert disk["stored_bytes"] == pytest.approx(disk["used_bytes"] + disk["evicted_bytes"] + disk["lost_bytes"])
    assert disk["used_bytes"] <= disk["capacity_bytes"] <= 6 * 2**30
    assert disk["loaded_bytes"] <= 2e9 * result.end_s
    assert disk["stored_bytes"] <= 1e9 * result.end_s
    assert disk["loading_s"] == pytest.approx(disk["loaded_bytes"] / 2e9)
    hours = float((result.replicas["billed_stop_s"] - result.replicas["billed_start_s"]).sum()) / 3600
    node = price(result).find("disks for KV")
    assert node is not None
    assert node.usd == pytest.approx(0.01 * hours * disk["capacity_bytes"] / 2**30)
    assert any("KV on disks" in note for note in notes_of(result))


def test_replicas_find_in_the_store_what_others_have_put_there() -> None:
    """Sessions go round the replicas: each turn finds its earlier ones with the others."""
    three = ["fleet.replicas=3", SMALL_HOST]
    alone, shared = run(*three), run(*three, "fleet.kv_store.size_gib=200", "cost.kv_store_usd_per_gib_hour=0.01")
    assert shared.requests["cached_tokens"].sum() > 1.1 * alone.requests["cached_tokens"].sum()
    store = rows(shared, "store")
    whole, each = store[store["replica"] == ""].iloc[0], store[store["replica"] != ""]
    for moved in ("stored_bytes", "loaded_bytes", "from_others_tokens"):
        assert whole[moved] == each[moved].sum()
    assert 0 < whole["from_others_tokens"] <= whole["loaded_tokens"]
    assert whole["stored_bytes"] == whole["used_bytes"] + whole["evicted_bytes"]
    assert whole["stored_bytes"] < rows(shared, "host")["stored_bytes"].sum(), "what one has stored, nobody stores again"
    node = price(shared).find("shared store for KV")
    assert node is not None
    assert node.usd == pytest.approx(0.01 * shared.end_s / 3600 * whole["capacity_bytes"] / 2**30)
    assert summarize(shared)["kv_in_store"]["promoted_tokens_of_others"] == whole["from_others_tokens"]


def test_cells_have_a_part_of_the_store_each() -> None:
    result = run("fleet.replicas=4", "fleet.cells=2", SMALL_HOST, "fleet.kv_store.size_gib=40", "workload.limit=80",
                 "cost.kv_store_usd_per_gib_hour=0.01", "check_invariants=false")  # fmt: skip
    store = rows(result, "store")
    shared = store[store["replica"] == ""]
    assert len(shared) == 2
    assert shared["capacity_bytes"].sum() == pytest.approx(40 * 2**30, rel=0.001)
    assert summarize(result)["kv_in_store"]["capacity_gib"] == pytest.approx(40, rel=0.001)
    node = price(result).find("shared store for KV")
    assert node is not None
    assert node.usd == pytest.approx(0.01 * result.end_s / 3600 * 40, rel=0.001)
    assert 0 < result.timeseries["kv_host_used"].max() <= 1


def test_a_store_outlives_who_filled_it() -> None:
    """One of two replicas dies in the middle: its disk is gone, what it had put into the store is found by the other."""
    dies = ["fleet.replicas=2", SMALL_HOST, "timeline=[{kind: replica_loss, at_s: 60, count: 1}]", "check_invariants=false"]
    result = run(*dies, "fleet.kv_store.size_gib=200")
    store = rows(result, "store")
    whole = store[store["replica"] == ""].iloc[0]
    assert whole["stored_bytes"] == whole["used_bytes"] + whole["evicted_bytes"] + whole["lost_bytes"]
    assert whole["from_others_tokens"] > 0


def again(folder: Path, *overrides: str) -> Result:
    """A prompt of 16,100 tokens, two others that push it out of the GPU's cache, the prompt again with 100 tokens more."""
    trace = folder / "again.csv"
    lines = [f"{100 * turn},16100,1,{name},1" for turn, name in enumerate("abc")] + ["300,16200,1,a,2"]
    trace.write_text("arrival_s,input_tokens,output_tokens,session_id,turn\n" + "\n".join(lines) + "\n")
    base = [
        f"workload.path={trace}", "model=llama3_8b", "gpu=h100", "fleet.replicas=1", "engine.max_model_len=17000",
        "engine.num_gpu_blocks_override=1070", "check_invariants=true",
    ]  # fmt: skip
    return simulate(composed_scenario([*base, *overrides]))


def test_presets_store_and_load_in_their_own_manner(tmp_path: Path) -> None:
    """Chunks of 256 and 64 tokens; a step that waits for all of it, or for a layer. Slow copies, so that it shows."""
    ttft_s: dict[str, float] = {}
    loaded: dict[str, int] = {}
    rooms = {"lmcache": ["engine.kv_offloading_size_gib=64"], "hicache": ["engine.kv_offload.pool_ratio=8"]}
    for name in ("none", "native", "lmcache", "hicache"):
        result = again(tmp_path, f"kv_offload={name}", "engine.kv_offload.gb_s_per_direction=20", *rooms.get(name, []))
        ttft_s[name] = float(result.requests["ttft_s"].iloc[-1])
        loaded[name] = int(rows(result, "host")["loaded_tokens"].sum()) if result.tiers is not None else 0
    assert loaded == {"none": 0, "native": 16_096, "lmcache": 15_872, "hicache": 16_064}
    copy_s = 16_000 * 131_072 / 20e9
    assert ttft_s["lmcache"] < ttft_s["none"] - 3 * copy_s
    assert ttft_s["hicache"] == pytest.approx(ttft_s["lmcache"], rel=0.3)
    assert ttft_s["hicache"] < ttft_s["lmcache"], "its step computes while layers come"


def test_a_look_up_waits_no_longer_than_its_system_lets_it(tmp_path: Path) -> None:
    """The prompt lies on a disk that takes minutes: native waits for it, HiCache a second and 0.25 for each 1,024 tokens."""
    slow = ["engine.kv_offload.disk.size_gib=64", "engine.kv_offload.disk.read_gb_s=0.01"]
    native = again(tmp_path, *slow, "kv_offload=native", "engine.kv_offloading_size_gib=2.5")
    hicache = again(tmp_path, *slow, "kv_offload=hicache", "engine.kv_offload.pool_ratio=1.2")
    computed_s = float(hicache.requests["ttft_s"].iloc[0])
    for result in (native, hicache):
        assert rows(result, "disk")["loaded_tokens"].sum() > 15_000
    assert native.requests["ttft_s"].iloc[-1] > 16_000 * 131_072 / 0.01e9
    assert hicache.requests["ttft_s"].iloc[-1] == pytest.approx(1 + 0.25 * 16_064 / 1024 + computed_s, rel=0.05)


@pytest.mark.parametrize(
    "tiers",
    [
        ["engine.kv_offloading_size_gib=20"], ["kv_offload=lmcache", DISK], ["kv_offload=native", "engine.async_scheduling=false"],
        ["kv_offload=hicache", "fleet.kv_store.size_gib=30", "engine.enable_prefix_caching=false"],
    ],
    ids=["host", "lmcache and disk", "synchronous", "hicache and store"],
)  # fmt: skip
def test_skipped_is_stepped(tiers: list[str]) -> None:
    """Loads and stores end at known moments: between them, and before a chunk is full, decodes may be skipped."""
    few = ["fleet.replicas=2", "workload.limit=80", "workload.rate_scale=0.5", "check_invariants=false", *tiers]
    skipped, stepped = run(*few), run(*few, "engine.skip_decode=false")
    pd.testing.assert_frame_equal(skipped.requests, stepped.requests, rtol=1e-9)
    assert skipped.tiers is not None
    assert stepped.tiers is not None
    pd.testing.assert_frame_equal(skipped.tiers, stepped.tiers, rtol=1e-9)
    assert skipped.engine_steps == stepped.engine_steps
    assert skipped.kernel_events < 0.8 * stepped.kernel_events


def test_what_cannot_be_is_refused_with_its_reason() -> None:
    with pytest.raises(ConfigError, match="needs host memory"):
        composed_scenario([DISK])
    with pytest.raises(ConfigError, match="no pool has any"):
        composed_scenario(["fleet.kv_store.size_gib=10"])
    with pytest.raises(ConfigError, match="multiple of block_size"):
        composed_scenario([SMALL_HOST, "engine.kv_offload.chunk_tokens=40"])
    with pytest.raises(ConfigError, match="not one chunk"):
        simulate(composed_scenario(["kv_offload=lmcache", "fleet.kv_store.size_gib=0.001", "workload.limit=5"]))
    with pytest.raises(ConfigError, match=r"kv_offload.disk.size_gib=0.0001: not one block"):
        simulate(composed_scenario([SMALL_HOST, "engine.kv_offload.disk.size_gib=0.0001", "workload.limit=5"]))


# -- the tiers alone, by chance ----------------------------------------------------------------------------------------


def sound(tier: Tier) -> None:
    """What a tier counts is what is in it."""
    assert tier.room({}) == tier.capacity - sum(not chunk.ready or chunk.loads > 0 for chunk in tier.chunks.values())
    assert len(tier.chunks) <= tier.capacity
    assert all(chunk.loads >= 0 for chunk in tier.chunks.values())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_any_traffic_leaves_sound_tiers(seed: int) -> None:
    rng = random.Random(seed)
    clock = Clock()
    host = Tier(rng.randint(4, 30), rng.random() < 0.5, 0)
    links = [Link(str(number), rng.uniform(1, 50)) for number in range(3)]
    traffic = Traffic(clock)
    levels = [
        Level(name, Tier(rng.randint(3, 60), rng.random() < 0.5, rng.choice((0, 2))), traffic,
              tuple(rng.sample(links, 2)), tuple(rng.sample(links, 2)), rng.choice((0.0, 0.1)))
        for name in ("disk", "store")[: rng.randint(1, 2)]
    ]  # fmt: skip
    below = Below(clock, host, levels, 1.0, Waiting(), "one")
    nodes = [ContentNode(None, (0, str(number)), 0) for number in range(4)]
    for node in nodes:
        node.pins = 1
    pending: list[list[Chunk]] = []
    for _ in range(rng.randint(5, 60)):
        below.begins()
        node, length = rng.choice(nodes), rng.randint(1, 8)
        keys = [(node, place) for place in range(length)]
        touches = Touches()
        found = host.run(keys)
        if rng.random() < 0.5:
            chunks, _ = below.fetch(touches, keys, found)
            assert len(found) <= len(chunks) <= len(keys)
        else:
            new = host.offer(touches, keys)
            if new:
                pending.append(new)
        if pending and rng.random() < 0.7:
            done = pending.pop(0)
            host.written(done)
            below.written(done)
        host.over(touches)
        below.composed()
        sound(host)
        until = clock.now + rng.random()
        while clock.peek() <= until:
            clock.step()
        clock.now = max(clock.now, until)
    for _ in range(2):  # what is back in host memory by then goes on below
        for done in pending:
            host.written(done)
            below.written(done)
        pending = []
        clock.run()
        below.begins()
    clock.run()
    below.begins()
    assert all(chunk.ready and not chunk.loads for chunk in host.chunks.values())
    for number, level in enumerate(levels):
        sound(level.tier)
        moved = below.moved[number]
        assert moved.stored == level.tier.used + level.tier.evicted
    carried = sum(link.carried_bytes for link in links)
    assert carried == pytest.approx(2 * sum(moved.stored + moved.promoted for moved in below.moved), rel=1e-6)
    for link in links:
        assert link.carried_bytes <= link.bytes_per_s * clock.now * (1 + 1e-9)


def test_sglang_takes_hicache_and_nothing_that_loads_beside_its_steps() -> None:
    base = ["workload=agents_and_chat_synthetic", "workload.limit=120", "fleet.replicas=1", "engine=sglang",
            "engine.max_model_len=24000", "engine.num_gpu_blocks_override=25600"]  # fmt: skip
    plain = simulate(composed_scenario(base))
    deaf = simulate(composed_scenario([
        *base, "kv_offload=hicache", "engine.kv_offload.pool_ratio=8", "engine.kv_offload.store_threshold=1000000",
    ]))  # fmt: skip
    assert deaf.requests["ttft_s"].mean() == pytest.approx(plain.requests["ttft_s"].mean(), rel=1e-3)  # nothing is stored
    assert (deaf.requests["cached_tokens"] - plain.requests["cached_tokens"]).abs().max() <= 1  # blocks of one token
    kept = simulate(composed_scenario([*base, "kv_offload=hicache", "engine.kv_offload.pool_ratio=8"]))
    assert not violations(kept)
    assert kept.tiers is not None and kept.tiers["loaded_tokens"][0] > 1000
    assert kept.requests["cached_tokens"].sum() > plain.requests["cached_tokens"].sum()
    assert kept.requests["ttft_s"].mean() < plain.requests["ttft_s"].mean()
    with pytest.raises(ConfigError, match=r"another engine \(sglang\), but for host memory that a step itself loads from"):
        simulate(composed_scenario([*base, "kv_offload=native"]))
