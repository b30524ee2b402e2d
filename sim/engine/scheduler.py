"""vLLM's V1 scheduler, with decode steps composed in aggregate.

Plain code without a clock: ``compose()`` decides the next step (or a run of equal decode-only steps), ``close()`` puts a
run's steps in the books, ``complete()`` applies a returned batch. ``sim.engine.replica`` adds time. The rules are those of
vLLM 0.33 (``v1/core/sched/scheduler.py``): running requests first in order of admission, decodes and chunks alike (phase A,
``Serving``), then the waiting queue (phase B, ``Admission``); preemption by recompute; head-of-line blocking; batches
composed one ahead under async scheduling.

An explicit step costs O(prefills + admissions + preemptions), not O(running): the decodes are served in aggregate as long
as order cannot matter, which is when the budget and the free blocks suffice for all of them.

A run of k decode-only steps is planned when nothing that could be admitted can become admissible before a request
finishes: the head of the queue is blocked by seats, budget or blocks, and decoding only takes more blocks. It ends at the
first finish, before the first step whose blocks do not fit, or where the step time's affine piece ends.

What not every engine does is a file of its own that is asked at one named point, which holds a compiled class or None:

    cadence            ``Cadence``: whether prompts wait in this step
    books.grouped      ``GroupedBlockPool``: several KV cache groups over one pool
    books.drafts       ``Drafts``: speculative decoding; asked in both phases, in booking and in returning
    books.adapters     ``Adapters``: LoRA; the gate of admission, told who runs
    books.external     ``ExternalKv``: KV that others hold or want; its news enters by ``LoadReports``
    admission reserve  ``Reserve``: what else must fit

Other engines' decisions are in ``sim.engine.policies``. Not modelled: multimodal encoders, several batches
in a pipeline at once (a step's time is that of equal micro-batches, ``sim.perf.tabulated``).
"""

from __future__ import annotations

from sim.engine.adapters import Adapters
from sim.engine.admission import Admission
from sim.engine.batch import Batch
from sim.engine.books import Books
from sim.engine.cache_groups import GroupedBlockPool
from sim.engine.cadence import Cadence
from sim.engine.drafts import Drafts
from sim.engine.external_kv import ExternalKv
from sim.engine.kv_source import KvSource
from sim.engine.order import QueueOrder, in_order
from sim.engine.request import NOBODY, EngineRequest
from sim.engine.reserve import Reserve
from sim.engine.serving import Serving
from sim.engine.verifiers import returned
from sim.spec import EngineSpec


