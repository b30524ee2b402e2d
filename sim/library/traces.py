"""A trace from a file, or the arrivals of a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sim.errors import ConfigError
from sim.spec import Scenario, WorkloadSpec
from sim.workload import Trace, load_workload
from sim.workload.timeline import load_trace as load_trace_of


def load_trace(source: str | Path | Scenario, *, seed: int = 0, **reading: Any) -> Trace:
    """The requests of a trace file of any known format, or those that a scenario replays.

    Args:
        source: a file, folder, glob or https address; or a scenario, whose workload and timeline say everything.
        seed: decides what is drawn (thinning, mixes) where a file is read.
        reading: keys of ``workload`` besides ``path``, e.g. ``columns={"arrival_s": "time"}``, ``rate_scale=2.0``,
            ``duration_s=600.0``.

    Returns:
        A ``Trace``: ``arrival_s`` (float64, seconds from 0, non-decreasing), ``input_tokens`` and ``output_tokens``
        (int64), all of one length, and ``labels`` by name (object arrays of the same length).

    Raises:
        TraceError: it cannot be read; the message names file and row.
        ConfigError: an illegal key of ``reading``.

    >>> import sim
    >>> trace = sim.load_trace(sim.scenario(workload={"limit": 100}))
    >>> len(trace), trace.input_tokens.dtype.name
    (100, 'int64')
    """
    if isinstance(source, Scenario):
        if reading:
            raise ConfigError(f"load_trace: a scenario states its workload itself, but got {', '.join(reading)} besides")
        return load_trace_of(source)
    try:
        spec = TypeAdapter(WorkloadSpec).validate_python({"path": str(source), **reading})
    except ValidationError as error:
        told = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}, but got {item['input']!r}" for item in error.errors())
        raise ConfigError("\n".join(told)) from None
    return load_workload(spec, seed)
