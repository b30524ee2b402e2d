"""Runs of a real vLLM 0.26 on an H200 that no constant was fitted to (``experiments/validation/h200``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.trust.validate import validate

RUNS = Path(__file__).parents[2] / "experiments" / "validation" / "h200"


@pytest.mark.parametrize("name", ["closed128", "open30", "over40", "fp8-open30"])
def test_a_server_that_was_not_fitted_is_predicted_within_six_per_cent(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to(RUNS / f"h200-llama31-8b-{name}")
    rows = [row for row in validate(tmp_path) if row.statistic == "mean" and row.metric in ("tpot", "e2e", "throughput")]
    assert {row.metric for row in rows} >= {"tpot", "e2e"}
    assert {row.metric: row.predicted / row.measured - 1 for row in rows} == pytest.approx({r.metric: 0.0 for r in rows}, abs=0.06)
