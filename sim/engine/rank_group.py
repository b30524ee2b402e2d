"""``RankGroup``: the data-parallel ranks of one server behind its one endpoint.

Each rank is an engine with its own queue and KV cache. Those of a mixture go in ``LockStep``; those of a dense model run by
themselves. A request goes to the rank with the least

    max(own requests in flight, waiting + running) + 6 x waiting x max(0, KV usage - 0.5)

where waiting, running and usage are ``COUNTS_AGE_S`` old at the most, as the coordinator sends them, and the requests in
flight are exact; the scan begins one rank later with every request, the first least wins. One API server is assumed. Source:
vLLM 0.33, ``v1/engine/core_client.py``. A rank's death is the whole server's.
"""

from __future__ import annotations

from math import inf

from sim.engine.clock import Clock
from sim.engine.listener import EngineListener
from sim.engine.lock_step import LockStep
from sim.engine.replica import Replica
from sim.engine.request import EngineRequest
from sim.engine.scheduler import Scheduler
from sim.engine.view import EngineView
from sim.engine.work import Work

COUNTS_AGE_S = 0.1


class RankGroup:
    """``ranks`` behind one endpoint, in ``lock_step`` or (None) each for itself."""

    def __init__(self, clock: Clock, name: str, ranks: list[Replica], lock_step: LockStep | None) -> None:
        self.clock = clock
        self.name = name
        self.ranks = ranks
        self.lock_step = lock_step
        self.listener: EngineListener = ranks[0].listener
        self.stopped = False
        self._scan_from = 0
        self._counted_at = -inf
        self._penalties = [0.0] * len(ranks)
        self._counts = [0] * len(ranks)

    @property
    def scheduler(self) -> Scheduler:
        """Of the first rank; all have the same limits."""
        return self.ranks[0].scheduler

    # -- from the gateway ----------------------------------------------------------------------------------------------

    def submit(self, request: EngineRequest, last: bool = False) -> None:
        """A request reaches the endpoint now; a dead group evicts it at once. ``last``: see ``Replica``."""
        if self.stopped:
            self.listener.evicted((request,))
            return
        self.give(request, self._least_loaded())

    def give(self, request: EngineRequest, rank: int) -> None:
        """``request`` goes to ``rank``."""
        request.rank = rank
        if self.lock_step is not None:
            self.lock_step.arrives()
        self.ranks[rank].submit(request)

    def abort(self, request: EngineRequest) -> None:
        """The client is gone."""
        if not self.stopped:
            self.ranks[request.rank].abort(request)

    # -- from sources of KV --------------------------------------------------------------------------------------------

    def kv_loaded(self, request: EngineRequest, good_tokens: int | None = None) -> None:
        """See ``Replica``."""
        self.ranks[request.rank].kv_loaded(request, good_tokens)

    def kv_released(self, request: EngineRequest) -> None:
        """See ``Replica``."""
        self.ranks[request.rank].kv_released(request)

    def stop(self) -> list[EngineRequest]:
        """The group dies now: what its ranks held is returned."""
        if self.lock_step is not None:
            self.lock_step.stop()
        self.stopped = True
        held: list[EngineRequest] = []
        for rank in self.ranks:
            held.extend(rank.stop())
        return held

    # -- what is read of it --------------------------------------------------------------------------------------------

    @property
    def n_waiting(self) -> int:
        """Requests in the waiting queues now."""
        waiting = 0
        for rank in self.ranks:
            waiting += rank.n_waiting
        return waiting

    def view(self) -> EngineView:
        """What its metrics say now, all ranks together."""
        views = [rank.view() for rank in self.ranks]
        waiting = running = context = tokens = used = usable = 0
        for one in views:
            waiting, running, context = waiting + one.waiting, running + one.running, context + one.context_tokens
            tokens, used, usable = tokens + one.waiting_tokens, used + one.used_blocks, usable + one.usable_blocks
        return EngineView(waiting, running, context, tokens, used, usable)

    def busy_by(self, now: float) -> float:
        """Time in which its GPUs worked, up to ``now``: whole rounds of ranks in lock step, dummies too, else the mean."""
        if self.lock_step is not None:
            return self.lock_step.busy_by(now)
        busy = 0.0
        for rank in self.ranks:
            busy += rank.busy_by(now)
        return busy / len(self.ranks)

    @property
    def work(self) -> Work:
        """What its ranks have done together. Ranks in lock step make one step together; the busy time is that of the
        group."""
        total = Work(None)
        for rank in self.ranks:
            one = rank.work
            total.steps += one.steps
            total.busy += one.busy / len(self.ranks)
            total.seq_time += one.seq_time
            total.block_time += one.block_time
            total.prefill_tokens += one.prefill_tokens
            total.sampled_tokens += one.sampled_tokens
        if self.lock_step is not None:
            total.steps, total.busy = self.lock_step.work.steps, self.lock_step.work.busy
        return total

    # -- which rank ----------------------------------------------------------------------------------------------------

    def _least_loaded(self) -> int:
        """The rank that the front end gives the next request."""
        ranks = self.ranks
        if self.clock.now - self._counted_at >= COUNTS_AGE_S:
            self._count()
        best, least = 0, inf
        for step in range(len(ranks)):
            number = (self._scan_from + step) % len(ranks)
            books = ranks[number].scheduler.books
            in_flight = len(books.running) + books.n_waiting
            score = max(in_flight, self._counts[number]) + self._penalties[number]
            if score < least:
                best, least = number, score
        self._scan_from = (self._scan_from + 1) % len(ranks)
        return best

    def _count(self) -> None:
        """The coordinator's counts arrive."""
        self._counted_at = self.clock.now
        for number, rank in enumerate(self.ranks):
            books, pool = rank.scheduler.books, rank.scheduler.pool
            waiting = books.n_waiting
            self._counts[number] = len(books.running) + waiting
            usage = (pool.usable - pool.free) / pool.usable
            self._penalties[number] = 6.0 * waiting * max(0.0, usage - 0.5)
