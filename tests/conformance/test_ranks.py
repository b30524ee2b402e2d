"""Ranks that step together: recordings of the real engine core, a naive restatement, and skipping against stepping."""

from __future__ import annotations

import gzip
import json
import os
from math import inf
from random import Random
from typing import Any

import pytest

from sim.trust.conformance import check_case, engine_of, read_case
from sim.trust.rank_recording import RankRecording, first_difference
from tests.conformance.naive_ranks import NaiveRanks
from tests.conformance.random_cases import random_case
from tests.conformance.test_recordings import CASES
from tests.laws.test_speculation import METHODS

NAMES = ["sF1_two_ranks", "sF2_skewed", "sF3_prefill_interval"]
"""From vLLM 0.33.0; ``sF4_local_interval`` is a single engine."""
SEEDS = range(5000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 400)
FEATURE_SEEDS = [*range(2500 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 150), 1597, 1650]
"""Of the last two: a rank that preempts its only request in vain makes a dummy forward, and looks again in the next round; a
request comes to a rank whose last step is in flight while a run of dummy rounds is planned, and cuts it."""
MAX_ROWS = 1500


def recording_of(case: dict[str, Any], skip_decode: bool = False) -> RankRecording:
    spec, blocks = engine_of(case["engine"])
    return RankRecording(case, spec, blocks, skip_decode)


def rank_case(seed: int) -> dict[str, Any]:
    """A random case over two to four ranks, often with most requests on one."""
    rng = Random(-seed - 1)
    case = random_case(seed)
    ranks = rng.randint(2, 4)
    case["engine"] |= {"data_parallel_size": ranks, "dp_sync_interval": rng.choice([1, 2, 3, 5, 16])}
    case["requests"] = [row for row in case["requests"] if "arrival_ns" in row]
    spread = rng.choice([1, 10, 100])
    for row in case["requests"]:
        row["arrival_ns"] *= spread
        row["rank"] = 0 if rng.random() < 0.4 else rng.randrange(ranks)
    return case


@pytest.mark.parametrize("name", [*NAMES, "sF4_local_interval"])
def test_every_round_is_identical(name: str) -> None:
    assert check_case(CASES / name) == (None, False)


def test_a_wrong_row_is_found() -> None:
    case, rows = read_case(CASES / NAMES[1])
    ours = recording_of(case).run()
    rows[7]["ranks"][2]["free_blocks"] = 1
    assert (
        first_difference(rows, ours) == f"step 7, rank 2, free_blocks: recorded 1, ours {ours[7]['ranks'][2]['free_blocks']}"
    )
    assert "sync" in str(first_difference([{**ours[0], "sync": None}], ours))


@pytest.mark.parametrize("name", NAMES)
def test_skipping_gives_the_recorded_requests_and_counts(name: str) -> None:
    case, rows = read_case(CASES / name)
    skipping = recording_of(case, skip_decode=True)
    skipping.run()
    recorded = map(json.loads, gzip.decompress((CASES / name / "requests.jsonl.gz").read_bytes()).splitlines())
    for row in recorded:
        ours = skipping.answered[row["id"]]
        assert (ours.first_token_at, ours.finished_at) == (row["first_token_ns"], row["finish_ns"])
    meta = json.loads((CASES / name / "meta.json").read_text())
    assert skipping.lock_step.work.steps == meta["n_steps"] == len(rows)
    assert skipping.lock_step.dummy_steps == sum(meta["n_dummy"])
    assert skipping.lock_step.wave == len(meta["waves"]) // 2


def test_naive_ranks_agree_and_skipping_changes_nothing() -> None:
    compared = 0
    for seed in SEEDS:
        case = rank_case(seed)
        case["engine"]["async_scheduling"] = False
        naive = NaiveRanks(case)
        theirs = naive.run(MAX_ROWS)
        if len(theirs) == MAX_ROWS:
            continue  # a request that cannot fit is preempted for ever
        stepping = recording_of(case)
        assert first_difference(theirs, stepping.run(MAX_ROWS)) is None, seed
        skipping = recording_of(case, skip_decode=True)
        skipping.run()
        assert {name: request.finished_at for name, request in skipping.answered.items()} == naive.finished, seed
        assert (skipping.lock_step.work.steps, skipping.lock_step.wave) == (len(theirs), stepping.lock_step.wave), seed
        assert skipping.lock_step.dummy_steps == sum(rank["dummy"] for row in theirs for rank in row["ranks"]), seed
        compared += bool(case["requests"])
    assert compared > 0.8 * len(SEEDS)


