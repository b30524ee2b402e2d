"""Phase B of a step: the waiting queue, head first; nobody overtakes a head that does not fit.

The order in which a waiting request is looked at:

1. its output of before a preemption is still in flight, or its adapter is one too many (``Adapters``): set aside;
2. the local prefix cache answers (``pool.match``);
3. it is given tokens, as far as budget, chunk limit and prefill cadence let it; ``Drafts`` pads a single one;
4. its blocks must be there: those of its whole prompt (or what ``Reserve`` asks for), and those of its first chunk.

A request that is set aside goes back in front when the phase is over; those behind it may be admitted.
"""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.books import Books
from sim.engine.cadence import Cadence
from sim.engine.request import EngineRequest
from sim.engine.reserve import Reserve


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
        pool, grouped, drafts, adapters = books.pool, books.grouped, books.drafts, books.adapters
        if drafts is not None:
            drafts.before_admission(batch, books.prefilling)
        if adapters is not None:
            adapters.set_aside = False
        set_aside: list[EngineRequest] = []
        while budget > 0 and len(books.running) < limits.seats and (drafts is None or drafts.room):
            request = waiting.first
            if request is None:
                break
            if request.stale_until > books.returned:
                set_aside.append(waiting.pop())
                continue
            if adapters is not None and not adapters.admits(request):
                adapters.set_aside = True
                set_aside.append(waiting.pop())
                continue
            if pool.caching:
                pieces, hit_blocks, free_hits = pool.match(request)
                hit = hit_blocks * block_size
            else:
                pieces, hit_blocks, free_hits, hit = [], 0, 0, 0
            n = request.target - hit
            if hold and n > 1:
                break
            padded = drafts is not None and drafts.pads(n, hit)
            if padded and drafts is not None:
                n = 1 + drafts.most
                if n > budget or n > drafts.inputs - drafts.extra_rows:
                    break
            if 0 < longest < n:
                n = longest
            if n > budget:
                if not limits.chunked:
                    break
                n = budget
            if drafts is not None:
                n = drafts.cut_first(request, hit, n)
                if n == 0:
                    set_aside.append(waiting.pop())
                    continue
            watermark = limits.watermark_blocks if books.running else 0
            if grouped is not None:
                if not grouped.seat(request, hit + n, watermark, limits.reserve_full_isl, books.composed + 1):
                    break
            else:
                room = pool.free - free_hits + hit_blocks - watermark
                blocks = -(-(hit + n) // block_size) if drafts is None else drafts.blocks(hit + n)
                wanted = -(-request.target // block_size) if limits.reserve_full_isl else 0
                if self._reserve is not None:
                    wanted = self._reserve.blocks_wanted(request, books)
                if wanted > room or blocks > room:
                    break
                pool.admit(request, pieces, blocks - hit_blocks)
            waiting.pop()
            books.seat(request, hit)
            batch.admitted.append(request)
            batch.prefills.append((request, n, hit))
            named = hit + n
            if drafts is not None:
                drafts.admit(request, n, blocks, padded)
                named = drafts.named(request, named)
            if pool.caching:
                pool.register(request, named)
            budget -= n
        if set_aside:
            for request in reversed(set_aside):
                waiting.put_back(request)
        if self._cadence is not None and not hold:
            self._cadence.admitted(waiting.size > len(set_aside))
