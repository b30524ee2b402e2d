"""Where a run's columns lie changes nothing of what it leaves behind."""

from __future__ import annotations

import mmap
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sim
from sim.analysis import summarize
from sim.record import Result
from sim.record.columns import SLICE, Columns, let_go
from sim.run import simulate
from sim.spec import Scenario

GROUPS: dict[str, dict[str, Any]] = {
    "plain": {"fleet": {"replicas": 2}},
    "warm-up": {"fleet": {"replicas": 2}, "workload": {"warmup_s": 10.0}},
    "users who wait": {"gateway": {"users": {"kind": "closed", "users": 20}}},
    "retries": {"gateway": "full", "fleet": {"replicas": 2}},
    "handovers": {"experiment": "disaggregation"},
    "cells": {"fleet": {"replicas": 4, "cells": 2}},
}


def asked(groups: dict[str, Any], most_in_memory: int) -> Scenario:
    found = sim.scenario(**{**groups, "workload": {"limit": 400, **groups.get("workload", {})}})
    return replace(found, output=replace(found.output, most_requests_in_memory=most_in_memory))


def left(result: Result) -> dict[str, Any]:
    summary = summarize(result)
    del summary["simulation"]  # looks at the clock, and at moments in which memory was given back
    return {"summary": summary, "events": result.events, "gateway": result.gateway, "work": {
        pool: tokens.tolist() for pool, tokens in result.work.items()
    }}  # fmt: skip


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
def test_in_files_and_in_memory_the_same_is_left(groups: dict[str, Any]) -> None:
    memory, files = simulate(asked(groups, 1_000_000)), simulate(asked(groups, 10))
    for table in ("requests", "replicas", "timeseries"):
        pd.testing.assert_frame_equal(getattr(memory, table), getattr(files, table), check_exact=True)
    assert left(memory) == left(files)
    assert files.requests.equals(files.requests.copy(deep=True))


def test_a_column_in_a_file_holds_what_was_written_after_its_memory_was_given_back() -> None:
    columns = Columns(SLICE + 3, in_files=True)
    column, other = columns.of("d", float("nan")), columns.of("i", -1, times=2)
    column[SLICE + 2], other[2 * SLICE + 5] = 2.5, 7
    let_go()
    assert column[SLICE + 2] == 2.5 and other[2 * SLICE + 5] == 7 and other[0] == -1 and len(other) == 2 * len(column)
    assert np.isnan(np.frombuffer(column)[: SLICE + 2]).all()
    assert isinstance(column, memoryview) and isinstance(column.obj, mmap.mmap)
    assert columns.copied("q", np.arange(SLICE + 3))[SLICE + 1] == SLICE + 1


def test_no_rows_need_no_file() -> None:
    assert len(Columns(0, in_files=True).of("d", 1.0)) == 0