def feature_case(seed: int) -> dict[str, Any]:
    """A random case of ranks that speculate, serve adapters, or both."""
    case, rng = rank_case(seed), Random(seed + 10**6)
    engine = case["engine"]
    drafts = rng.choice([1, 1, 2, 3]) if rng.random() < 0.8 else 0
    if drafts:
        engine["speculative"] = {**rng.choice(METHODS), "num_speculative_tokens": drafts}
        if rng.random() < 0.25:
            engine["speculative"]["num_speculative_tokens_per_batch_size"] = [[1, 2, drafts], [4, 5, 1]]
    if not drafts or rng.random() < 0.4:
        engine["max_loras"] = rng.randint(1, 2)
    usable = (engine["num_gpu_blocks"] - 1) * engine["block_size"]
    kept = []
    for row in case["requests"]:
        if sum(tokens for _, tokens in row["prompt"]) + row["output_len"] + 2 * drafts <= usable:
            row["accept"] = [rng.randint(0, drafts) for _ in range(rng.randint(1, 6))]
            row["lora"] = rng.randint(0, 3) if engine.get("max_loras") else 0
            kept.append(row)
    names = {f"out:{row['id']}" for row in kept}
    for row in kept:
        row["prompt"] = [piece for piece in row["prompt"] if not piece[0].startswith("out:") or piece[0] in names]
    case["requests"] = [row for row in kept if row["prompt"]]
    return case


def test_naive_ranks_with_drafts_and_adapters_agree_and_one_pass_changes_nothing() -> None:
    compared = dummies = 0
    for seed in FEATURE_SEEDS:
        case = feature_case(seed)
        engine = case["engine"]
        engine["async_scheduling"] = False
        naive = NaiveRanks(case)
        theirs = naive.run(MAX_ROWS)
        if len(theirs) == MAX_ROWS:
            continue
        stepping, together = recording_of(case), recording_of(case, skip_decode=True)
        assert first_difference(theirs, stepping.run(MAX_ROWS)) is None, (seed, engine)
        together.run()
        assert {name: request.finished_at for name, request in together.answered.items()} == naive.finished, seed
        ours = together.lock_step
        dummies = sum(rank["dummy"] for row in theirs for rank in row["ranks"])
        assert (ours.work.steps, ours.dummy_steps, ours.wave) == (len(theirs), dummies, stepping.lock_step.wave), seed
        longest = engine["max_model_len"]
        for row in case["requests"]:
            if row["id"] in together.answered:
                answer = together.answered[row["id"]]
                assert answer.sampled == min(row["output_len"], longest - answer.prompt_len), seed  # never one more
        drawn = [request.drafts for request in together.answered.values() if request.drafts is not None]
        books = [rank.scheduler.books for rank in together.lock_step.ranks]
        assert sum(one.accepted for one in drawn) == sum(b.drafts.accepted for b in books if b.drafts is not None), seed
        sampled = sum(rank.work.sampled_tokens for rank in together.lock_step.ranks)
        assert sampled == sum(request.sampled for request in together.answered.values()), seed
        compared += bool(case["requests"])
    assert compared > 0.7 * len(FEATURE_SEEDS)


def test_adapters_of_a_rank_are_its_own() -> None:
    """At most ``max_loras`` run on any rank, whatever runs on the others."""
    for seed in range(60):
        case = feature_case(seed)
        case["engine"]["max_loras"] = 1
        for number, row in enumerate(case["requests"]):
            row["lora"] = number % 3
        recording = recording_of(case)
        most = [0] * len(recording.schedulers)
        while len(recording.rows) < MAX_ROWS and recording.clock.peek() < inf:
            recording.clock.step()
            for number, scheduler in enumerate(recording.schedulers):
                running = {request.lora for request in scheduler.books.running} - {None}
                most[number] = max(most[number], len(running))
        assert max(most) <= 1, seed


def test_ranks_with_drafts_skip_dummies_alike_under_asynchronous_scheduling() -> None:
    for seed in FEATURE_SEEDS:
        case = feature_case(seed)
        case["engine"]["async_scheduling"] = True
        stepping = recording_of(case)
        if len(stepping.run(MAX_ROWS)) == MAX_ROWS:
            continue
        together = recording_of(case, skip_decode=True)
        together.run()
        for name, request in stepping.answered.items():
            ours = together.answered[name]
            assert (ours.first_token_at, ours.finished_at) == (request.first_token_at, request.finished_at), (seed, name)
        ours, theirs = together.lock_step, stepping.lock_step
        assert (ours.work.steps, ours.dummy_steps, ours.wave) == (theirs.work.steps, theirs.dummy_steps, theirs.wave), seed


def test_skipping_changes_nothing_under_asynchronous_scheduling() -> None:
    for seed in SEEDS:
        case = rank_case(seed)
        case["engine"]["async_scheduling"] = True
        stepping = recording_of(case)
        if len(stepping.run(MAX_ROWS)) == MAX_ROWS:
            continue
        skipping = recording_of(case, skip_decode=True)
        skipping.run()
        for name, request in stepping.answered.items():
            ours = skipping.answered[name]
            assert (ours.first_token_at, ours.finished_at) == (request.first_token_at, request.finished_at), seed
        ours, theirs = skipping.lock_step, stepping.lock_step
        assert (ours.work.steps, ours.dummy_steps, ours.wave) == (theirs.work.steps, theirs.dummy_steps, theirs.wave), seed
