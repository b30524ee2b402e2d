"""vLLM's V1 scheduler, with decode steps composed in aggregate.

Plain code without a clock: ``compose()`` decides the next step (or a run of equal decode-only steps), ``close()`` puts a
run's steps in the books, ``complete()`` applies a returned batch. ``sim.engine.replica`` adds time. The rules are those of
vLLM 0.33 (``v1/core/sched/scheduler.py``): running requests first in order of admission, decodes and chunks alike, then
the waiting queue; preemption by recompute; head-of-line blocking; batches composed one ahead under async scheduling.

An explicit step costs O(prefills + admissions + preemptions), not O(running): the decodes are served in aggregate as long
as order cannot matter, which is when the budget and the free blocks suffice for all of them. Otherwise ``_walk`` goes
through the running list request by request.

A run of k decode-only steps is planned when nothing that could be admitted can become admissible before a request
finishes: the head of the queue is blocked by seats, budget or blocks, and decoding only takes more blocks. It ends at the
first finish, before the first step whose blocks do not fit, or where the step time's affine piece ends.

The longest file of the engine, on purpose: composing, booking and returning a step change the same few counters, and read
best side by side. Other engines' decisions are in ``sim.engine.policies``.

Not modelled: speculative decoding, LoRA, multimodal encoders, KV connectors, pipeline micro-batches.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Any

from sim.engine.batch import Batch
from sim.engine.cache_groups import GroupedBlockPool
from sim.engine.decode_set import DecodeSet
from sim.engine.order import QueueOrder, in_order
from sim.engine.prefix_cache import PrefixBlockPool, pool_of
from sim.engine.request import EngineRequest
from sim.spec import EngineSpec


class Scheduler:
    """Waiting queue, running list and block pool of one engine.

    Args:
        engine: resolved options (no ``None`` left in the limits).
        num_gpu_blocks: KV blocks as vLLM reports them; one is reserved.
        grouped: the pool of a model with several KV cache groups; None = one group of full attention.
    """

    def __init__(self, engine: EngineSpec, num_gpu_blocks: int, grouped: GroupedBlockPool | None = None) -> None:
        assert engine.max_num_seqs is not None
        assert engine.max_num_batched_tokens is not None
        assert engine.max_model_len is not None
        self.block_size = engine.block_size
        self.max_model_len = engine.max_model_len
        self.seats = engine.max_num_active_seqs or engine.max_num_seqs
        self.budget = min(engine.max_num_scheduled_tokens or engine.max_num_batched_tokens, engine.max_num_batched_tokens)
        self.input_budget = engine.max_num_batched_tokens
        self.threshold = engine.long_prefill_token_threshold
        self.threshold_adaptive = engine.long_prefill_token_threshold_adaptive
        self.chunked = engine.enable_chunked_prefill
        self.reserve_full_isl = engine.scheduler_reserve_full_isl
        self.watermark_blocks = int(engine.watermark * num_gpu_blocks)
        policy = engine.scheduling_policy
        self.by_priority = policy != "fcfs"
        self._order = QueueOrder(policy) if policy in ("earliest_deadline", "shortest_prompt") else None
        self.others_go_on = self.by_priority
        """After a request gave up its own place for want of blocks, those behind it are still served."""
        self.interval = engine.prefill_schedule_interval
        self.skip_decode = engine.skip_decode
        self.record_order = False
        """Also list each step's composition in the scheduler's order (O(running) a step)."""

        self.grouped = grouped
        self.pool = grouped if grouped is not None else pool_of(engine, num_gpu_blocks, self._findable)
        self.decodes = DecodeSet(engine.block_size)
        self.running: dict[EngineRequest, None] = {}
        """In order of admission; a resumed request goes to the end. Holds those whose last token is in flight, too."""
        self.prefilling: dict[EngineRequest, None] = {}
        """Those of ``running`` that do not decode yet."""
        self._fifo: deque[EngineRequest] = deque()
        self._heap: list[tuple[tuple[float, float, Any], int, EngineRequest]] = []
        self._waiting_entries = 0
        self.composed = 0
        """Steps composed so far; the number of the newest."""
        self.returned = 0
        """Number of the newest step whose output was applied."""
        self._held_back: list[EngineRequest] = []
        """Decoding requests that the step being composed does not serve."""
        self._admissions = 0
        self._last_prefill_step = -self.interval
        self._capacity_bound = False
        self.preemptions = 0
        self.recomputed_tokens = 0
        self.prefix_queries_tokens = 0
        self.prefix_hits_tokens = 0

    # -- the waiting queue ---------------------------------------------------------------------------------------------

    @property
    def n_waiting(self) -> int:
        """Requests in the waiting queue, preempted ones included."""
        return len(self._heap) if self.by_priority else len(self._fifo)

    def waiting_requests(self) -> list[EngineRequest]:
        """The waiting queue, head first."""
        return [entry[2] for entry in sorted(self._heap)] if self.by_priority else list(self._fifo)

    def add(self, request: EngineRequest) -> None:
        """A new request arrives. The caller refuses what can never fit (``refusal``)."""
        request.max_output = min(request.max_output, self.max_model_len - request.prompt_len)
        if self._order is not None:
            request.key = self._order.key(request)
        self._enqueue(request, front=False)

    def refusal(self, prompt_len: int, output_len: int) -> str | None:
        """Why the front end would refuse such a request, or None."""
        if prompt_len < 1:
            return "empty_prompt"
        if prompt_len >= self.max_model_len:
            return "too_long"
        total = max(min(prompt_len + output_len, self.max_model_len) - 1, prompt_len)
        blocks = -(-total // self.block_size) if self.grouped is None else self.grouped.at_most(total)
        return "exceeds_kv_cache" if blocks > self.pool.usable else None

    def _enqueue(self, request: EngineRequest, front: bool) -> None:
        if self.by_priority:
            self._waiting_entries += 1
            heappush(self._heap, (request.key, self._waiting_entries, request))
        elif front:
            self._fifo.appendleft(request)
        else:
            self._fifo.append(request)

    def _remove_waiting(self, request: EngineRequest) -> None:
        if self.by_priority:
            self._heap = sorted(entry for entry in self._heap if entry[2] is not request)
        else:
            self._fifo.remove(request)

    # -- compose -------------------------------------------------------------------------------------------------------

    def compose(self) -> Batch | None:
        """The next step, or a run of decode-only steps (``close`` it); None when nothing can be scheduled."""
        decodes = self.decodes
        n_decode = decodes.size
        tick = decodes.tick
        n_waiting = self.n_waiting
        if not n_decode and not self.prefilling and not n_waiting:
            return None
        batch = Batch(n_decode, decodes.context)
        budget = self.budget
        threshold = self.threshold
        if threshold:
            live = len(self.running) + n_waiting
            threshold = 0 if live <= 1 else threshold
            if threshold and self.threshold_adaptive:
                threshold = max(threshold, self.input_budget // live)
        defer = (
            self.interval > 1
            and not self._capacity_bound
            and self.composed + 1 - self._last_prefill_step < self.interval
            and len(self.prefilling) < len(self.running)
        )

        held_back = self._held_back = []
        chunks = self._chunks(threshold, budget - n_decode, defer)
        if chunks is None:
            budget, held_back = self._walk(batch, budget, threshold, defer)
            self._held_back = held_back
        else:
            budget -= n_decode
            blocks = decodes.needs_block[tick % self.block_size] if n_decode else 0
            for _, n, _, new in chunks:
                budget -= n
                blocks += new
            self.pool.take(blocks)
            for request, n, before, _ in chunks:
                batch.prefills.append((request, n, before))
                if self.pool.caching:
                    self.pool.register(request, before + n)

        order = in_order(self.running, decodes.tick, batch, held_back) if self.record_order else None
        if (n_waiting or self.interval > 1) and not batch.preempted:
            self._admit(batch, budget, threshold, defer)
        if order is not None:
            order.extend(batch.prefills[len(batch.prefills) - len(batch.admitted) :])
            batch.order = order
        if not batch.n_decode and not batch.prefills:
            return None
        if not batch.prefills and not batch.preempted and not held_back:
            # The blocks of the first step are already taken; close() books the rest.
            decodes.tick += 1
            self.composed += 1
            batch.committed = 1
            return batch
        self._book_step(batch, held_back)
        return batch

    def _chunks(self, threshold: int, left: int, defer: bool) -> list[tuple[EngineRequest, int, int, int]] | None:
        """Phase A in aggregate: ``(request, tokens, computed before, new blocks)`` of every chunk when all decodes and
        chunks can be served in any order; None when order matters (budget or blocks are short)."""
        if left < 0 or self.grouped is not None:
            return None
        block_size = self.block_size
        decodes = self.decodes
        blocks = decodes.needs_block[decodes.tick % block_size] if decodes.size else 0
        chunks: list[tuple[EngineRequest, int, int, int]] = []
        if self.prefilling and not defer:
            last = next(reversed(self.running))
            for request in self.prefilling:
                before = request.computed
                n = request.target - before
                if 0 < threshold < n:
                    n = threshold
                if n > left:
                    if request is not last:
                        return None
                    n = left
                if n:
                    left -= n
                    new = -(-(before + n) // block_size) - -(-before // block_size)
                    blocks += new
                    chunks.append((request, n, before, new))
        return chunks if blocks <= self.pool.free else None

    def _walk(self, batch: Batch, budget: int, threshold: int, defer: bool) -> tuple[int, list[EngineRequest]]:
        """Phase A request by request: for budgets and blocks that do not suffice. Returns the budget left and the
        decoding requests that were not served."""
        block_size = self.block_size
        pool, grouped = self.pool, self.grouped
        tick = self.decodes.tick
        served: dict[EngineRequest, tuple[int, int]] = {}
        for request in list(self.running):
            if not request.running:
                continue  # preempted a moment ago
            if budget <= 0:
                break
            if request.decoding:
                n, before = 1, request.offset + tick
            elif request in self.prefilling:
                if defer:
                    continue
                before = request.computed
                n = request.target - before
                if 0 < threshold < n:
                    n = threshold
                n = min(n, budget)
            else:
                continue  # its last token is in flight
            need = -(-(before + n) // block_size) - -(-before // block_size)
            if grouped is not None:
                need = grouped.need(request, before, n, self.returned)
            while need > pool.free:
                victim = self._victim()
                tokens = served.pop(victim, (0, 0))[0]
                budget += tokens
                self._preempt(victim, tokens)
                batch.preempted.append(victim)
                if victim is request:
                    break
            if not request.running:
                if self.others_go_on:
                    continue
                break
            served[request] = (n, before)
            budget -= n
            if grouped is not None:
                grouped.serve(request, before + n, n, self.composed + 1, request.decoding and self._in_flight(request))
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
                batch.prefills.append((request, n, before))
        held_back = [r for r in self.running if r.decoding and r not in served]
        return budget, held_back

    def _admit(self, batch: Batch, budget: int, threshold: int, defer: bool) -> None:
        """Phase B: the waiting queue, head first; nobody overtakes a head that does not fit."""
        block_size = self.block_size
        pool, grouped = self.pool, self.grouped
        set_aside: list[EngineRequest] = []
        while budget > 0 and len(self.running) < self.seats:
            if self.by_priority:
                if not self._heap:
                    break
                request = self._heap[0][2]
            else:
                if not self._fifo:
                    break
                request = self._fifo[0]
            if request.stale_until > self.returned:
                set_aside.append(self._pop_waiting())
                continue
            total = request.target
            if pool.caching:
                pieces, hit_blocks, free_hits = pool.match(request)
                hit = hit_blocks * block_size
            else:
                pieces, hit_blocks, free_hits, hit = [], 0, 0, 0
            n = total - hit
            if defer and n > 1:
                break
            if 0 < threshold < n:
                n = threshold
            if n > budget:
                if not self.chunked:
                    break
                n = budget
            watermark = self.watermark_blocks if self.running else 0
            if grouped is not None:
                if not grouped.seat(request, hit + n, watermark, self.reserve_full_isl, self.composed + 1):
                    break
            else:
                room = pool.free - free_hits + hit_blocks - watermark
                blocks = -(-(hit + n) // block_size)
                if self._blocks_wanted(request) > room or blocks > room:
                    break
                pool.admit(request, pieces, blocks - hit_blocks)
            self._pop_waiting()
            self._admissions += 1
            request.seq = self._admissions
            request.running = True
            self.running[request] = None
            self.prefilling[request] = None
            request.computed = hit
            if request.preemptions:
                recomputed = request.high_water - hit
                request.recomputed += recomputed
                self.recomputed_tokens += recomputed
            else:
                request.cached_tokens = hit
                self.prefix_queries_tokens += total
                self.prefix_hits_tokens += hit
            batch.admitted.append(request)
            batch.prefills.append((request, n, hit))
            if pool.caching:
                pool.register(request, hit + n)
            budget -= n
        if set_aside:
            for request in set_aside[::-1]:
                self._enqueue(request, front=True)
        if self.interval > 1 and not defer:
            self._capacity_bound = self.n_waiting > len(set_aside)

    def _victim(self) -> EngineRequest:
        """Who is preempted for want of blocks."""
        if self.by_priority:
            return max(self.running, key=lambda r: r.key[:2])
        return next(reversed(self.running))

    def _blocks_wanted(self, request: EngineRequest) -> int:
        """Blocks, its hits included, that must be there for ``request`` to be admitted, whatever its first chunk takes."""
        return -(-request.target // self.block_size) if self.reserve_full_isl else 0

    def _pop_waiting(self) -> EngineRequest:
        return heappop(self._heap)[2] if self.by_priority else self._fifo.popleft()

    def _book_step(self, batch: Batch, held_back: list[EngineRequest]) -> None:
        """Advance every scheduled request by what it was given (before the model has run)."""
        decodes = self.decodes
        if batch.n_decode or held_back:
            decodes.tick += 1
        self.composed += 1
        batch.committed = 1
        batch.number = self.composed
        for request in held_back:
            decodes.hold_back(request)
            request.held_at = self.composed
        finishing = decodes.pop_finished() if decodes.size else []
        if self.interval > 1 and any(r not in batch.admitted or r.target - before > 1 for r, _, before in batch.prefills):
            self._last_prefill_step = self.composed
        for request, n, _ in batch.prefills:
            request.computed += n
            request.last_step = self.composed
            if request.computed == request.target:
                request.sampled += 1
                request.target += 1
                del self.prefilling[request]
                batch.sampled.append(request)
                if request.sampled < request.max_output:
                    decodes.add(request)
                else:
                    finishing.append(request)
        finishing.sort(key=_admission)
        batch.finishing = finishing

    def _preempt(self, request: EngineRequest, scheduled_now: int) -> None:
        """Free its blocks and put it back in front; ``scheduled_now`` tokens were given to it in this very step."""
        del self.running[request]
        request.running = False
        if request.decoding:
            self.decodes.remove(request)
            in_flight = self._in_flight(request)
            findable = request.computed + scheduled_now - in_flight
            request.stale_until = self.composed if in_flight else 0
            request.last_step = self.composed
        else:
            findable = 0
            if request in self.prefilling:
                self._stop_prefill(request)
            else:  # its last token is in flight
                findable = request.computed - 1
                request.last_step = self.composed
            request.stale_until = request.last_step if request.last_step > self.returned else 0
        self._let_go(request, findable, scheduled_now)
        request.high_water = max(request.high_water, request.computed)
        request.computed = 0
        request.preemptions += 1
        self.preemptions += 1
        self._enqueue(request, front=True)

    def _stop_prefill(self, request: EngineRequest) -> None:
        """It is taken out in the middle of its chunks: what it was to compute again and has not does not count."""
        del self.prefilling[request]
        left = request.high_water - request.computed
        if left > 0:
            request.recomputed -= left
            self.recomputed_tokens -= left

    def _in_flight(self, request: EngineRequest) -> int:
        """1 if a token of ``request``, which decodes, has been scheduled and not returned."""
        return int(self.composed > self.returned and request.held_at != self.composed)

    def _findable(self, writer: EngineRequest, reader: EngineRequest) -> int:
        """Tokens of running ``writer`` that ``reader`` may find while a step is being composed. A token counts from the
        step that computes it, in the scheduler's order; under async scheduling, once it has a name (has returned)."""
        if writer.decoding:
            served = (not reader.running or writer.seq < reader.seq) and writer not in self._held_back
            return writer.offset + self.decodes.tick + served - self._in_flight(writer)
        return 0 if writer in self.prefilling else writer.computed - 1

    def _let_go(self, request: EngineRequest, findable_tokens: int, scheduled_now: int = 0) -> None:
        if self.pool.caching:
            self.pool.register(request, findable_tokens)
        self.pool.release(request, -(-(request.computed + scheduled_now) // self.block_size))

    # -- runs of decode-only steps -------------------------------------------------------------------------------------

    def longest_run(self) -> int:
        """How many steps like the decode-only one just composed follow each other before anything can change (>= 1)."""
        decodes = self.decodes
        if not self.skip_decode or self.record_order:
            return 1
        if self.prefilling or (self.interval > 1 and self.n_waiting):
            return 1
        if self.n_waiting and (self._any_stale() or self._head_follows()):
            return 1
        limit = decodes.next_finish()
        if self.grouped is not None:
            return 1 + self.grouped.steps_within(self.running, decodes.tick, limit)
        return 1 + decodes.steps_within(self.pool.free, limit) if limit else 1

    def _any_stale(self) -> bool:
        waiting = (entry[2] for entry in self._heap) if self.by_priority else iter(self._fifo)
        # Preempted requests stand together at the front of a FIFO queue.
        for request in waiting:
            if request.stale_until > self.returned:
                return True
            if not self.by_priority and not request.preemptions:
                return False
        return False

    def _head_follows(self) -> bool:
        """Whether the head is blocked for now, but its prefix hit, or the room, grows while others decode."""
        if (not self.pool.caching and self.grouped is None) or len(self.running) >= self.seats:
            return False
        return self.pool.follows(self._heap[0][2] if self.by_priority else self._fifo[0])

    def commit(self, batch: Batch, steps: int) -> None:
        """Put the first ``steps`` steps of a decode-only run in the books (blocks and ticks)."""
        more = steps - batch.committed
        if more > 0:
            decodes = self.decodes
            self.composed += more
            if self.grouped is not None:
                self.grouped.run(self.running, decodes.tick, more, self.composed)
            else:
                self.pool.take(decodes.blocks_needed(more))
            decodes.tick += more
            batch.committed = steps

    def close(self, batch: Batch) -> None:
        """The plan of a decode-only run is final: book it and find who finishes with it."""
        self.commit(batch, batch.steps)
        batch.number = self.composed
        batch.finishing = self.decodes.pop_finished()

    # -- a batch returns -----------------------------------------------------------------------------------------------

    def complete(self, batch: Batch) -> None:
        """Apply the output of the oldest batch: those that sampled their last token leave, their blocks are free."""
        self.returned = batch.number
        for request in batch.finishing:
            if request.running:
                del self.running[request]
                request.running = False
                self._let_go(request, request.computed)
            elif request.abort_reason is None:
                self._remove_waiting(request)  # preempted while its last token was in flight
            self._forget(request)

    def abort(self, request: EngineRequest) -> bool:
        """Drop a request that nobody waits for. False when it is not here any more."""
        if request.finished_at is not None or request.abort_reason is not None:
            return False
        request.abort_reason = "aborted"
        if not request.running:
            self._remove_waiting(request)
        else:
            del self.running[request]
            request.running = False
            in_flight = self._in_flight(request)
            if request.decoding:
                self.decodes.remove(request)
                self._let_go(request, request.computed - in_flight)
            elif request in self.prefilling:
                self._stop_prefill(request)
                self._let_go(request, 0)
            else:
                self._let_go(request, request.computed - in_flight)
        self._forget(request)
        return True

    def _forget(self, request: EngineRequest) -> None:
        if isinstance(self.pool, PrefixBlockPool):
            self.pool.forget(request)


def _admission(request: EngineRequest) -> int:
    return request.seq
