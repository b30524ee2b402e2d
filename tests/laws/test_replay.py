"""Run = replay: a run's records, turned back into a trace, give the same records to the last byte."""

import numpy as np
import pandas as pd

from sim.run import simulate
from sim.spec import GeneratorSpec
from sim.spec.arrivals import GammaArrivals
from sim.spec.traffic import EmpiricalSeconds, LognormalLengths, SessionSpec
from sim.workload import generate, read_trace, trace_from_requests, write_trace


def generator(**more):
    return GeneratorSpec(
        duration_s=60, arrivals=GammaArrivals(rate_per_s=3, cv=2), input_tokens=LognormalLengths(mu=6, sigma=1),
        output_tokens=LognormalLengths(mu=4, sigma=1), max_total_tokens=8000, **more,
    )  # fmt: skip


def records(frame):
    return pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()


def test_a_runs_records_replay_to_the_same_bytes(make_scenario, tmp_path):
    for spec in (
        generator(),
        generator(sessions=SessionSpec(
            turns=LognormalLengths(mu=1, sigma=0.5), think_s=EmpiricalSeconds(probabilities=(0, 1), seconds=(1, 20))
        )),
    ):  # fmt: skip
        trace = generate(spec, 1)
        first = simulate(make_scenario(), trace).requests
        write_trace(trace_from_requests(first), tmp_path / "again.csv")
        second = simulate(make_scenario(), read_trace(tmp_path / "again.csv")).requests
        assert len(first) == len(trace)
        assert np.array_equal(first["finish_s"], second["finish_s"], equal_nan=True)
        assert records(first) == records(second)
        first.to_parquet(tmp_path / "requests.parquet")
        third = simulate(make_scenario(), read_trace(tmp_path / "requests.parquet")).requests
        assert records(first) == records(third)
