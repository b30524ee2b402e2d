"""Workloads: traces in and out, generators, and what is done to traffic before it is replayed."""

from sim.workload.fit import fit_generator
from sim.workload.formats.native import write_trace
from sim.workload.from_records import trace_from_requests
from sim.workload.generate import generate
from sim.workload.load import load_workload
from sim.workload.read import read_trace
from sim.workload.statistics import trace_statistics
from sim.workload.trace import Trace

__all__ = [
    "Trace", "fit_generator", "generate", "load_workload", "read_trace", "trace_from_requests", "trace_statistics",
    "write_trace",
]  # fmt: skip
