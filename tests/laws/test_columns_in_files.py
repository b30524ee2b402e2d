"""Where a run's columns lie changes nothing of what it leaves behind."""

from __future__ import annotations

import mmap
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sim
from sim.analysis import summarize, with_costs
from sim.analysis.attribution import tail_attribution
from sim.columns import SLICE, Columns, let_go
from sim.record import Result
from sim.run import simulate
from sim.spec import Scenario
from sim.workload.timeline import load_trace

GROUPS: dict[str, dict[str, Any]] = {
    "plain": {"fleet": {"replicas": 2}},
    "warm-up": {"fleet": {"replicas": 2}, "workload": {"warmup_s": 10.0}},
    "users who wait": {"gateway": {"users": {"kind": "closed", "users": 20}}},
    "retries": {"gateway": "full", "fleet": {"replicas": 2}},
    "handovers": {"experiment": "disaggregation"},
    "cells": {"fleet": {"replicas": 4, "cells": 2}},
    "lost, late, by route": {
        "gateway": "full", "fleet": {"replicas": 1},
        "workload": {"rate_scale": 6.0, "transforms": [{"kind": "mix", "label": "route", "shares": {"chat": 0.8, "code": 0.2}}]},
        "slo": {"ttft_p95_s": 0.5, "tpot_p95_s": 0.02, "routes": {"code": {"ttft_p95_s": 0.2, "e2e_p75_s": 3.0}}},
    },
}  # fmt: skip


MOST_BYTES_A_REQUEST = 40
"""Beside the records: times and values of an interval, a copy to find percentiles in, masks."""


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


def test_a_trace_lies_in_files_where_its_records_will() -> None:
    few, many = (load_trace(asked({}, most)) for most in (1_000, 399))
    for name in ("arrival_s", "input_tokens", "output_tokens"):
        column = getattr(many, name)
        assert isinstance(column.base.obj, mmap.mmap) and not isinstance(getattr(few, name).base, memoryview)
        np.testing.assert_array_equal(column, getattr(few, name))


def again_and_again(result: Result, times: int) -> Result:
    """``result`` as if its requests had come ``times`` times, one behind another."""
    columns: dict[str, Any] = {}
    rounds = np.repeat(np.arange(times), len(result.requests))
    for name, column in result.requests.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            columns[name] = pd.Categorical.from_codes(np.tile(column.cat.codes, times), column.cat.categories)
            continue
        columns[name] = np.tile(column.to_numpy(), times)
        if name in ("arrival_s", "first_token_s", "finish_s"):
            columns[name] += rounds * result.end_s
    columns["request_id"] = np.arange(len(rounds))
    requests = pd.DataFrame(columns, copy=False)
    work = {pool: np.tile(tokens, (1, times)) for pool, tokens in result.work.items()}
    return replace(result, requests=requests, work=work, end_s=times * result.end_s, last_arrival_s=requests["arrival_s"].iloc[-1])


@pytest.mark.parametrize("groups", [GROUPS["plain"], GROUPS["warm-up"], GROUPS["lost, late, by route"]])
def test_what_follows_a_run_goes_through_its_columns_one_by_one(groups: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.columns.SLICE", 1000)
    few = simulate(asked(groups, 1_000_000))
    summarize(few)  # imports, tables of step times
    result = again_and_again(few, 500)
    tracemalloc.start()
    try:
        summarize(result)
        with_costs(result)
        tail_attribution(result)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes / len(result.requests) < MOST_BYTES_A_REQUEST


def test_no_rows_need_no_file() -> None:
    assert len(Columns(0, in_files=True).of("d", 1.0)) == 0
