"""Step records: one row an engine step. Engines step every token while their steps are recorded (same results, slower)."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sim.engine.batch import Batch
from sim.engine.listener import StepListener
from sim.engine.scheduler import Scheduler
from sim.record.result import STEP_COLUMNS


class StepRecords(StepListener):
    """Listens to every engine of a fleet; engines then step every token."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []

    def closed(self, name: str, step: int, scheduler: Scheduler, batch: Batch) -> None:
        """See ``StepListener``."""
        chunks = [(n, before) for _, n, before in batch.prefills]
        if batch.speculation is not None:
            verified = batch.speculation.verified
            chunks = [*batch.speculation.prompts, *([(verified.rows, verified.context)] if verified is not None else [])]
        self._rows.append(
            (
                name,
                step,
                batch.start,
                batch.end,
                batch.n_decode + sum(n for n, _ in chunks),
                batch.context + sum(before for _, before in chunks),
                len(scheduler.books.running),
                scheduler.books.n_waiting,
                scheduler.pool.free,
                len(batch.preempted),
            )
        )

    def frame(self) -> pd.DataFrame:
        """``Result.steps``."""
        return pd.DataFrame(self._rows, columns=list(STEP_COLUMNS))
