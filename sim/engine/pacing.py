"""``Pacing``: how long what was composed takes. One engine's step-time model, and its noise, put a batch on the clock."""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.duration import duration_of
from sim.engine.noise import StepNoise
from sim.engine.scheduler import Scheduler
from sim.perf.step_time import StepTimeModel


class Pacing:
    """Places batches.

    Args:
        step_time: how long a step takes, in the clock's unit.
        noise: draws each step's factor; the scheduler must not skip then.
    """

    def __init__(self, step_time: StepTimeModel, noise: StepNoise | None) -> None:
        self._step_time = step_time
        self._noise = noise

    def place(self, batch: Batch, start: float, scheduler: Scheduler) -> None:
        """Let ``batch``, just composed by ``scheduler``, begin at ``start``; a decode-only one gets its longest run."""
        books = scheduler.books
        step_time = self._step_time if books.adapters is None else books.adapters.step_time(self._step_time)
        if batch.prefills or batch.speculation is not None:
            first = duration_of(batch, step_time, books)
            increment = 0.0
        else:
            n = batch.n_decode
            intercept, slope, last_context = step_time.decode_line(n, batch.context)
            steps = 1 if batch.number else scheduler.longest_run()
            if batch.context + n * (steps - 1) > last_context:
                steps = max(1, int((last_context - batch.context) // n) + 1)
            batch.steps = steps
            batch.last_context = last_context
            first = intercept + slope * batch.context
            increment = slope * n
        if self._noise is not None:
            first *= self._noise.factor()
        first = first if first > batch.least_time else batch.least_time
        batch.set_times(start if start > batch.not_before else batch.not_before, first + batch.load_time, increment)
