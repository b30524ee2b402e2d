"""A user's own file is replayed as it is; only the packaged trace has a load of its own."""

from __future__ import annotations

from dataclasses import replace

from sim.spec import WorkloadSpec
from sim.workload import load_workload

SPEC = {"packaged": "chat_synthetic.parquet", "packaged_rate_scale": 5.0, "rate_scale": None}


def test_the_packaged_rate_is_the_packaged_traces_alone():
    assert WorkloadSpec(**SPEC).rate_scale == 5.0
    assert WorkloadSpec(**SPEC, path="mine.csv").rate_scale == 1.0
    assert WorkloadSpec(**{**SPEC, "rate_scale": 2.0}).rate_scale == 2.0
    assert replace(WorkloadSpec(**SPEC), rate_scale=0.5).rate_scale == 0.5


def test_the_limit_counts_what_is_replayed():
    for scale in (0.5, 1.0, 5.0):
        trace = load_workload(WorkloadSpec(packaged="chat_synthetic.parquet", rate_scale=scale, limit=100), 0)
        assert len(trace) == 100
