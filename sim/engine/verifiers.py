"""An engine that speculates, where order cannot matter: all of its running requests in one pass, three times a step.

    serve_all   budget, input buffer and free blocks suffice for everybody: nobody is held back or preempted. Whoever has all
                its K drafts and room for 1 + K tokens is *alike*: served and booked at once, its drafts in nobody's list
    returned    what the drafts of those alike have brought

The rules are those of ``sim.engine.drafts`` for each request, which are taken wherever one of the conditions fails. (A
verification of one request costs a third of what it costs one by one.)
"""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.books import Books
from sim.engine.request import EngineRequest


def serve_all(batch: Batch, books: Books, budget: int, longest: int) -> int:
    """Serve all who run, chunks up to ``longest`` tokens (0 = any); the budget left, or -1 (nothing is done): order matters,
    or drafting layers read several tokens ahead."""
    drafts, pool, size = books.drafts, books.pool, books.block_size
    assert drafts is not None
    if drafts.read_ahead > 1:
        return -1
    most, lookahead, extra, drafted = drafts.max_model_len, drafts.lookahead, drafts.extra_rows, drafts.most
    full = 1 + drafted
    tokens = rows = blocks = context = 0
    alike: list[EngineRequest] = []
    others: list[EngineRequest] = []
    uniform = drafts.static and not 0 < longest < full
    for request in books.running:
        state = request.drafts
        if state is None:
            return -1
        computed, target = request.computed, request.target
        in_flight = target - request.prompt_len - request.sampled
        if in_flight > 0 and computed + 2 - in_flight >= request.prompt_len + request.max_output:
            continue
        n = target + state.attached - computed
        if uniform and state.attached == drafted and n == full and computed + full < most:
            alike.append(request)
            context += computed
        else:
            if 0 < longest < n:
                n = longest
            n = min(n, most - computed - 1)
            if n <= 0:
                continue
            others.append(request)
        tokens += n
        rows += n + extra
        slots = min(computed + n + lookahead, most)
        state.given = n
        state.taken = 0 if slots <= state.blocks * size else -(-slots // size) - state.blocks
        blocks += state.taken
    if tokens > budget or rows > drafts.inputs or blocks > pool.free:
        return -1
    drafts.inputs -= rows
    pool.take(blocks)
    for request in others:
        state = request.drafts
        assert state is not None
        n, computed = state.given, request.computed
        state.blocks += state.taken
        verified = min(state.attached, n + computed - request.target)
        if verified > 0:
            drafts.given[request] = verified
        state.attached = 0
        batch.give(request, n, computed)
        if pool.caching:
            pool.register(request, min(computed + n, request.prompt_len + request.sampled))
    drafts.alike, drafts.alike_context = alike, context
    number, asynchronous, caching = books.composed + 1, drafts.asynchronous, pool.caching
    for request in alike:
        state = request.drafts
        assert state is not None
        state.blocks += state.taken
        state.in_flight += full
        request.computed += full
        request.last_step = number
        if caching and request.prompt_len + request.sampled >= (request.registered + 1) * size:
            pool.register(request, request.prompt_len + request.sampled)
        returns = full
        if asynchronous:
            request.target += full  # and as many drafts follow
            returns = request.target - request.prompt_len - request.sampled
        else:
            state.attached = 0
        if returns >= request.max_output - request.sampled:
            batch.announces = True  # it may be its last
    return budget - tokens


def returned(batch: Batch, books: Books) -> list[EngineRequest]:
    """The output of those alike in ``batch`` is here; those of them who have their last token now."""
    drafts, pool, size, speculation = books.drafts, books.pool, books.block_size, batch.speculation
    assert drafts is not None and speculation is not None
    drafted, caching, asynchronous = drafts.most, pool.caching, drafts.asynchronous
    full, number = 1 + drafted, batch.number
    over: list[EngineRequest] = []
    tokens = all_accepted = 0
    verified = 0
    for request in speculation.alike:
        state = request.drafts
        assert state is not None
        state.in_flight -= full
        if state.over or request.abort_reason is not None:
            continue
        accepted = state.path.accepted(state.verified, drafted)
        verified += 1
        all_accepted += accepted
        state.verified += 1
        state.drafted += drafted
        state.accepted += accepted
        stale = number <= request.stale_until
        in_flight = request.target - request.prompt_len - request.sampled
        brought = accepted + 1
        left = request.max_output - request.sampled
        if brought >= left:
            brought = left
            state.over = True
            over.append(request)
        request.sampled += brought
        tokens += brought
        known = request.prompt_len + request.sampled
        if stale:
            request.target = known
            continue
        if request.computed:
            request.computed -= drafted - accepted
        request.computed -= accepted + 1 - brought
        request.target = known + (in_flight - full if in_flight else 0)
        if not asynchronous and not state.over:
            state.attached = state.path.proposed(state.proposed, speculation.next_drafts)
            state.proposed += 1
        if caching and request.running:
            findable = request.computed - state.in_flight
            if findable >= (request.registered + 1) * size:
                pool.register(request, min(findable, known))
    drafts.verified += verified
    drafts.drafted += verified * drafted
    drafts.accepted += all_accepted
    speculation.tokens += tokens
    return over
