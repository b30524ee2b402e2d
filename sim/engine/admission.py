"""Phase B of a step: the waiting queue, head first; nobody overtakes a head that does not fit.

The order in which a waiting request is looked at:

1. it is LOADING (``ExternalKv``) and no report of that has come: set aside;
2. its output of before a preemption is still in flight, or its adapter is one too many (``Adapters``): set aside;
3. the local prefix cache answers (``pool.match``), then the external source, which may put the answer off: set aside;
4. it is given tokens, as far as budget, chunk limit and prefill cadence let it; ``Drafts`` pads a single one; none where it
   loads in the background;
5. its blocks must be there: those of its whole prompt (or what ``Reserve`` asks for), and those of its first chunk, or of
   its load, beside what prompts that are under way will still need.

A request that is set aside goes back in front when the phase is over; those behind it may be admitted. Requests that own
blocks (``ExternalKv.holding``) come before all others.
"""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.block_pool import Match
from sim.engine.books import Books
from sim.engine.cadence import Cadence
from sim.engine.kv_source import NOTHING
from sim.engine.request import EngineRequest
from sim.engine.reserve import Reserve
from sim.engine.waiting_queue import WaitingQueue


class Admission:
    """Phase B over one engine's ``books``.

    Args:
        books: of the engine.
        cadence: when prompts may start; None = at any step.
        reserve: what else must fit for a request to be admitted; None = its prompt.
    """

    def __init__(self, books: Books, cadence: Cadence | None, reserve: Reserve | None) -> None:
        self._books = books
        self._cadence = cadence
        self._reserve = reserve

    def admit(self, batch: Batch, budget: int, longest: int, hold: bool) -> None:
        """Seat whoever fits into what is left of ``budget``; see ``Serving`` for ``longest`` and ``hold``."""
        books = self._books
        limits = books.limits
        block_size = books.block_size
        waiting = books.waiting
        pool, grouped, external = books.pool, books.grouped, books.external
        drafts, adapters = books.drafts, books.adapters
        if drafts is not None:
            drafts.before_admission(batch, books.prefilling)
        if adapters is not None:
            adapters.set_aside = False
        set_aside: list[EngineRequest] = []
        unnamed = drafts.read_ahead - 1 if drafts is not None and drafts.read_ahead > 1 else 0
        passed = False
        while budget > 0 and len(books.running) < limits.seats and (drafts is None or drafts.room):
            queue = waiting
            if external is not None and external.ready and external.holding.first is not None:
                queue = external.holding
            else:
                passed = True  # whoever is LOADING would be set aside
            request = queue.first
            if request is None:
                break
            if external is not None and request.loading and not external.promote(request, pool, unnamed):
                set_aside.append(queue.pop())
                continue
            if request.stale_until > books.returned:
                set_aside.append(self._take_aside(request, queue))
                continue
            if adapters is not None and not adapters.admits(request):
                adapters.set_aside = True
                set_aside.append(self._take_aside(request, queue))
                continue
            offer = NOTHING
            pieces: Match
            if request.computed:  # loaded
                pieces, hit_blocks, free_hits, local = [], request.least_blocks, 0, request.computed
            elif pool.caching:
                pieces, hit_blocks, free_hits = pool.match(request)
                local = hit_blocks * block_size
            else:
                pieces, hit_blocks, free_hits, local = [], 0, 0, 0
            if external is not None and not request.computed:
                answer = external.source.held(request, local)
                if answer is None:
                    external.put_off += 1
                    set_aside.append(self._take_out(request))
                    continue
                offer = answer
            hit = local + offer.tokens
            n = request.target - hit
            if offer.asynchronous:
                n = 0
            elif n == 0:
                set_aside.append(self._take_out(request))
                continue
            elif hold and n > 1:
                break
            padded = drafts is not None and drafts.pads(n, hit)
            most = budget if drafts is None else drafts.at_most(budget)
            if padded and drafts is not None:
                n = 1 + drafts.most
                if n > most:
                    break
            if 0 < longest < n:
                n = longest
            if n > most:
                if not limits.chunked:
                    break
                n = most
            if drafts is not None and not offer.asynchronous:
                n = drafts.leave_enough(request, hit, n)
                if n == 0:
                    set_aside.append(self._take_aside(request, queue))
                    continue
            watermark = limits.watermark_blocks if books.running else 0
            if grouped is not None:
                blocks, slots = 0, hit + n if drafts is None else drafts.slots(hit + n)
                if not grouped.seat(request, slots, watermark, limits.reserve_full_isl, books.composed + 1):
                    break
            else:
                free = pool.free - free_hits + hit_blocks - watermark
                blocks = -(-(hit + n) // block_size) if drafts is None or offer.asynchronous else drafts.blocks(hit + n)
                blocks = blocks if blocks > hit_blocks else hit_blocks
                wanted = -(-request.target // block_size) if limits.reserve_full_isl else 0
                if self._reserve is not None:
                    wanted = self._reserve.blocks_wanted(request, books)
                if wanted > free or blocks > free:
                    break
                if offer.asynchronous and blocks > free - self._promised(batch, set_aside):
                    break
                if request.computed:
                    pool.take(blocks - hit_blocks)
                else:
                    pool.admit(request, pieces, blocks - hit_blocks)
            if external is None:
                waiting.pop()
            else:
                again = request.holding  # the load before failed from its start: it keeps its place
                self._take_out(request)
                if offer.asynchronous:
                    external.begin(request, local, offer.tokens, blocks)
                    if again:
                        set_aside.append(request)
                    else:
                        external.holding.append(request)
                    continue
                if offer.tokens:
                    batch.load_time += external.load_in_step(request, local, offer.tokens)
            books.seat(request, hit)
            batch.admit(request, n, hit)
            named = hit + n
            if drafts is not None:
                drafts.admit(request, n, blocks, padded)
                named = drafts.named(request, named)
            if pool.caching:
                pool.register(request, named)
            budget -= n
        n_aside = external.holding.size if external is not None and passed else 0
        if set_aside:
            n_aside += len(set_aside)
            for request in reversed(set_aside):
                if request.holding and external is not None:
                    external.holding.put_back(request)
                else:
                    waiting.put_back(request)
        if self._cadence is not None and not hold:
            self._cadence.admitted(books.n_waiting > n_aside)

    def _take_aside(self, request: EngineRequest, queue: WaitingQueue) -> EngineRequest:
        """``request``, the first of ``queue``, is set aside; one that owns no blocks any more leaves those who do."""
        if request.holding and not request.computed:
            return self._take_out(request)
        return queue.pop()

    def _take_out(self, request: EngineRequest) -> EngineRequest:
        """``request``, the first of its queue, leaves it."""
        books = self._books
        if request.holding and books.external is not None:
            books.external.leave(request)
        else:
            books.waiting.pop()
        return request

    def _promised(self, batch: Batch, set_aside: list[EngineRequest]) -> int:
        """Blocks that prompts under way, running or LOADING (``set_aside`` for now or not), will still need while ``batch``
        is composed; with speculation also what verifying takes, for each of them and for the one that asks."""
        books = self._books
        external, drafts = books.external, books.drafts
        size = books.block_size
        more = 1 + drafts.most + drafts.lookahead if drafts is not None else 0
        promised = -(-more // size)
        given = {request: before + n for request, n, before in batch.prefills}
        for request in books.prefilling:
            reached = given.get(request, request.computed)
            if reached >= request.target and request in batch.admitted and not request.least_blocks:
                continue  # its whole prompt at once: nothing of it was ever under way
            have = -(-reached // size) if drafts is None else drafts.state(request).blocks
            promised += max(0, -(-(request.target + more) // size) - max(have, request.least_blocks))
        if external is not None:
            for request in [*external.holding.in_order(), *set_aside]:
                if request.holding:
                    promised += max(0, -(-(request.target + more) // size) - request.least_blocks)
        return promised
