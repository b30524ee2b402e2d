"""Several KV cache groups on random cases: skipped = stepped = watched, and what a window costs."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from sim.engine.cache_groups import GroupedBlockPool
from sim.engine.scheduler import Scheduler
from sim.perf.kv_groups import CacheGroup
from sim.spec import EngineSpec
from sim.trust.conformance import Recording
from tests.conformance.random_cases import random_case

MOST_ROWS = 2000


def grouped_case(seed: int) -> dict[str, Any] | None:
    """A random case with windows, and states where nothing is cached; None where it says nothing here."""
    case = random_case(seed)
    if not case["requests"] or "arrival_step" in case["requests"][0]:
        return None
    rng, engine = Random(seed), case["engine"]
    size = engine["block_size"]
    groups: list[dict[str, Any]] = [{"type": "full"}] * rng.choice([0, 1, 1, 2])
    groups += [{"type": "sliding", "window": rng.choice([size + 1, 2 * size, 7, 13, 40])} for _ in range(rng.randint(1, 3))]
    if not engine["enable_prefix_caching"] and rng.random() < 0.4:
        groups.append({"type": "mamba", "block_size": 500})
    rng.shuffle(groups)
    engine["kv_groups"] = groups
    engine["prefix_cache_retention_interval"] = rng.choice([0, None, 4 * size])
    engine["num_gpu_blocks"] = 1 + (engine["num_gpu_blocks"] - 1) * rng.choice([1, 1, 2, len(groups)])
    return case


def left(recording: Recording) -> tuple[dict[str, tuple[Any, ...]], list[tuple[int, int]]]:
    """What became of the requests, and the free list's hashed blocks in order."""
    pool = recording.scheduler.books.grouped
    assert pool is not None
    assert pool.free == pool.usable
    answers = {
        name: (r.first_token_at, r.finished_at, r.cached_tokens, r.preemptions, r.recomputed)
        for name, r in recording.answered.items()
    }
    return answers, [(block.group, block.index) for block in pool._released]


@pytest.mark.parametrize("batch", range(4))
def test_skipped_is_stepped_is_watched(batch: int) -> None:
    compared = 0
    for seed in range(batch * 60, batch * 60 + 60):
        case = grouped_case(seed)
        if case is None:
            continue
        stepping = Recording(case)
        rows = stepping.run(MOST_ROWS)
        if len(rows) == MOST_ROWS or stepping.stalled:
            continue  # a request that cannot fit
        skipping = Recording(case, skip_decode=True)
        skipping.run()
        watched = Recording(case, check_invariants=True)
        watched.run()
        assert left(stepping) == left(skipping) == left(watched), case
        assert skipping.replica.work.steps == len(rows)
        compared += 1
    assert compared > 20


@pytest.mark.parametrize("seed", range(30))
def test_one_full_group_with_block_tables_is_the_plain_engine(seed: int) -> None:
    """Two implementations of the same rules: runs and counters, and tables of blocks."""
    case = random_case(seed)
    plain = Recording(case).run(MOST_ROWS)
    ours = Recording({**case, "engine": {**case["engine"], "kv_groups": [{"type": "full"}]}}).run(MOST_ROWS)
    for row in ours:
        del row["held"]
    assert ours == plain


def test_what_lies_behind_the_window_is_free_again() -> None:
    engine = EngineSpec(max_num_seqs=4, max_num_batched_tokens=512, max_model_len=4096, async_scheduling=False)
    pool = GroupedBlockPool(1000, engine, (CacheGroup("full", 12, 16), CacheGroup("sliding", 12, 16, 128)))
    case: dict[str, Any] = {
        "engine": {
            "max_num_batched_tokens": 512, "kv_groups": [{"type": "full"}, {"type": "sliding", "window": 128}],
        },
        "step_time": {"base_ns": 1000, "per_new_token_ns": 1, "per_context_token_ns": 0, "per_seq_ns": 0},
        "requests": [{"id": "a", "arrival_ns": 0, "prompt": [["a", 2000]], "output_len": 200}],
    }  # fmt: skip
    rows = Recording(case).run()
    assert max(row["held"][0][2] for row in rows) == -(-(127 + 512) // 16)
    assert [row["held"][0][2] for row in rows[-16:]].count(9) >= 14
    assert rows[-1]["held"][0][1] == -(-2199 // 16)
    assert pool.at_most(4096) == 256 + (127 + 512 + 15) // 16 + 1


def test_a_request_is_refused_by_what_it_holds_in_all_groups() -> None:
    engine = EngineSpec(max_num_seqs=4, max_num_batched_tokens=512, max_model_len=4096, async_scheduling=False)
    groups = (CacheGroup("full", 12, 16), CacheGroup("sliding", 12, 16, 128))
    assert Scheduler(engine, 1 + 200, GroupedBlockPool(1 + 200, engine, groups)).refusal(2400, 96) is None
    assert Scheduler(engine, 1 + 190, GroupedBlockPool(1 + 190, engine, groups)).refusal(2400, 96) == "exceeds_kv_cache"
