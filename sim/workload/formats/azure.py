"""Azure LLM inference traces of 2023 and 2024 and the multimodal one of 2025 (Azure/AzurePublicDataset, CC-BY-4.0).

CSV ``TIMESTAMP,[NumImages,]ContextTokens,GeneratedTokens``. Stamps have 0 to 9 fractional digits (2023: 7, no offset
and CRLF line ends; 2024: mixed, with offset; 2025: ISO with Z). ``ContextTokens`` is taken as the whole prompt, images
included; ``NumImages`` is not used. The files hold no model, session or status.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sim.workload.columns import instants_s, numbers
from sim.workload.formats.native import whole_batches
from sim.workload.rows import Chunk, Reading
from sim.workload.source import csv_header

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
        first_row, origin_ns = 1, None
        for batch in whole_batches(reading, _COLUMNS):
            arrival_s, origin_ns = instants_s(batch.column("TIMESTAMP"), origin_ns)
            rows = np.arange(first_row, first_row + batch.num_rows)
            first_row += batch.num_rows
            yield Chunk(
                arrival_s, numbers(batch.column("ContextTokens")), numbers(batch.column("GeneratedTokens")), rows,
                echo=lambda name, index, batch=batch: batch.column(_NATIVE[name])[index].as_py(),  # type: ignore[misc]
            )  # fmt: skip
