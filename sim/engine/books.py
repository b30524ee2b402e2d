"""``Books``: what one engine holds at a step's boundary (queue, running list, blocks, counts), and the moves of a request in
and out of it. Who moves, and when, is decided in ``serving`` and ``admission``."""

from __future__ import annotations

from sim.engine.adapters import Adapters
from sim.engine.cache_groups import GroupedBlockPool
from sim.engine.decode_set import DecodeSet
from sim.engine.drafts import Drafts
from sim.engine.limits import Limits
from sim.engine.prefix_cache import PrefixBlockPool, pool_of
from sim.engine.request import EngineRequest
from sim.engine.waiting_queue import WaitingQueue
from sim.spec import EngineSpec


class Books:
    """Waiting queue, running list and block pool of one engine.

    Args:
        engine: resolved options (no ``None`` left in the limits).
        num_gpu_blocks: KV blocks as vLLM reports them; one is reserved.
        grouped: the pool of a model with several KV cache groups; None = one group of full attention.
        drafts: speculation; None = each step gives a decoding request one token.
        adapters: LoRA; None = everybody asks for the base model.
    """

    def __init__(
        self,
        engine: EngineSpec,
        num_gpu_blocks: int,
        grouped: GroupedBlockPool | None,
        drafts: Drafts | None = None,
        adapters: Adapters | None = None,
    ) -> None:
        self.limits = Limits(engine, num_gpu_blocks)
        self.block_size = engine.block_size
        self.grouped = grouped
        self.pool = grouped if grouped is not None else pool_of(engine, num_gpu_blocks, self.findable)
        self.drafts = drafts
        self.adapters = adapters
        self.decodes = DecodeSet(engine.block_size)
        self.running: dict[EngineRequest, None] = {}
        """In order of admission; a resumed request goes to the end. Holds those whose last token is in flight, too."""
        self.prefilling: dict[EngineRequest, None] = {}
        """Those of ``running`` that do not decode yet."""
        self.waiting = WaitingQueue(self.limits.by_priority)
        self.composed = 0
        """Steps composed so far; the number of the newest."""
        self.returned = 0
        """Number of the newest step whose output was applied."""
        self.decoded = 0
        """Number of the newest step that served those who decode."""
        self.held_back: list[EngineRequest] = []
        """Decoding requests that the step being composed does not serve."""
        self._admissions = 0
        self.preemptions = 0
        self.recomputed_tokens = 0
        self.prefix_queries_tokens = 0
        self.prefix_hits_tokens = 0

    def position(self, request: EngineRequest) -> int:
        """Tokens of a running request that are computed or being computed."""
        return request.offset + self.decodes.tick if request.decoding else request.computed

    def in_flight(self, request: EngineRequest) -> int:
        """1 if a token of ``request``, which decodes, has been scheduled and not returned."""
        newest = self.composed
        if newest <= self.returned or request.held_at == newest:
            return 0
        return int(newest in (self.decoded, request.last_step))

    def findable(self, writer: EngineRequest, reader: EngineRequest) -> int:
        """Tokens of running ``writer`` that ``reader`` may find while a step is being composed. A token counts from the
        step that computes it, in the scheduler's order; under async scheduling, once it has a name (has returned)."""
        if writer.drafts is not None:
            return 0  # all that has a name was registered when it returned
        if writer.decoding:
            served = (not reader.running or writer.seq < reader.seq) and writer not in self.held_back
            return writer.offset + self.decodes.tick + served - self.in_flight(writer)
        return 0 if writer in self.prefilling else writer.computed - 1

    # -- in ------------------------------------------------------------------------------------------------------------

    def seat(self, request: EngineRequest, hit: int) -> None:
        """``request``, which has its blocks, runs from now on, its first ``hit`` tokens computed."""
        self._admissions += 1
        request.seq = self._admissions
        request.running = True
        self.running[request] = None
        self.prefilling[request] = None
        request.computed = hit
        if self.adapters is not None:
            self.adapters.enter(request)
        if request.preemptions:
            recomputed = request.high_water - hit
            request.recomputed += recomputed
            self.recomputed_tokens += recomputed
        else:
            request.cached_tokens = hit
            self.prefix_queries_tokens += request.target
            self.prefix_hits_tokens += hit

    # -- out -----------------------------------------------------------------------------------------------------------

    def preempt(self, request: EngineRequest, scheduled_now: int) -> None:
        """Free its blocks and put it back in front; ``scheduled_now`` tokens were given to it in this very step."""
        del self.running[request]
        request.running = False
        if self.adapters is not None:
            self.adapters.leave(request)
        if request.decoding:
            self.decodes.remove(request)
            in_flight = self.in_flight(request)
            findable = request.computed + scheduled_now - in_flight
            request.stale_until = self.composed if in_flight else 0
            request.last_step = self.composed
        else:
            findable = 0
            if request in self.prefilling:
                self._stop_prefill(request)
            elif request.drafts is None:  # its last token is in flight
                findable = request.computed - 1
                request.last_step = self.composed
            request.stale_until = request.last_step if request.last_step > self.returned else 0
        self._let_go(request, findable, scheduled_now)
        if self.drafts is not None:
            request.computed = min(request.computed, request.prompt_len + request.sampled)
            self.drafts.preempted(request)
        request.high_water = max(request.high_water, request.computed)
        request.computed = 0
        request.preemptions += 1
        self.preemptions += 1
        self.waiting.put_back(request)

    def finish(self, request: EngineRequest) -> None:
        """The last token of ``request`` has returned: its blocks are free."""
        if request.running:
            del self.running[request]
            request.running = False
            if self.adapters is not None:
                self.adapters.leave(request)
            self._let_go(request, request.computed)
        elif request.abort_reason is None:
            self.waiting.remove(request)  # preempted while its last token was in flight
        self._forget(request)

    def drop(self, request: EngineRequest) -> None:
        """Nobody waits for ``request`` any more."""
        if not request.running:
            self.waiting.remove(request)
        else:
            del self.running[request]
            request.running = False
            if self.adapters is not None:
                self.adapters.leave(request)
            in_flight = self.in_flight(request)
            if request.decoding:
                self.decodes.remove(request)
                self._let_go(request, request.computed - in_flight)
            elif request in self.prefilling:
                self._stop_prefill(request)
                self._let_go(request, 0)
            else:
                self._let_go(request, request.computed - in_flight)
        self._forget(request)

    def _stop_prefill(self, request: EngineRequest) -> None:
        """It is taken out in the middle of its chunks: what it was to compute again and has not does not count."""
        del self.prefilling[request]
        left = request.high_water - request.computed
        if left > 0:
            request.recomputed -= left
            self.recomputed_tokens -= left

    def _let_go(self, request: EngineRequest, findable_tokens: int, scheduled_now: int = 0) -> None:
        if request.drafts is not None:
            self.pool.release(request, request.drafts.blocks)
            request.drafts.blocks = 0
            return
        if self.pool.caching:
            self.pool.register(request, findable_tokens)
        self.pool.release(request, -(-(request.computed + scheduled_now) // self.block_size))

    def _forget(self, request: EngineRequest) -> None:
        if isinstance(self.pool, PrefixBlockPool):
            self.pool.forget(request)
