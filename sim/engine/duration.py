"""How long a step with prompts or verifications takes, before noise."""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.books import Books
from sim.perf.step_time import StepTimeModel


def duration_of(batch: Batch, step_time: StepTimeModel, books: Books) -> float:
    """Time of ``batch``, just composed from ``books``, in the unit of ``step_time``: with speculation its own time."""
    if books.drafts is not None:
        return books.drafts.step_time(batch, books.adapters is not None and len(books.adapters.running) > 0)
    return step_time.step([(n, before) for _, n, before in batch.prefills], batch.n_decode, batch.context)
