"""Phase A of a step: the running requests, in order of admission, decodes and chunks alike.

``in_aggregate`` serves all of them at a cost of O(chunks), as long as order cannot matter: budget and free blocks suffice.
Otherwise ``in_order`` goes through the running list one by one, and preempts for want of blocks.
"""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.books import Books
from sim.engine.request import EngineRequest
from sim.engine.verifiers import serve_all


class Serving:
    """Phase A over one engine's ``books``."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.fewest_generated = False
        """Who is preempted for want of blocks: the one with the least output, instead of vLLM's choice."""
        self.lists = False
        """Every step's composition is asked for, request by request."""

    def in_aggregate(self, batch: Batch, budget: int, longest: int, hold: bool) -> int:
        """Serve everybody, chunks up to ``longest`` tokens (0 = any; none when ``hold``); the budget left, or -1 when order
        matters (nothing is done then)."""
        books = self._books
        if budget < batch.n_decode or books.grouped is not None:
            return -1
        if books.drafts is not None:
            return -1 if hold or books.external is not None or self.lists else serve_all(batch, books, budget, longest)
        block_size = books.block_size
        decodes = books.decodes
        left = budget - batch.n_decode
        blocks = decodes.needs_block[decodes.tick % block_size] if batch.n_decode else 0
        chunks: list[tuple[EngineRequest, int, int]] | None = None
        if books.prefilling and not hold:
            chunks = []
            last = next(reversed(books.running))
            for request in books.prefilling:
                before = request.computed
                n = request.target - before
                if 0 < longest < n:
                    n = longest
                if n > left:
                    if request is not last:
                        return -1
                    n = left
                if n:
                    left -= n
                    have = -(-before // block_size)
                    more = -(-(before + n) // block_size) - (have if have > request.least_blocks else request.least_blocks)
                    if more > 0:
                        blocks += more
                    chunks.append((request, n, before))
        pool = books.pool
        if blocks > pool.free:
            return -1
        pool.take(blocks)
        if chunks:
            batch.prefills = chunks
            if pool.caching:
                for request, n, before in chunks:
                    pool.register(request, before + n)
        return left

    def in_order(self, batch: Batch, budget: int, longest: int, hold: bool) -> int:
        """Serve one after the other while budget and blocks last; the budget left. Who decodes and was not served is in
        ``books.held_back``."""
        books = self._books
        block_size = books.block_size
        pool, grouped, drafts = books.pool, books.grouped, books.drafts
        tick = books.decodes.tick
        defers = books.external is not None and books.external.defers
        served: dict[EngineRequest, tuple[int, int]] = {}
        for request in list(books.running):
            if not request.running:
                continue  # preempted a moment ago
            if budget <= 0 or (drafts is not None and not drafts.room):
                break
            if request.decoding:
                n, before = 1, request.offset + tick
            elif request in books.prefilling or drafts is not None:
                if hold and request in books.prefilling:
                    continue
                before = request.computed
                n = request.target - before if drafts is None else drafts.wanted(request)
                if 0 < longest < n:
                    n = longest
                n = min(n, budget)
                if drafts is not None:
                    n = drafts.cut(request, n)
                    if n == 0:
                        continue
            else:
                continue  # its last token is in flight
            have = -(-before // block_size)
            need = -(-(before + n) // block_size) - (have if have > request.least_blocks else request.least_blocks)
            need = need if need > 0 else 0
            if drafts is not None:
                need = drafts.lacking(request, before, n, grouped)
            elif grouped is not None:
                need = grouped.need(request, before, n, books.returned)
            while need > pool.free:
                victim = self._victim()
                if defers and self._in_flight(victim):
                    break
                tokens = served.pop(victim, (0, 0))[0]
                budget += tokens
                if drafts is not None:
                    drafts.take_back(victim, tokens)
                books.preempt(victim, tokens)
                batch.preempt(victim)
                if victim is request:
                    break
            if not request.running:
                if books.limits.others_go_on:
                    continue
                break
            if need > pool.free:
                break  # the victim's blocks cannot be freed now
            served[request] = (n, before)
            budget -= n
            if drafts is not None:
                drafts.serve(request, n, need, pool, grouped)
                continue
            if grouped is not None:
                unnamed = request.decoding and books.in_flight(request)
                grouped.serve(request, before + n, n, books.composed + 1, unnamed)
                continue
            pool.take(need)
            if pool.caching and not request.decoding:
                pool.register(request, before + n)
        batch.n_decode = batch.context = 0
        for request, (n, before) in served.items():
            if request.decoding:
                batch.n_decode += 1
                batch.context += before
            else:
                batch.give(request, n, before)
        books.held_back = [r for r in books.running if r.decoding and r not in served]
        return budget

    def _in_flight(self, request: EngineRequest) -> bool:
        books = self._books
        if request.drafts is not None:
            return request.drafts.in_flight > 0
        if request in books.prefilling:
            return request.last_step > books.returned
        return books.in_flight(request) > 0 if request.decoding else True

    def _victim(self) -> EngineRequest:
        books = self._books
        if self.fewest_generated:
            return min(books.running, key=lambda r: (books.position(r) - r.prompt_len, -r.prompt_len))
        if books.limits.by_priority:
            return max(books.running, key=lambda r: r.key[:2])
        return next(reversed(books.running))
