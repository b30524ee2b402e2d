"""``WatchedScheduler``: the scheduler with its invariants checked at every step (``check_invariants=true``).

* Blocks: referenced + free = usable, where free counts cached unreferenced ones; none is referenced when nothing runs.
* A block has several owners only through a hash hit: all but the one who computed it found it when they were admitted.
* Tokens: a request is given prompt + output - 1 - cached at its first admission + recomputed (net of later hits), each
  token right after the one before.
* A running request that gets nothing has a reason: the budget is used up, its last token is in flight, prefills are
  deferred in this step, or the victim's blocks could not be freed.
* Nobody overtakes the head of the waiting queue, except one whose stale output is still in flight, whose adapter is one too
  many, whose last chunk would be too short for the layers that draft, or whose KV is loading or was asked for in vain.
* Running requests have at most ``max_loras`` adapters among them, each counted right.
* With speculation nobody gets a token beyond its limit (how many are computed depends on how many drafts are rejected).
* A request that loads holds blocks and no seat; pinned blocks belong to requests that have finished.

Watched engines step every token (same results, slower), and every check is O(running + waiting).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from sim.engine.adapters import Adapters
from sim.engine.batch import Batch
from sim.engine.cache_groups import GroupedBlockPool
from sim.engine.cadence import Cadence
from sim.engine.content_nodes import Run
from sim.engine.drafts import Drafts
from sim.engine.kv_source import KvSource
from sim.engine.prefix_cache import PrefixBlockPool
from sim.engine.request import EngineRequest
from sim.engine.scheduler import Scheduler
from sim.errors import InvariantError
from sim.spec import EngineSpec


class WatchedScheduler(Scheduler):
    """A ``Scheduler`` that raises ``InvariantError`` when it breaks one of its own laws.

    Args:
        engine: see ``Scheduler``.
        num_gpu_blocks: see ``Scheduler``.
        name: what messages call this engine.
        now: reads the clock, for messages.
        grouped: see ``Scheduler``.
        drafts: see ``Scheduler``.
        adapters: see ``Scheduler``.
        source: see ``Scheduler``.
    """

    def __init__(
        self,
        engine: EngineSpec,
        num_gpu_blocks: int,
        name: str,
        now: Callable[[], float],
        grouped: GroupedBlockPool | None = None,
        cadence: Cadence | None = None,
        drafts: Drafts | None = None,
        adapters: Adapters | None = None,
        source: KvSource | None = None,
    ) -> None:
        super().__init__(engine, num_gpu_blocks, grouped, None, cadence, drafts, adapters, source)
        self.skip_decode = False
        self.record_order = True
        self._name = name
        self._now = now
        self._given: dict[EngineRequest, int] = {}
        """Tokens scheduled so far."""
        self._hit_blocks: dict[EngineRequest, int] = {}
        """Prefix hit of the latest admission, or of the look-up before the latest load."""
        self._loaded_behind: dict[EngineRequest, int] = {}
        """The latter, until the request is admitted."""

    def compose(self) -> Batch | None:
        """See ``Scheduler``."""
        waiting = [r for r in self.books.all_waiting() if r.stale_until <= self.books.returned]
        batch = super().compose()
        if self.books.external is not None:
            for request, local, _ in self.books.external.begun:
                self._loaded_behind[request] = local // self.limits.block_size
                self._hit_blocks[request] = local // self.limits.block_size
        if batch is not None:
            self._check_admissions(batch, waiting)
            self._check_tokens(batch)
            self._check_blocks()
            self._check_adapters()
        return batch

    def complete(self, batch: Batch) -> None:
        """See ``Scheduler``."""
        super().complete(batch)
        for request in batch.finishing:
            if request.abort_reason is None:  # else it was dropped while its last token was in flight
                self._check_finished(request)
        self._check_blocks()

    def abort(self, request: EngineRequest) -> bool:
        """See ``Scheduler``."""
        dropped = super().abort(request)
        if dropped:
            self._given.pop(request, None)
            self._hit_blocks.pop(request, None)
            self._check_blocks()
        return dropped

    def _broken(self, what: str) -> NoReturn:
        raise InvariantError(f"{self._name} at {self._now()} s, step {self.books.composed}: {what}")

    def _check_admissions(self, batch: Batch, waiting: list[EngineRequest]) -> None:
        if batch.admitted and batch.preempted:
            self._broken(f"request {batch.admitted[0].request_id} was admitted in a step that preempts")
        heads = iter(waiting)
        for request in batch.admitted:
            head = next(heads)
            while request is not head:
                if not self._set_aside(head):
                    self._broken(f"request {request.request_id} overtook {head.request_id} at the head of the waiting queue")
                head = next(heads)

    def _set_aside(self, request: EngineRequest) -> bool:
        """Whether others may pass ``request``, which waits."""
        drafts, adapters, external = self.books.drafts, self.books.adapters, self.books.external
        if external is not None and (request.loading or external.put_off):
            return True
        return (adapters is not None and not adapters.admits(request)) or (drafts is not None and drafts.read_ahead > 1)

    def _check_adapters(self) -> None:
        adapters = self.books.adapters
        if adapters is None:
            return
        count: dict[object, int] = {}
        for request in self.books.running:
            if request.lora:
                count[request.lora] = count.get(request.lora, 0) + 1
        if count != adapters.running or len(count) > adapters.max_loras:
            self._broken(f"{len(count)} adapters run, {adapters.max_loras} may, and {adapters.running} are in the books")

    def _check_tokens(self, batch: Batch) -> None:
        order = batch.order or []
        admitted = set(batch.admitted)
        given = 0
        for request, tokens, before in order:
            given += tokens
            if request in admitted:
                behind = self._loaded_behind.pop(request, 0)
                self._hit_blocks[request] = behind if request.least_blocks else before // self.limits.block_size
            elif before != self.books.position(request) - tokens:
                self._broken(f"request {request.request_id} was given tokens from {before}, not from where it stands")
            self._given[request] = self._given.get(request, 0) + tokens
        if given > self.limits.budget:
            self._broken(f"{given} tokens were scheduled, the budget is {self.limits.budget}")
        drafts = self.books.drafts
        if given == self.limits.budget or self.cadence is not None:
            return
        if drafts is not None and (drafts.extra_rows or drafts.read_ahead > 1):
            return  # the input buffer may be full, or a chunk would leave too short a rest
        if self.books.external is not None and self.books.external.defers:
            return  # a victim whose step is in flight is refused, and phase A ends
        served = {request for request, _, _ in order}
        for request in self.books.running:
            if request not in served and (request.decoding or request in self.books.prefilling):
                self._broken(f"request {request.request_id} runs, but got no token of {self.limits.budget - given} left")

    def _check_finished(self, request: EngineRequest) -> None:
        given = self._given.pop(request, 0)
        external = self.books.external
        if external is None or request not in external.holders():
            self._hit_blocks.pop(request, None)
        if request.drafts is not None:
            if request.sampled > request.max_output:
                self._broken(f"request {request.request_id} has {request.sampled} tokens, its limit is {request.max_output}")
            return
        due = request.prompt_len + request.sampled - 1 - request.cached_tokens + request.recomputed
        if given != due:
            self._broken(
                f"request {request.request_id} was given {given} tokens; prompt {request.prompt_len} + output "
                f"{request.sampled} - 1 - cached {request.cached_tokens} + recomputed {request.recomputed} = {due}"
            )

    def _check_blocks(self) -> None:
        pool = self.pool
        size = self.limits.block_size
        running = self.books.running
        referenced = 0
        for request in running:
            if request.drafts is not None:
                referenced += max(request.drafts.blocks, request.least_blocks)
            else:
                referenced += max(-(-self.books.position(request) // size), request.least_blocks)
        others: list[EngineRequest] = []
        external = self.books.external
        if external is not None:
            referenced += external.blocks_held()
            others = external.holders()
            for request, load in external.loads.items():
                if request.running and load.asynchronous:
                    self._broken(f"request {request.request_id} loads in the background, and runs")
            for request in external.pinned:
                if request.running:
                    self._broken(f"request {request.request_id} runs, but its blocks are pinned")
        if self.books.grouped is not None:
            referenced = self.books.grouped.referenced()
        elif isinstance(pool, PrefixBlockPool):
            runs: set[Run] = set()
            for request in [*running, *others]:
                runs.update(request.runs)
                referenced -= request.registered
            for run in runs:
                referenced += run.hi - run.lo
                computed_it = [r for r in run.owners if self._hit_blocks.get(r, 0) < run.hi]
                if len(computed_it) > 1:
                    self._broken(f"blocks {run.lo}-{run.hi} are referenced by {len(computed_it)} requests without a hit")
        if isinstance(pool, PrefixBlockPool) and pool.unhashed + pool.cached_free() != pool.free:
            self._broken(f"{pool.free} blocks are free, the free list holds {pool.unhashed + pool.cached_free()}")
        if referenced + pool.free != pool.usable:
            self._broken(f"{referenced} blocks referenced + {pool.free} free are not {pool.usable} usable")
