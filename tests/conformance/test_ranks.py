"""Ranks that step together: recordings of the real engine core, a naive restatement, and skipping against stepping."""

from __future__ import annotations

import gzip
import json
import os
from random import Random
from typing import Any

import pytest

from sim.trust.conformance import check_case, engine_of, read_case
from sim.trust.rank_recording import RankRecording, first_difference
from tests.conformance.naive_ranks import NaiveRanks
from tests.conformance.random_cases import random_case
from tests.conformance.test_recordings import CASES

NAMES = ["sF1_two_ranks", "sF2_skewed", "sF3_prefill_interval"]
"""From vLLM 0.33.0; ``sF4_local_interval`` is a single engine."""
SEEDS = range(5000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 400)
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
