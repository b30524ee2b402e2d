from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sim.errors import TraceError
from sim.fleet.spot_traces import read_zone_trace


def test_a_skypilot_trace_is_a_step_function(tmp_path: Path) -> None:
    path = tmp_path / "zone.json"
    path.write_text(json.dumps({"metadata": {"gap_seconds": 100}, "data": [4, 4, 2, 0, 0, 4]}))
    times, counts, length_s = read_zone_trace(str(path))
    assert times.tolist() == [0, 200, 300, 500]
    assert counts.tolist() == [4, 2, 0, 4]
    assert length_s == 600
    assert read_zone_trace(str(path), gap_s=10)[2] == 60


def test_bamboo_events_of_one_moment_are_one_step(tmp_path: Path) -> None:
    path = tmp_path / "p3.csv"
    path.write_text("1000,add,a\n1000,add,b\n5000,remove,a\n9000,add,c\n")
    times, counts, _ = read_zone_trace(str(path))
    assert times.tolist() == [0, 4, 8]
    assert counts.tolist() == [2, 1, 2]


def test_gcloud_samples_are_put_in_order(tmp_path: Path) -> None:
    path = tmp_path / "zone.txt"
    path.write_text("2023-01-01, 00:01:00, 5\n2023-01-01, 00:00:00, 7\n")
    times, counts, _ = read_zone_trace(str(path))
    assert times.tolist() == [0, 60]
    assert counts.tolist() == [7, 5]


def test_anything_else_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "zone.csv"
    path.write_text("hello\n")
    with pytest.raises(TraceError, match=r"zone\.csv: not a spot trace"):
        read_zone_trace(str(path))


def test_every_public_recording_is_read(shared: Path) -> None:
    files = [p for p in (shared / "traces" / "spot").rglob("*") if p.suffix in (".json", ".csv", ".txt")]
    assert files
    for path in files:
        times, counts, length_s = read_zone_trace(str(path))
        assert (np.diff(times) > 0).all() or len(times) == 1, path
        assert counts.min() >= 0
        assert length_s > times[-1]
