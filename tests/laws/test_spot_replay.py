"""Recorded spot zones, replayed end to end: what the recording says is alive is what the fleet holds.

``preemption`` is how many machines are alive: the rest is taken. ``availability`` is whether one could be launched now:
nothing is taken, and nothing new is had. Traces by hand in the public formats, and the public recordings where they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.analysis.laws import violations
from sim.cli.main import main as servecap
from sim.errors import TraceError
from sim.fleet.spot_traces import read_zone_trace
from sim.record import Result
from sim.run import simulate
from tests.laws.test_fleet import (
    RETRY,
    a_scenario,
    a_trace,
    assert_dollars_are_seconds_times_price,
    assert_no_token_from_the_dead,
)

TICK_S = 20.0


def skypilot(folder: Path, *counts: int) -> str:
    path = folder / "zone.json"
    path.write_text(json.dumps({"metadata": {"gap_seconds": TICK_S}, "data": list(counts)}))
    return str(path)


def bamboo(folder: Path) -> str:
    """Three machines at once, two gone at 40 s, one back at 80 s."""
    path = folder / "zone.csv"
    rows = ["0,add,a", "0,add,b", "0,add,c", "40000,remove,a", "40000,remove,c", "80000,add,d", "4000000,remove,d"]
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def replayed(paths: dict[str, str], meaning: str, n: int = 300, rate: float = 2.5, **spot: Any) -> Result:
    scenario = a_scenario(
        fleet={
            "replicas": 3,
            "min_replicas": 3,
            "max_replicas": 3,
            "market": "spot",
            "zones": list(paths),
            "failures": {"detect_s": 0.0},
        },
        spot={"hazard": {"kind": "trace", "meaning": meaning, "paths": paths}, "notice_s": 0.0, **spot},
        gateway=RETRY,
    )
    result = simulate(scenario, a_trace(n, rate, 1))
    assert violations(result) == []
    assert len(result.requests) == n
    assert_dollars_are_seconds_times_price(result)
    assert_no_token_from_the_dead(result)
    return result


def held(result: Result, at_s: float, zone: str = "zone_a") -> int:
    """Spot machines of ``zone`` that the fleet pays for at ``at_s``."""
    rows = result.replicas[(result.replicas["market"] == "spot") & (result.replicas["zone"] == zone)]
    born = rows["billed_start_s"].to_numpy(dtype=float) <= at_s
    return int((born & ~(rows["billed_stop_s"].to_numpy(dtype=float) <= at_s)).sum())


def test_a_preemption_recording_takes_what_it_says_is_gone(tmp_path: Path) -> None:
    result = replayed({"zone_a": skypilot(tmp_path, 3, 3, 1, 1, 0, 2, *[3] * 200)}, "preemption", n=500)
    expected = [(10, 3), (45, 1), (75, 1), (85, 0), (99, 0)]
    assert [(at_s, held(result, at_s)) for at_s, _ in expected] == expected
    for at_s in np.arange(0.5, result.end_s, 3.0):
        assert held(result, at_s) <= [3, 3, 1, 1, 0, 2, 3][min(int(at_s // TICK_S), 6)]
    assert held(result, result.end_s - 1) == 3  # replaced once the recording has room (asked for again each minute)
    evictions = [event for event in result.events if event["event"] == "eviction"]
    assert len(evictions) == 3
    assert sum(event["requests"] for event in evictions) > 0
    assert (result.requests["outcome"] == "completed").all()


def test_bamboo_events_are_replayed_the_same_way(tmp_path: Path) -> None:
    result = replayed({"zone_a": bamboo(tmp_path)}, "preemption")
    assert [held(result, at_s) for at_s in (39.0, 41.0, 79.0)] == [3, 1, 1]
    assert held(result, result.end_s - 1) == 2


def test_an_availability_recording_takes_nothing_and_gates_launches(tmp_path: Path) -> None:
    zone = skypilot(tmp_path, 1, 0, 0, 0, *[1] * 300)
    result = replayed({"zone_a": zone}, "availability")
    assert not any(event["event"] == "eviction" for event in result.events)
    assert [held(result, at_s) for at_s in (10.0, 30.0, 70.0)] == [3, 3, 3]  # none is launched, so none is refused
    lost = a_scenario(
        fleet={"replicas": 1, "market": "spot", "zones": ["zone_a"]},
        spot={"hazard": {"kind": "trace", "meaning": "availability", "paths": {"zone_a": zone}}, "fallback": "none"},
        gateway=RETRY, timeline=[{"kind": "replica_loss", "at_s": 25.0, "repair": "replace"}],
    )  # fmt: skip
    without = simulate(lost, a_trace(200, 1.0, 1))
    assert [held(without, at_s) for at_s in (20.0, 70.0)] == [1, 0]


def test_notice_is_given_before_the_recorded_moment(tmp_path: Path) -> None:
    result = replayed({"zone_a": skypilot(tmp_path, 3, 3, 3, 1, *[3] * 200)}, "preemption", notice_s=30.0)
    notices = [event for event in result.events if event["event"] == "spot_notice"]
    assert [(event["time_s"], event["left_s"]) for event in notices] == [(pytest.approx(30.0), pytest.approx(30.0))] * 2
    assert held(result, 60.5) <= 1


def test_zones_are_lost_one_by_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    paths = {"zone_a": skypilot(tmp_path / "a", 2, 0, *[2] * 200), "zone_b": skypilot(tmp_path / "b", 2, 2, 0, *[2] * 200)}
    result = replayed(paths, "preemption")
    assert held(result, 10.0) + held(result, 10.0, "zone_b") == 3
    assert held(result, 30.0) == 0 < held(result, 30.0, "zone_b")
    assert held(result, 50.0, "zone_b") == 0


def test_a_file_that_is_no_spot_trace_ends_the_program_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "zone.csv"
    bad.write_text("hello\n")
    hazard = f"spot.hazard={{kind: trace, meaning: preemption, paths: {{zone_a: {bad}}}}}"
    assert servecap(["run", "fleet=spot", "spot=aws", hazard, "workload.limit=20"]) == 2
    assert str(bad) in capsys.readouterr().err


def test_the_public_recordings_replay(shared: Path) -> None:
    files = sorted(path for path in (shared / "traces" / "spot").rglob("*") if path.suffix in (".json", ".csv"))
    replays = 0
    for path in files:
        try:
            times, counts, length_s = read_zone_trace(str(path))
        except TraceError:  # a table that is no zone's recording
            continue
        for meaning in ("preemption", "availability"):
            result = replayed({"zone_a": str(path)}, meaning, n=60)
            if meaning == "preemption":
                at_s = np.arange(1.0, result.end_s, 5.0) % length_s
                limit = counts[np.searchsorted(times, at_s, side="right") - 1]
                assert all(held(result, t) <= most for t, most in zip(np.arange(1.0, result.end_s, 5.0), limit, strict=True))
            replays += 1
        if replays >= 12:
            break
    assert replays
