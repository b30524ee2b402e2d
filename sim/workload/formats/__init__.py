"""Trace formats, one class a format, found by content: ``FORMATS`` in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from sim.workload.formats.agentic import AgenticFormat
from sim.workload.formats.aggregates import AggregateFormat
from sim.workload.formats.azure import AzureFormat
from sim.workload.formats.benchmarks import AiperfFormat, GuideLlmFormat, LlmServingSimFormat, VllmBenchFormat
from sim.workload.formats.blocks import BailianFormat, MooncakeFormat, RagPulseFormat
from sim.workload.formats.logs import LiteLlmFormat, OpenTelemetryFormat
from sim.workload.formats.native import NativeFormat
from sim.workload.formats.records_of_runs import RunRecordsFormat
from sim.workload.formats.servegen import ServeGenFormat
from sim.workload.formats.tables import BurstGptFormat, LiteLlmTableFormat, MappedFormat, VidurFormat
from sim.workload.rows import Chunk, Reading


class TraceFormat(Protocol):
    """Reads one format. Adding one: a class in this folder, its name in ``FORMATS``, a test of its traps."""

    name: str
    zero_based: bool
    """Times already count from the trace's zero."""
    ordered: bool
    """The format promises non-decreasing times."""

    def matches(self, head: bytes, path: Path) -> bool:
        """Whether a file that begins with ``head`` (empty for a folder) is of this format."""

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The file's rows, in order."""


FORMATS: tuple[TraceFormat, ...] = (
    RunRecordsFormat(), NativeFormat(), AzureFormat(), BurstGptFormat(), VidurFormat(), LiteLlmTableFormat(),
    RagPulseFormat(), BailianFormat(), MooncakeFormat(), AgenticFormat(), ServeGenFormat(), LlmServingSimFormat(),
    VllmBenchFormat(), AiperfFormat(), LiteLlmFormat(), OpenTelemetryFormat(), GuideLlmFormat(), AggregateFormat(),
    MappedFormat(),
)  # fmt: skip
