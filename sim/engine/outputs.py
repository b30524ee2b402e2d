"""``Outputs``: what comes out of an engine. A batch's output enters the books, then whoever sent its requests is told."""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.listener import EngineListener, StepListener
from sim.engine.load_reports import LoadReports
from sim.engine.request import EngineRequest
from sim.engine.scheduler import Scheduler
from sim.engine.work import Work


class Outputs:
    """The way out of one engine.

    Args:
        scheduler: the engine's.
        listener: told of requests that leave.
        steps: told of outputs.
        work: counts tokens that are known only when they come out.
    """

    def __init__(self, scheduler: Scheduler, listener: EngineListener, steps: StepListener | None, work: Work) -> None:
        self._scheduler = scheduler
        self._listener = listener
        self._steps = steps
        self._work = work
        self._external = external = scheduler.books.external
        self._reports = LoadReports(scheduler.books, external) if external is not None else None
        self.time = 0.0
        """End of the step whose output was applied last."""
        self.blocked_until = 0.0
        """Until then an engine with nothing to schedule waits for its source; 0 = it does not."""
        self.waiting_tokens = 0
        """Tokens of prompts that were never scheduled."""

    def tell_loaded(self, now: float, request: EngineRequest, good_tokens: int | None) -> None:
        """See ``LoadReports.loaded``."""
        if self._reports is not None:
            self._reports.loaded(now, request, good_tokens)

    def tell_released(self, now: float, request: EngineRequest, idle: bool) -> None:
        """See ``LoadReports.released``; an ``idle`` engine hears it at once, if it has heard all that was told before."""
        reports = self._reports
        if reports is not None and (not idle or reports.due(now)):
            reports.released(now, request)
        elif reports is not None:
            reports.unpin(request)

    def tell_news(self, now: float, news: object) -> None:
        """See ``LoadReports.news``."""
        if self._reports is not None:
            self._reports.news(now, news)

    def awaits(self, batch: Batch) -> None:
        """``batch``, which has prefills, was launched at its ``sched_at``."""
        external = self._external
        if external is not None and external.watched:
            external.source.computes(batch)
        for request in batch.admitted:
            if request.scheduled_at is None:
                request.scheduled_at = batch.sched_at
                self.waiting_tokens -= request.prompt_len
        for request in batch.sampled:
            if request.announces:
                batch.announces = True

    def apply(self, batch: Batch) -> None:
        """The output of ``batch`` is here."""
        end = self.time = batch.end
        reports, external = self._reports, self._external
        news = False
        if reports is not None and external is not None and (external.reports or external.aside or external.dropped_until):
            news = reports.before_output(batch, end)
        for request in batch.sampled:
            if request.first_token_at is None:
                request.first_token_at = end
                if request.announces and request.abort_reason is None:
                    self._listener.first_token(request)
        self._scheduler.complete(batch)
        if batch.speculation is not None:
            self._work.returned(batch.speculation)
        failed = reports.after_output() if reports is not None and news else None
        if self._steps is not None:
            self._steps.returned(batch)
        for request in batch.finishing:
            if request.abort_reason is None:
                request.finished_at = end
                self._listener.finished(request)
        if failed is not None and reports is not None:
            self._fail(failed)
            reports.told()

    def hear(self, now: float) -> None:
        """Take in what sources of KV have told by ``now``, apart from any batch."""
        reports = self._reports
        if reports is None:
            return
        self.time = now
        external = self._external
        news = external is not None and bool(external.reports or external.aside) and reports.before_output(None, now)
        if news:
            self._fail(reports.after_output())
        if self._steps is not None:
            self._steps.heard(self._scheduler)
        if news:
            reports.told()

    def matter(self) -> bool:
        """Whether sources of KV have a say before an open plan ends that somebody outside sees: who waits may begin a load,
        a load that has failed may end a request, or the source itself hears something."""
        external = self._external
        return external is not None and bool(external.urgent or self._scheduler.books.waiting.size)

    def unheard(self) -> bool:
        """Whether sources of KV have told something that the scheduler does not know."""
        return self._external is not None and bool(self._external.reports)

    def hear_pins(self, now: float) -> None:
        """An idle engine takes in, unasked, which pins have ended."""
        external = self._external
        if external is None or not external.reports or self._steps is not None or self._reports is None:
            return
        if external.reports[0].time <= now and self._reports.only_pins(now):
            self.time = now

    def looks_again(self, now: float, idle: bool) -> bool:
        """Nothing was composed at ``now``: whether an ``idle`` engine must call its scheduler again at once, because it has
        preempted somebody (who waits first in line), or has news to take in."""
        reports = self._reports
        again = idle and bool(self._scheduler.in_vain)
        if reports is None:
            return again
        due = idle and reports.due(now)
        if self._steps is not None and (due or reports.acted()):
            self._steps.looked(self._scheduler, now)
        if idle and reports.waits_until() > now:
            self.blocked_until = reports.waits_until()
            return False
        if due:
            self.hear(now)
        return due or again or (idle and reports.wants_call())

    def blocked(self, now: float) -> bool:
        """Whether an engine with nothing to schedule still waits for what its source flushes; what was told by the end of
        that is taken in."""
        if now < self.blocked_until:
            return True
        self.blocked_until = 0.0
        self.hear(now)
        return False

    def drop(self, aborts: list[EngineRequest]) -> None:
        """Nobody waits for the requests ``aborts`` any more; the list is empty then."""
        for request in aborts:
            if self._scheduler.abort(request):
                if request.scheduled_at is None:
                    self.waiting_tokens -= request.prompt_len
                self._listener.aborted(request)
        aborts.clear()

    def _fail(self, requests: list[EngineRequest]) -> None:
        for request in requests:
            request.abort_reason = "kv_load_failed"
            if request.scheduled_at is None:
                self.waiting_tokens -= request.prompt_len
            self._listener.failed(request)
