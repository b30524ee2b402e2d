"""A run folder's ``requests.parquet``, read back as the trace that the run replayed (``sim.workload.from_records``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from sim.workload.formats.batches import refuse_bomb
from sim.workload.from_records import REPLAYED, trace_from_requests
from sim.workload.rows import Chunk, Reading
from sim.workload.source import PARQUET_MAGIC


class RunRecordsFormat:
    """servecap's own records of a run."""

    name = "records"
    zero_based = True
    ordered = True

    def matches(self, head: bytes, path: Path) -> bool:
        """A Parquet file with outcomes."""
        if head[:4] != PARQUET_MAGIC:
            return False
        try:
            return {"request_id", "outcome"} <= set(pyarrow.parquet.read_schema(path).names)
        except (pa.ArrowException, OSError):
            return False

    def chunks(self, reading: Reading) -> Iterator[Chunk]:
        """The requests of the run."""
        with pyarrow.parquet.ParquetFile(reading.path) as file:
            columns = [name for name in file.schema_arrow.names if name in REPLAYED]
            refuse_bomb(file, reading.path, columns)
            trace = trace_from_requests(file.read(columns).to_pandas())
        yield Chunk(
            trace.arrival_s, trace.input_tokens.astype(np.float64), trace.output_tokens.astype(np.float64),
            np.arange(len(trace)) + 1, dict(trace.labels),
        )  # fmt: skip
