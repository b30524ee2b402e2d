"""Calibrated on one part of a measured server, the other part is predicted: the bars that the project set itself.

The measured runs lie beside the repository, not in it; without them the test says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
MEASURED = ROOT.parent / "shared" / "measured"
pytestmark = pytest.mark.skipif(not MEASURED.is_dir(), reason=f"measured runs are not at {MEASURED}")


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(ROOT / "experiments" / "validation"))
    import calibration

    yield calibration
    sys.modules.pop("calibration")


def test_the_second_half_follows_from_the_first(experiment, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    quick = [name for name in experiment.RUNS if "llama2-7b" in name or "rtxpro6000" in name]
    monkeypatch.setattr(experiment, "RUNS", quick)
    rows = list(experiment.second_halves(MEASURED))
    assert len(rows) == 2
    for row in rows:
        assert abs(row["tpot mean"]) <= 5, row
        assert abs(row["e2e mean"]) <= 5, row
        assert max(abs(row["tpot p95"]), abs(row["e2e p95"])) <= 10, row


def test_another_workload_of_the_cpu_engine(experiment, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(experiment, "CPU_FITTED", experiment.CPU_FITTED[:2])  # two load levels do, and take half the time
    rows = list(experiment.cpu_engine(MEASURED))
    for statistic, bar in (("p50", 12), ("p95", 18)):  # three repetitions of these runs differ by 5 to 15 themselves
        errors = [abs(row[f"{metric} {statistic}"]) for row in rows for metric in ("ttft", "tpot", "e2e")]
        assert len(errors) == 6
        assert np.median(errors) <= bar, errors