class Scheduler:
    """One engine's decisions.

    Args:
        engine: resolved options (no ``None`` left in the limits).
        num_gpu_blocks: KV blocks as vLLM reports them; one is reserved.
        grouped: the pool of a model with several KV cache groups; None = one group of full attention.
        reserve: what else must fit for a request to be admitted; None = its prompt.
        cadence: when prompts may start, of a rank that steps with others; None = as the options say.
        drafts: speculation; None = none.
        adapters: LoRA; None = none.
        source: who holds KV for this engine, or wants what it computes; None = nobody.
    """

    def __init__(
        self,
        engine: EngineSpec,
        num_gpu_blocks: int,
        grouped: GroupedBlockPool | None = None,
        reserve: Reserve | None = None,
        cadence: Cadence | None = None,
        drafts: Drafts | None = None,
        adapters: Adapters | None = None,
        source: KvSource | None = None,
    ) -> None:
        interval = engine.prefill_schedule_interval
        self.books = Books(engine, num_gpu_blocks, grouped, drafts, adapters)
        self.limits = self.books.limits
        self.pool = self.books.pool
        if source is not None:
            role = "consumer" if engine.kv_connector.role == "none" else engine.kv_connector.role
            fails = engine.kv_connector.load_failure_policy == "fail"
            self.books.external = ExternalKv(source, role, fails, engine.async_scheduling, self.limits.by_priority)
        self.cadence = Cadence(interval) if cadence is None and interval > 1 else cadence
        self.serving = Serving(self.books)
        self.admission = Admission(self.books, self.cadence, reserve)
        policy = engine.scheduling_policy
        self._order = QueueOrder(policy) if policy in ("earliest_deadline", "shortest_prompt") else None
        self.skip_decode = engine.skip_decode
        self.in_vain: list[EngineRequest] = []
        """Whom the latest call that composed nothing has preempted."""
        self.record_order = False
        """Also list each step's composition in the scheduler's order (O(running) a step)."""

    # -- the waiting queue ---------------------------------------------------------------------------------------------

    def add(self, request: EngineRequest) -> None:
        """A new request arrives. The caller refuses what can never fit (``refusal``)."""
        request.max_output = min(request.max_output, self.limits.max_model_len - request.prompt_len)
        if self._order is not None:
            request.key = self._order.key(request)
        self.books.waiting.append(request)

    def refusal(self, prompt_len: int, output_len: int) -> str | None:
        """Why the front end would refuse such a request, or None."""
        if prompt_len < 1:
            return "empty_prompt"
        longest = self.limits.max_model_len
        if prompt_len >= longest:
            return "too_long"
        total = max(min(prompt_len + output_len, longest) - 1, prompt_len)
        if self.books.drafts is not None:
            total = min(total + self.books.drafts.most + self.books.drafts.lookahead, longest)
        grouped = self.books.grouped
        blocks = -(-total // self.limits.block_size) if grouped is None else grouped.at_most(total)
        return "exceeds_kv_cache" if blocks > self.pool.usable else None

    # -- compose -------------------------------------------------------------------------------------------------------

    def compose(self) -> Batch | None:
        """The next step, or a run of decode-only steps (``close`` it); None when nothing can be scheduled."""
        books = self.books
        decodes = books.decodes
        n_waiting = books.waiting.size
        external = books.external
        if external is not None:
            n_waiting += external.holding.size
            external.begins()
        if not decodes.size and not books.prefilling and not n_waiting and (books.drafts is None or not books.running):
            if external is not None and external.follows:
                external.not_before = external.source.composed(Batch(0, 0), [])
            self.in_vain = []
            return None
        if books.drafts is not None:
            books.drafts.begin()
        batch = Batch(decodes.size, decodes.context)
        limits = self.limits
        longest = limits.longest_chunk(len(books.running) + n_waiting) if limits.long_prefill_tokens else 0
        hold = False
        if self.cadence is not None:
            hold = self.cadence.holds(books.composed + 1, len(books.prefilling) < len(books.running))

        books.held_back = NOBODY
        tick = decodes.tick
        self.serving.lists = self.record_order
        budget = self.serving.in_aggregate(batch, limits.budget, longest, hold)
        if budget < 0:
            budget = self.serving.in_order(batch, limits.budget, longest, hold)
        follows = external is not None and external.follows
        order = in_order(books.running, tick, batch, books.held_back) if self.record_order or follows else None
        if (n_waiting or self.cadence is not None) and not batch.preempted and not (limits.prefills_apart and books.running):
            self.admission.admit(batch, budget, longest, hold)
        if order is not None:
            order.extend(batch.prefills[len(batch.prefills) - len(batch.admitted) :])
            batch.order = order
            if follows and external is not None:
                external.composed(batch, order)
        if not batch.n_decode and not batch.prefills and (books.drafts is None or not books.drafts.alike):
            self.in_vain = batch.preempted
            return None
        if batch.prefills or batch.preempted or books.held_back or books.drafts is not None:
            self._book_step(batch, True)
        else:  # the blocks of the first step are already taken; close() books the rest
            decodes.tick += 1
            books.composed += 1
            books.decoded = books.composed
            batch.committed = 1
        return batch

    def _book_step(self, batch: Batch, with_decodes: bool) -> None:
        """Advance every scheduled request by what it was given (before the model has run)."""
        books = self.books
        decodes = books.decodes
        if batch.n_decode or books.held_back:
            decodes.tick += 1
        books.composed += 1
        if with_decodes:
            books.decoded = books.composed
        batch.committed = 1
        batch.number = books.composed
        if books.adapters is not None:
            batch.load_time += books.adapters.take_stall()
        for request in books.held_back:
            decodes.hold_back(request)
            request.held_at = books.composed
        finishing = decodes.pop_finished() if decodes.size else NOBODY
        if self.cadence is not None:
            self.cadence.composed(books.composed, batch, books.prefilling)
        if books.drafts is not None:
            books.drafts.book(batch, books.prefilling, books.composed)
            return
        for request, n, _ in batch.prefills:
            request.computed += n
            request.last_step = books.composed
            if request.computed == request.target:
                request.sampled += 1
                request.target += 1
                del books.prefilling[request]
                batch.sample(request)
                if request.sampled < request.max_output:
                    decodes.add(request)
                else:
                    finishing = [*finishing, request]
        if len(finishing) > 1:
            finishing.sort(key=_admission)
        batch.finishing = finishing

    # -- runs of decode-only steps -------------------------------------------------------------------------------------

    def longest_run(self) -> int:
        """How many steps like the decode-only one just composed follow each other before anything can change (>= 1)."""
        books = self.books
        if not self.skip_decode or self.record_order or books.prefilling:
            return 1
        external = books.external
        if external is not None and (external.put_off or (external.ready and self.cadence)):
            return 1  # whoever was told to ask later asks at each step; whoever is loaded waits for the cadence
        if books.waiting.size and (
            self.cadence is not None or books.waiting.any_stale(books.returned) or self._head_follows()
        ):
            return 1
        decodes = books.decodes
        limit = decodes.next_finish()
        if external is not None and external.follows:
            limit = min(limit, external.source.unseen())
        if books.grouped is not None:
            return 1 + books.grouped.steps_within(books.running, decodes.tick, limit)
        return 1 + decodes.steps_within(self.pool.free, limit) if limit else 1

    def _head_follows(self) -> bool:
        """Whether the head is blocked for now, but its prefix hit, or the room, grows while others decode."""
        books = self.books
        if (not self.pool.caching and books.grouped is None) or len(books.running) >= self.limits.seats:
            return False
        head = books.waiting.first
        if books.adapters is not None:
            head = next((request for request in books.waiting.in_order() if books.adapters.admits(request)), None)
        return head is not None and self.pool.follows(head)

    def commit(self, batch: Batch, steps: int) -> None:
        """Put the first ``steps`` steps of a decode-only run in the books (blocks and ticks)."""
        more = steps - batch.committed
        if more > 0:
            books = self.books
            decodes = books.decodes
            books.composed += more
            books.decoded = books.composed
            if books.grouped is not None:
                books.grouped.run(books.running, decodes.tick, more, books.composed)
            else:
                self.pool.take(decodes.blocks_needed(more))
            decodes.tick += more
            batch.committed = steps

    def close(self, batch: Batch) -> None:
        """The plan of a decode-only run is final: book it and find who finishes with it."""
        self.commit(batch, batch.steps)
        batch.number = self.books.composed
        batch.finishing = self.books.decodes.pop_finished()

    # -- a batch returns -----------------------------------------------------------------------------------------------

    def complete(self, batch: Batch) -> None:
        """Apply the output of the oldest batch: those that sampled their last token leave, their blocks are free."""
        books = self.books
        books.returned = batch.number
        if books.drafts is not None:
            self._complete_verified(batch, books.drafts)
            return
        for request in batch.finishing:
            books.finish(request)

    def _complete_verified(self, batch: Batch, drafts: Drafts) -> None:
        """The same with speculation: only now it is known how many tokens each has sampled."""
        books, pool = self.books, self.pool
        over: list[EngineRequest] = []
        everybody = len(batch.sampled) == len(batch.prefills)
        sampled = set() if everybody else set(batch.sampled)
        for request, n, _ in batch.prefills:
            state = drafts.state(request)
            state.in_flight -= n
            if state.over or request.abort_reason is not None or not (everybody or request in sampled):
                continue
            findable = drafts.returned(request, batch)
            if findable > 0 and pool.caching:
                pool.register(request, findable)
            if state.over:
                over.append(request)
        if batch.speculation is not None and batch.speculation.alike:
            over.extend(returned(batch, books))
            over.sort(key=_admission)
        for request in over:
            books.finish(request)
        if over:
            batch.finishing = [*batch.finishing, *over]

    def abort(self, request: EngineRequest) -> bool:
        """Drop a request that nobody waits for. False when it is not here any more."""
        if request.finished_at is not None or request.abort_reason is not None:
            return False
        request.abort_reason = "aborted"
        self.books.drop(request)
        return True


def _admission(request: EngineRequest) -> int:
    return request.seq
