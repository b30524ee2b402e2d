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
        self._rows.append(
            (
                name,
                step,
                batch.start,
                batch.end,
                batch.n_decode + sum(n for _, n, _ in batch.prefills),
                batch.context + sum(before for _, _, before in batch.prefills),
                len(scheduler.books.running),
                scheduler.books.n_waiting,
                scheduler.pool.free,
                len(batch.preempted),
            )
        )

    def frame(self) -> pd.DataFrame:
        """``Result.steps``."""
        return pd.DataFrame(self._rows, columns=list(STEP_COLUMNS))
