"""Azure LLM inference traces of 2023 and 2024 and the multimodal one of 2025 (Azure/AzurePublicDataset, CC-BY-4.0).

CSV ``TIMESTAMP,[NumImages,]ContextTokens,GeneratedTokens``. Stamps have 0 to 9 fractional digits (2023: 7, no offset
and CRLF line ends; 2024: mixed, with offset; 2025: ISO with Z). ``ContextTokens`` is taken as the whole prompt, images
included; ``NumImages`` is not used. The files hold no model, session or status.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sim.workload.delimited import csv_header
from sim.workload.formats.batches import table_batches
from sim.workload.formats.native import labelled
from sim.workload.instants import TimeColumn
from sim.workload.rows import Chunk, Reading

_COLUMNS = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
_NATIVE = dict(zip(("arrival_s", "input_tokens", "output_tokens"), _COLUMNS, strict=True))


class AzureFormat:
    """All Azure LLM and LMM inference traces."""

    name = "azure"
    zero_based = False
    ordered = True

    def matches(self, head: bytes, path: Path) -> bool:
        """By the header's three names."""
        return set(_COLUMNS) <= set(csv_header(head))

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The rows of the file."""
        times = TimeColumn(reading.path, 1.0, "iso", reading.origin_ns)
        for rows, batch in table_batches(reading, _COLUMNS):
            arrival_s = times.seconds(batch.column("TIMESTAMP"))
            reading.origin_ns = times.origin_ns
            yield labelled(arrival_s, batch, _NATIVE, rows, reading, ".")
