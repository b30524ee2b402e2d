"""``load_workload``: the one way from a ``WorkloadSpec`` to the ``Trace`` that a simulation replays."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import numpy as np

from sim.errors import TraceError
from sim.spec import WorkloadSpec
from sim.workload.fetch import cached
from sim.workload.generate import generate
from sim.workload.read import read_trace, reading_options
from sim.workload.scale import rate_scaled, windowed
from sim.workload.trace import Trace
from sim.workload.transform import transformed


def load_workload(spec: WorkloadSpec, seed: int) -> Trace:
    """The requests that ``spec`` describes: source, window, transforms, rate scale, limit, in this order.

    ``seed`` decides what is drawn (generators, thinning, mixes); a plain replay does not depend on it.

    Raises:
        TraceError: the source cannot be read, or nothing is left of it.
    """
    trace, period_s = windowed(_source(spec, seed), spec.start_s, spec.duration_s)
    for place, step in enumerate(spec.transforms):
        trace, period_s = transformed(step, trace, period_s, seed, place)
    trace = rate_scaled(trace, spec.rate_scale, period_s, seed, spec.rate_mode)
    return trace if spec.limit is None else trace.take(np.arange(min(spec.limit, len(trace))))


def _source(spec: WorkloadSpec, seed: int) -> Trace:
    until_s = np.inf if spec.duration_s is None else spec.start_s + spec.duration_s
    options = reading_options(spec)
    if spec.path is not None:
        return read_trace(spec.path, spec.format, until_s=until_s, seed=seed, **options)
    if spec.packaged is not None:
        file = Path(str(importlib.resources.files("sim.traces"))) / spec.packaged
        if not file.is_file():
            raise TraceError(f"workload.packaged is {spec.packaged!r}, which does not ship with servecap")
        return read_trace(file)
    if spec.generator is not None:
        return generate(spec.generator, seed)
    found = cached(spec.fetch or "")
    if found is not None:
        return read_trace(found, spec.format, until_s=until_s, seed=seed, **options)
    raise TraceError(
        f"workload={spec.name} needs its trace file: workload.path=FILE, or `servecap traces fetch {spec.fetch}` once"
    )
