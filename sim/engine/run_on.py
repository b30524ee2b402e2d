"""``RunOn``: loads that begin beside a run of decode-only steps, which goes on.

Whoever waits is looked at when the step behind the one in progress is composed. Where all that comes of it are loads, that
step is one more of the open plan: the same requests decode, only blocks are fewer. The plan then stays one batch, its end
moved to where these blocks allow; otherwise it ends, and what was composed comes behind it.
"""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.scheduler import Scheduler
from sim.engine.work import Work


class RunOn:
    """Composes behind the open plans of one engine, which schedules asynchronously.

    Args:
        scheduler: the engine's.
        work: counts the plans that end.
    """

    def __init__(self, scheduler: Scheduler, work: Work) -> None:
        self._scheduler = scheduler
        self._work = work
        self._used_blocks = 0
        """KV blocks in use at the end of the plan that it tries to go on with."""

    def tries(self, plan: Batch) -> bool:
        """Whether what is composed while the last step of ``plan`` runs may be part of it: nobody leaves with that step, and
        there is nothing but who waits to look at."""
        books = self._scheduler.books
        external = books.external
        if external is None or external.reports or external.ready or not books.waiting.size:
            return False
        self._scheduler.commit(plan, plan.steps)
        self._used_blocks = self._scheduler.pool.usable - self._scheduler.pool.free
        plan.number = books.composed
        return books.decodes.next_finish() > 0

    def takes(self, plan: Batch, batch: Batch | None) -> bool:
        """Whether ``batch``, composed now, is one more step of ``plan``, which goes on then; otherwise that is over."""
        scheduler = self._scheduler
        if batch is None or batch.number or batch.context > plan.last_context:
            self._work.add(plan, self._used_blocks)
            return False
        used_blocks = scheduler.pool.usable - scheduler.pool.free
        self._work.goes_on(plan, plan.time_after(plan.steps), self._used_blocks, used_blocks)
        plan.number = 0
        plan.committed = plan.steps + 1
        steps = plan.steps + scheduler.longest_run()
        if plan.context + plan.n_decode * (steps - 1) > plan.last_context:
            steps = int((plan.last_context - plan.context) // plan.n_decode) + 1
        plan.cut_to(steps)
        return True


def run_on_of(scheduler: Scheduler, work: Work) -> RunOn | None:
    """For an engine whose source of KV, if it has one, need not be told of every step."""
    external = scheduler.books.external
    return RunOn(scheduler, work) if external is not None and not external.follows else None
