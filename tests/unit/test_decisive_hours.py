"""The hours that decide: which are taken, what they may tell, and that the answer is the one of whole runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.search import decisive, solve
from sim.search.decisive import decisive_hours
from sim.workload import Trace, write_trace
from tests.laws.test_fleet import a_scenario

SLO = {"ttft_p95_s": 1.0, "tpot_p95_s": 0.1}


def working_days(requests: int, days: int = 3) -> Trace:
    """Busy from 9 to 12, quiet else."""
    rng = np.random.default_rng(0)
    weight = np.tile(np.where((np.arange(24) >= 9) & (np.arange(24) < 12), 1.0, 0.05), days)
    hours = rng.choice(24 * days, requests, p=weight / weight.sum())
    times = np.sort((hours + rng.random(requests)) * 3600.0)
    return Trace(times - times[0], rng.integers(200, 3000, requests), rng.integers(20, 200, requests))


@pytest.fixture
def short_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisive, "_FEWEST_REQUESTS", 1000)
    monkeypatch.setattr(decisive, "_FEWEST_HOURS", 3)


def test_the_busiest_hours_are_taken_with_the_minutes_before_them(short_is_long: None) -> None:
    trace = working_days(6000)
    part = decisive_hours(a_scenario(slo=SLO), trace)
    assert part is not None
    assert 3 <= part.hours <= 9 and part.of_hours == 72
    assert 0.05 * 2.5 * len(trace) <= len(part.trace) <= 0.6 * len(trace)
    assert (np.diff(part.trace.arrival_s) >= 0).all()
    assert f"the {part.hours} busiest of 72 hours" in part.words


@pytest.mark.parametrize(
    "changes",
    [
        {"timeline": [{"kind": "replica_loss", "at_s": 100.0}]},
        {"autoscaler": {"kind": "requests_in_flight", "target": 4.0}},
        {"fleet": {"replicas": 1, "market": "spot"}},
        {"fleet": {"replicas": 1, "failures": {"gpu_mtbf_h": 100.0}}},
        {"slo": {"itl_p95_s": 0.1}},
        {"slo": {}},
    ],
)
def test_what_follows_the_clock_is_run_whole(short_is_long: None, changes: dict[str, Any]) -> None:
    assert decisive_hours(a_scenario(**{"slo": SLO, **changes}), working_days(6000)) is None


def test_a_short_trace_is_run_whole() -> None:
    assert decisive_hours(a_scenario(slo=SLO), working_days(6000)) is None


def test_the_answer_is_that_of_whole_runs_and_was_run_whole(short_is_long: None, tmp_path: Path) -> None:
    trace = working_days(30_000)
    write_trace(trace, tmp_path / "days.parquet")
    search = {"solve": "replicas", "one_replica_load": False}
    days = {"path": str(tmp_path / "days.parquet")}
    asked = a_scenario(slo=SLO, search=search, workload=days, engine={"max_num_seqs": 4})
    found = solve(asked, "replicas")
    whole = solve(replace(asked, search=replace(asked.search, early_stop=False)), "replicas")
    assert found.feasible and found.point.replicas == whole.point.replicas > 1
    assert found.point.part == "" and len(found.result.requests) == len(trace)
    assert found.summary["requests"] == whole.summary["requests"]
    assert "busiest of 72 hours" in found.note
    assert sum(len(point.part) > 0 for point in found.points) >= 2
