"""A fleet in cells: what is merged is the sum of its parts, the same on any number of workers."""

from __future__ import annotations

import pickle
import sys
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from sim.analysis import price, summarize
from sim.analysis.laws import violations
from sim.errors import ConfigError
from sim.record import Result
from sim.run import simulate
from sim.run.cell import simulate_cell
from sim.run.cells import cell_of_requests, cell_scenario
from sim.run.sampler import grid_s
from sim.workload import Trace
from tests.laws.test_fleet import a_scenario, a_trace

SMALL = {"kind": "requests_in_flight", "target": 4.0, "scale_down_window_s": 10.0}


def labelled(n: int = 400) -> Trace:
    plain = a_trace(n, 12.0, 0)
    sessions = np.array([f"s{i % 40}" if i % 3 else "" for i in range(n)], dtype=object)
    tenants = np.array([f"t{i % 5}" for i in range(n)], dtype=object)
    return Trace(plain.arrival_s, plain.input_tokens, plain.output_tokens, {"session_id": sessions, "tenant": tenants})


def in_cells(cells: int = 3, trace: Trace | None = None, workers: int = 1, **changes: Any) -> Result:
    fleet = {"replicas": 7, **changes.pop("fleet", {}), "cells": cells}
    with joblib.parallel_config(backend="sequential" if workers == 1 else "loky", n_jobs=workers):
        return simulate(a_scenario(fleet=fleet, **changes), labelled() if trace is None else trace)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fleet": {"cells_by": "tenant"}},
        {"fleet": {"pools": {"a": {"replicas": 4}, "b": {"replicas": 3, "warm_replicas": 1}}}},
        {"autoscaler": SMALL, "fleet": {"replicas": 3, "max_replicas": 9}},
        {"gateway": {"retries": {"kind": "backoff"}, "client_timeout_s": 20.0, "dedupe": True}},
        {"timeline": [{"kind": "zone_loss", "at_s": 10.0, "until_s": 15.0}]},
    ],
)
def test_the_laws_hold_of_what_is_merged(changes: dict[str, Any]) -> None:
    result = in_cells(**changes)
    assert violations(result) == []
    trace = labelled()
    assert (result.requests["input_tokens"].to_numpy() == trace.input_tokens).all()
    assert (result.requests["arrival_s"].to_numpy() == trace.arrival_s).all()
    assert result.replicas["replica"].is_unique
    assert set(result.requests["replica"].dropna()) <= set(result.replicas["replica"])
    summary = summarize(result)
    assert summary["requests"]["offered"] == len(trace)
    assert summary["cost"]["total_usd"] == pytest.approx(price(result).usd)


def test_a_part_is_the_run_of_its_cell_alone() -> None:
    whole, trace = in_cells(), labelled()
    scenario = a_scenario(fleet={"replicas": 7, "cells": 3})
    cell = cell_of_requests(scenario, trace)
    assert {len(np.unique(cell[trace.labels["session_id"] == f"s{i}"])) for i in range(40)} == {1}
    parts = [
        simulate_cell(cell_scenario(scenario, number), trace.take(cell == number), grid_s(trace.duration_s))
        for number in range(3)
    ]
    assert [len(part.replicas) for part in parts] == [3, 2, 2]
    assert whole.engine_steps == sum(part.engine_steps for part in parts)
    assert whole.itl.counts.sum() == sum(part.itl.counts.sum() for part in parts)
    for number, part in enumerate(parts):
        mine = whole.requests[cell == number].reset_index(drop=True)
        for column in ("finish_s", "ttft_s", "tpot_s", "output_tokens"):
            pd.testing.assert_series_equal(mine[column], part.requests[column])
    assert whole.replicas["output_tokens"].sum() == sum(part.replicas["output_tokens"].sum() for part in parts)
    assert (whole.replicas["billed_stop_s"] == whole.end_s).all()


def test_any_number_of_workers_gives_the_same_bytes() -> None:
    one, two = in_cells(workers=1), in_cells(workers=2)
    for table in ("requests", "replicas", "timeseries"):
        pd.testing.assert_frame_equal(getattr(one, table), getattr(two, table), check_exact=True)
    assert one.events == two.events
    assert (one.itl.counts == two.itl.counts).all()


def test_cells_are_tasks_where_the_process_belongs_to_a_ray_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    class Cluster:
        """What a cell's way to a Ray worker does to it: question and answer are pickled."""

        def is_initialized(self) -> bool:
            return True

        def remote(self, function: Any) -> Any:
            def send(*arguments: Any, **named: Any) -> bytes:
                sent.append(pickle.dumps((arguments, named)))
                arguments, named = pickle.loads(sent[-1])
                return pickle.dumps(function(*arguments, **named))

            return SimpleNamespace(remote=send)

        def get(self, answers: list[bytes]) -> list[Result]:
            return [pickle.loads(answer) for answer in answers]

    alone = in_cells()
    monkeypatch.setitem(sys.modules, "ray", Cluster())
    spread = in_cells()
    assert len(sent) == 3
    for table in ("requests", "replicas", "timeseries"):
        pd.testing.assert_frame_equal(getattr(alone, table), getattr(spread, table), check_exact=True)


def test_sums_of_the_time_series_are_the_fleets() -> None:
    result = in_cells()
    assert result.timeseries["arrivals"].sum() <= len(result.requests)
    assert set(result.timeseries["replicas_ready"]) == {7}
    assert result.timeseries["kv_used"].between(0, 1).all()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cells": 8}, "8 cells and fleet.replicas=7"),
        ({"fleet": {"gpu_budget": 20}}, "fleet.gpu_budget would be shared"),
        ({"timeline": [{"kind": "pool_size", "at_s": 5.0, "replicas": 3}]}, "pool_size"),
        ({"fleet": {"cells_by": "route"}}, "route is no column of the trace"),
    ],
)
def test_what_cells_cannot_share_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        in_cells(**{"cells": 3, **changes})


def test_one_cell_is_the_fleet() -> None:
    trace = labelled()
    plain, one = simulate(a_scenario(fleet={"replicas": 7}), trace), in_cells(1)
    pd.testing.assert_frame_equal(plain.requests, one.requests)
