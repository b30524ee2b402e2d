"""Workloads: traces in and out, generators, and what is done to traffic before it is replayed."""

from sim.workload.formats.native import write_trace
from sim.workload.generate import generate
from sim.workload.load import load_workload
from sim.workload.read import read_trace
from sim.workload.trace import Trace

__all__ = ["Trace", "generate", "load_workload", "read_trace", "write_trace"]
