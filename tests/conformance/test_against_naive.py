"""The fast engine against the naive re-statement of the rules, row for row, on random cases.

A few hundred cases by default; ``HYPOTHESIS_PROFILE=deep`` runs ten thousand plain ones and six thousand with features mixed:
drafts, adapters, external KV, pins, a CPU tier.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from sim.trust.conformance import Recording, first_difference, read_case
from tests.conformance.naive_engine import NaiveEngine
from tests.conformance.naive_features import NaiveFeatures
from tests.conformance.random_cases import random_case, random_features
from tests.conformance.test_recordings import CASES, NAMES

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
BATCHES = 100 if DEEP else 5
CASES_A_BATCH = 100
MAX_ROWS = 2000
"""A request that cannot fit may be preempted and admitted again for ever."""


def compare(case: dict[str, Any]) -> None:
    naive = NaiveEngine(case)
    theirs = naive.run(MAX_ROWS)
    if len(theirs) == MAX_ROWS:
        return
    stepping = Recording(case)
    assert first_difference(theirs, stepping.run(MAX_ROWS)) is None, case
    assert naive.stalled == stepping.stalled
    if naive.stalled or "arrival_step" in case["requests"][0]:
        return
    skipping = Recording(case, skip_decode=True)
    skipping.run()
    finished = {row["end_ns"]: row["finished"] for row in theirs if row["finished"]}
    assert {r: request.finished_at for r, request in skipping.answered.items()} == {
        r: end for end, ids in finished.items() for r in ids
    }, case
    assert skipping.replica.work.steps == len(theirs)


def test_a_newcomer_behind_a_blocked_head_shortens_its_chunk() -> None:
    """With an adaptive threshold of long prompts everybody's chunk depends on how many are here: skipped runs that went on
    when somebody came behind a head without room missed that a shorter chunk of it had some."""
    compare(random_case(3619))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_row_for_row(batch: int) -> None:
    for seed in range(batch * CASES_A_BATCH, (batch + 1) * CASES_A_BATCH):
        case = random_case(seed)
        if case["requests"]:
            compare(case)


@pytest.mark.parametrize("batch", range(60 if DEEP else 2))
def test_features_mixed_row_for_row(batch: int) -> None:
    for seed in range(batch * CASES_A_BATCH, (batch + 1) * CASES_A_BATCH):
        case = random_features(seed)
        if not case["requests"]:
            continue
        naive = NaiveFeatures(case)
        theirs = naive.run(MAX_ROWS)
        if len(theirs) == MAX_ROWS:
            continue
        stepping = Recording(case)
        assert first_difference(theirs, stepping.run(MAX_ROWS)) is None, seed
        watched = Recording(case, check_invariants=True)
        assert first_difference(theirs, watched.run(MAX_ROWS)) is None, seed
        if naive.stalled:
            continue
        skipping = Recording(case, skip_decode=True)
        skipping.run()
        assert skipping.answered.keys() == stepping.answered.keys(), seed
        for name, request in skipping.answered.items():
            assert request.finished_at == stepping.answered[name].finished_at, (seed, name)


@pytest.mark.parametrize("name", [name for name in NAMES if name[1] != "G"])
def test_the_naive_engine_gives_the_recorded_rows(name: str) -> None:
    """The oracle itself, where it is not compared with ours: steps of the recordings, all features but cache groups."""
    case, recorded = read_case(CASES / name)
    ours = NaiveFeatures(case).run(len(recorded) + 1)
    assert len(ours) == len(recorded)
    compared = ("sched_ns", "scheduled", "new", "preempted", "start_ns", "end_ns", "finished", "free_blocks", "free_blocks_end")
    for row, mine in zip(recorded, ours, strict=True):
        assert [row[field] for field in compared] == [mine[field] for field in compared]
