"""``EngineView``: an engine's state as the newest composed step left it, which is what vLLM's metrics say."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from sim.engine.batch import Batch
from sim.engine.scheduler import Scheduler


class EngineView(NamedTuple):
    """What an engine's metrics endpoint would say; tokens and blocks are counts."""

    waiting: int
    running: int
    context_tokens: int
    waiting_tokens: int
    used_blocks: int
    usable_blocks: int
    adapters: tuple[Hashable, ...] = ()
    """LoRA adapters of running requests."""
    max_loras: int = 0


def view_of(scheduler: Scheduler, batches: Iterable[Batch], plan: Batch | None, composed: int, waiting: int) -> EngineView:
    """The view where ``batches`` are out, ``composed`` steps of the open ``plan`` among them are composed by now, and
    prompts of ``waiting`` tokens were never scheduled."""
    books, pool = scheduler.books, scheduler.pool
    if plan is not None and books.grouped is not None:
        scheduler.commit(plan, composed)  # what is composed stays so
    decodes = books.decodes
    used = pool.usable - pool.free
    context = decodes.context
    for request in books.prefilling:
        context += request.computed
    if books.drafts is not None:
        context = 0
        for request in books.running:
            context += request.computed
    for batch in batches:
        for request in batch.finishing:
            if request.running:
                context += request.computed
    if plan is not None and composed > plan.committed:
        context += (composed - plan.committed) * plan.n_decode
        used += decodes.blocks_needed(composed - plan.committed)
    n_waiting = books.waiting.size
    if books.external is not None:
        n_waiting += books.external.holding.size
    view = EngineView(n_waiting, len(books.running), context, waiting, used, pool.usable)
    if books.adapters is not None:
        return view._replace(adapters=tuple(books.adapters.running), max_loras=books.adapters.max_loras)
    return view
