"""Trace formats, one class a format, found by content: ``FORMATS`` in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from sim.workload.formats.agentic import AgenticFormat
from sim.workload.formats.aggregates import AggregateFormat
from sim.workload.formats.azure import AzureFormat
from sim.workload.formats.benchmarks import (
    AiperfFormat,
    GuideLlmFormat,
    InferencePerfFormat,
    LlmServingSimFormat,
    LlmServingSimMeasuredFormat,
    VllmBenchFormat,
)
from sim.workload.formats.blocks import BailianFormat, MooncakeFormat, RagPulseFormat
from sim.workload.formats.chats import ChatsFormat
from sim.workload.formats.gateways import HeliconeFormat, OpenRouterFormat
from sim.workload.formats.langfuse import LangfuseFormat
from sim.workload.formats.litellm import LiteLlmFormat, LiteLlmWithApisFormat
from sim.workload.formats.native import NativeFormat
from sim.workload.formats.otel import OpenTelemetryFormat
from sim.workload.formats.records_of_runs import RunRecordsFormat
from sim.workload.formats.servegen import ServeGenFormat
from sim.workload.formats.tables import BurstGptFormat, MappedFormat, VidurFormat
from sim.workload.formats.turns import TurnsFormat
from sim.workload.formats.workload_files import AiBrixFormat, AlibabaMeansFormat, BatchApiFormat, SplitwiseSimFormat
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
    RunRecordsFormat(), ChatsFormat(), NativeFormat(), AzureFormat(), BurstGptFormat(), VidurFormat(), SplitwiseSimFormat(),
    AlibabaMeansFormat(), RagPulseFormat(), BailianFormat(), TurnsFormat(), MooncakeFormat(), AgenticFormat(),
    ServeGenFormat(), LlmServingSimFormat(), LlmServingSimMeasuredFormat(), AiBrixFormat(), BatchApiFormat(),
    VllmBenchFormat(), AiperfFormat(), InferencePerfFormat(), LiteLlmFormat(), LiteLlmWithApisFormat(), LangfuseFormat(),
    HeliconeFormat(), OpenRouterFormat(), OpenTelemetryFormat(), GuideLlmFormat(), AggregateFormat(), MappedFormat(),
)  # fmt: skip
