"""What sources have told reaches the engine's books, with a step's output.

Before the tokens, failed loads cut what counts as computed; after them, requests that end with an error leave, loads are
noted and pins that ended free their blocks.

A failed asynchronous load concerns its own request alone, since nothing of it was findable. A failed synchronous one was
registered with its admission: whoever found its blocks in the same step is affected, and falls back to its count before the
step (vLLM 0.33, ``_update_requests_with_invalid_blocks``).
"""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.books import Books
from sim.engine.content_nodes import Run
from sim.engine.external_kv import ExternalKv, Report
from sim.engine.prefix_cache import PrefixBlockPool
from sim.engine.request import EngineRequest


class LoadReports:
    """Brings to ``books`` what was told to ``external``, a call before and one after the output of a step."""

    def __init__(self, books: Books, external: ExternalKv) -> None:
        self._books = books
        self._external = external
        self._taken: list[Report] = []
        self._cut: dict[EngineRequest, int] = {}
        """Failed loads within a step, and where they are cut."""

    def loaded(self, now: float, request: EngineRequest, good_tokens: int | None) -> None:
        """Told at ``now``: the load of ``request`` is over, and all of it, or its first ``good_tokens``, is there."""
        load = self._external.loads[request]
        good = load.upto if good_tokens is None else good_tokens
        self._external.report(Report(now, request, good, good < load.upto or not load.asynchronous or load.dropped))

    def released(self, now: float, request: EngineRequest) -> None:
        """Told at ``now``: nobody wants the blocks of finished ``request`` any more."""
        self._external.report(Report(now, request, -1, False))

    def news(self, now: float, news: object) -> None:
        """Told at ``now``: ``news`` for the source, which hears it with a step's output."""
        self._external.report(Report(now, None, 0, True, news))

    def due(self, upto: float) -> bool:
        """Whether something was told by ``upto``."""
        reports = self._external.reports
        return bool(reports) and reports[0].time <= upto

    def only_pins(self, upto: float) -> bool:
        """Where nothing was told but pins that ended, nobody outside is concerned: what of them ended by ``upto`` is free.
        Whether it is so."""
        external = self._external
        for report in external.reports:
            if report.good >= 0:
                return False
        kept: list[Report] = []
        for report in external.reports:
            request = report.request
            if report.time > upto or request is None:
                kept.append(report)
                continue
            self.unpin(request)
        external.reports = kept
        return True

    def unpin(self, request: EngineRequest) -> None:
        """The blocks of finished ``request`` are free."""
        blocks = self._external.pinned.pop(request, 0)
        if blocks:
            self._books.pool.release(request, blocks)
            self._books.forget(request)

    def acted(self) -> bool:
        """Whether the latest call began a load, or made the source do something."""
        return bool(self._external.begun) or (self._external.follows and self._external.source.acted())

    def waits_until(self) -> float:
        """When a step of the latest call could have started."""
        return self._external.not_before

    def wants_call(self) -> bool:
        """Whether the source wants the scheduler called though nothing is to be scheduled."""
        return self._external.follows and self._external.source.wants_call()

    def before_output(self, batch: Batch | None, upto: float) -> bool:
        """Take what was told by ``upto``; failed loads take effect, on the output of ``batch`` too. Whether there was
        anything: ``after_output`` and ``told`` follow then."""
        external = self._external
        if batch is not None and external.dropped_until >= batch.number:
            external.filter(batch.sampled, batch.number)
            external.filter(batch.finishing, batch.number)
        if not external.aside and (not external.reports or external.reports[0].time > upto):
            return False
        while external.aside and batch is not None and external.aside[0][0] <= batch.number:
            _, finished, blocks = external.aside.pop(0)
            self._books.pool.release(finished, blocks)
            self._books.forget(finished)
        self._taken = external.take_due(upto, batch) if external.reports else []
        self._cut = {}
        broken: list[EngineRequest] = []
        for report in self._taken:
            request = report.request
            load = external.loads.get(request) if request is not None else None
            if request is None or load is None or report.good < 0:
                continue
            if load.asynchronous:
                external.loaded.append(request)
            if report.good >= load.upto:
                continue
            external.failed.append(request)
            size = self._books.block_size
            load.good = max(report.good, load.local) // size * size
            external.failed_tokens += load.upto - load.good
            if not load.asynchronous:
                self._cut[request] = load.good
            elif external.fails and not load.dropped:
                broken.append(request)
        if broken:
            external.ended.extend([one for one in external.holding.in_order() if one in broken])
        if self._cut and batch is not None:
            self._fail_in_step(batch)
        return True

    def _fail_in_step(self, batch: Batch) -> None:
        """Loads within the step of ``batch`` have failed: who is affected gets no token, and goes on from the cut."""
        books, external = self._books, self._external
        before = {request: computed for request, _, computed in batch.prefills}
        bad: list[Run] = []
        for request in list(books.running):
            cut = self._cut.get(request, -1)
            if cut < 0:
                if request not in batch.admitted or not _share(request, bad):
                    continue
                cut = before[request]
            if isinstance(books.pool, PrefixBlockPool):
                bad.extend(books.pool.runs_from(request, cut // books.block_size))
            books.take_back(request, cut, batch)
            if external.fails:
                self._cut[request] = cut
                external.ended.append(request)

    def after_output(self) -> list[EngineRequest]:
        """Requests that end with an error leave (and are returned); loads are noted, pins end."""
        books, external = self._books, self._external
        for ended in external.ended:
            if ended in self._cut:
                books.give_up(ended, self._cut[ended] // books.block_size)
            else:
                external.ready += 1
                external.loads[ended].reported = True
                books.leave_holding(ended)
        for report in self._taken:
            request = report.request
            if request is None:
                external.source.heard(report.news)
                continue
            if report.good < 0:
                if request in external.pinned:
                    self.unpin(request)
                    external.released.append(request)
                continue
            load = external.loads.get(request)
            if load is None or request in external.ended:
                continue
            if not load.asynchronous:
                del external.loads[request]
            elif load.dropped:
                del external.loads[request]
                books.pool.release(request, request.least_blocks)
                request.least_blocks = 0
                books.forget(request)
            else:
                load.reported = True
                external.ready += 1
        return external.ended

    def told(self) -> None:
        """Whoever wants to know what reached the scheduler has been told."""
        external = self._external
        external.loaded, external.failed, external.released, external.ended = [], [], [], []


def _share(request: EngineRequest, bad: list[Run]) -> bool:
    return any(run in bad for run in request.runs)
