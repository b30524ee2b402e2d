"""``Books``: what one engine holds at a step's boundary (queue, running list, blocks, counts), and the moves of a request in
and out of it. Who moves, and when, is decided in ``serving`` and ``admission``."""

from __future__ import annotations

from sim.engine.adapters import Adapters
from sim.engine.batch import Batch
from sim.engine.cache_groups import GroupedBlockPool
from sim.engine.decode_set import DecodeSet
from sim.engine.drafts import Drafts
from sim.engine.external_kv import ExternalKv
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
        self.external: ExternalKv | None = None
        """KV that others hold or want."""
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

    @property
    def n_waiting(self) -> int:
        """Requests that wait for a seat, LOADING ones included."""
        return self.waiting.size if self.external is None else self.waiting.size + self.external.holding.size

    def all_waiting(self) -> list[EngineRequest]:
        """Those, who is next first."""
        waiting = self.waiting.in_order()
        return waiting if self.external is None else self.external.holding.in_order() + waiting

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
            self.prefix_hits_tokens += hit - min(hit, request.external_tokens)

    # -- out -----------------------------------------------------------------------------------------------------------

    def preempt(self, request: EngineRequest, scheduled_now: int) -> None:
        """Free its blocks and put it back in front; ``scheduled_now`` tokens were given to it in this very step."""
        del self.running[request]
        request.running = False
        if self.adapters is not None:
            self.adapters.leave(request)
        in_flight = 0
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
                in_flight = 1
            request.stale_until = request.last_step if request.last_step > self.returned else 0
        if request.stale_until and self.external is not None and self.external.drops:
            request.dropped_until = self.external.dropped_until = self.composed
            request.stale_until = 0
            request.sampled -= in_flight
            request.target -= in_flight
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
        """The last token of ``request`` has returned: its blocks are free, or pinned, or put aside."""
        if self.external is not None and self.external.follows:
            if request.running:
                self._name_all(request)
            self.external.source.over(request)
        if request.running:
            del self.running[request]
            request.running = False
            if self.adapters is not None:
                self.adapters.leave(request)
            if self.external is not None and self._keeps(self.external, request):
                return
            self._let_go(request, request.computed)
        elif request.abort_reason is None:
            self.waiting.remove(request)  # preempted while its last token was in flight
        self.forget(request)

    def _keeps(self, external: ExternalKv, request: EngineRequest) -> bool:
        """Whether the blocks of ``request``, which has its last token, stay: somebody wants them, or a step in flight writes
        to them."""
        blocks = -(-request.computed // self.block_size) if request.drafts is None else request.drafts.blocks
        if external.source.keeps(request):
            self._name_all(request)
            external.pinned[request] = blocks
        elif external.defers and request.drafts is not None and request.drafts.in_flight:
            external.aside.append((self.composed, request, blocks))
        else:
            return False
        return True

    def _name_all(self, request: EngineRequest) -> None:
        """What ``request``, which has its last token, has computed can be found."""
        if self.pool.caching and request.drafts is None:
            self.pool.register(request, request.computed)

    def drop(self, request: EngineRequest) -> None:
        """Nobody waits for ``request`` any more."""
        if self.external is not None:
            self.external.source.dropped(request)
            if request.loading and not self.external.loads[request].reported:
                self.external.holding.remove(request)
                self.external.loads[request].dropped = True  # its blocks are written to until the load ends
                return
        if request.holding:
            self.leave_holding(request)
            return
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
        self.forget(request)

    def lose(self) -> list[EngineRequest]:
        """The engine dies: whom it held, and somebody waits for."""
        held = [request for request in (*self.running, *self.all_waiting()) if request.abort_reason is None]
        for request in held:
            if request.decoding:
                self.decodes.remove(request)
        return held

    def leave_holding(self, request: EngineRequest) -> None:
        """It waits with blocks, and goes: they are free."""
        external = self.external
        assert external is not None
        external.holding.remove(request)
        external.ready -= 1
        external.loads.pop(request, None)
        request.holding = request.loading = False
        self._let_go(request, 0)
        self.forget(request)

    def take_back(self, request: EngineRequest, cut: int, batch: Batch) -> None:
        """What running ``request`` was given in the step of ``batch``, and had from ``cut`` on, does not count."""
        if request.decoding:
            self.decodes.remove(request)
        for sampled in (batch.sampled, batch.finishing):
            if request in sampled:
                sampled.remove(request)
        if request not in self.prefilling:
            request.sampled -= 1
            request.target -= 1
            self.prefilling[request] = None
            self.prefilling = {other: None for other in self.running if other in self.prefilling}
        request.least_blocks = -(-request.computed // self.block_size)
        request.recomputed += request.computed - cut
        self.recomputed_tokens += request.computed - cut
        request.computed = cut

    def give_up(self, request: EngineRequest, block: int) -> None:
        """Running ``request`` ends with an error; its blocks from ``block`` on are worth nothing."""
        del self.running[request]
        request.running = False
        if self.adapters is not None:
            self.adapters.leave(request)
        self._stop_prefill(request)
        if isinstance(self.pool, PrefixBlockPool):
            request.least_blocks -= self.pool.disown(request, block)
        request.computed = min(request.computed, request.least_blocks * self.block_size)
        self._let_go(request, 0)
        self.forget(request)

    def _stop_prefill(self, request: EngineRequest) -> None:
        """It is taken out in the middle of its chunks: what it was to compute again and has not does not count."""
        del self.prefilling[request]
        left = request.high_water - request.computed
        if left > 0:
            request.recomputed -= left
            self.recomputed_tokens -= left

    def _let_go(self, request: EngineRequest, findable_tokens: int, scheduled_now: int = 0) -> None:
        if request.drafts is not None:
            self.pool.release(request, max(request.drafts.blocks, request.least_blocks))
            request.drafts.blocks = request.least_blocks = 0
            return
        if self.pool.caching:
            self.pool.register(request, findable_tokens)
        blocks = -(-(request.computed + scheduled_now) // self.block_size)
        self.pool.release(request, blocks if blocks > request.least_blocks else request.least_blocks)
        request.least_blocks = 0

    def forget(self, request: EngineRequest) -> None:
        """The request will not come back."""
        if isinstance(self.pool, PrefixBlockPool):
            self.pool.forget(request)
