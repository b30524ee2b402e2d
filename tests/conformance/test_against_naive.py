"""The fast engine against the naive re-statement of the rules, row for row, on random cases.

A few hundred cases by default; ``HYPOTHESIS_PROFILE=deep`` runs ten thousand.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from sim.trust.conformance import Recording, first_difference
from tests.conformance.naive_engine import NaiveEngine
from tests.conformance.random_cases import random_case

BATCHES = 100 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 5
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


@pytest.mark.parametrize("batch", range(BATCHES))
def test_row_for_row(batch: int) -> None:
    for seed in range(batch * CASES_A_BATCH, (batch + 1) * CASES_A_BATCH):
        case = random_case(seed)
        if case["requests"]:
            compare(case)
