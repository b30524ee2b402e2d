"""``Offloading``: host memory as an engine's second cache, vLLM's ``OffloadingConnector`` (0.33, scheduler half).

Look-up, at each admission: the longest run of blocks behind the local hit that are in the tier; they are loaded while the
request waits. A block of the run that is still being written, or loaded for another request, or a transfer of the request
itself that is under way: ask later.

Stores, decided at the end of each call of the scheduler: every full block of each request that it serves, and of those that
have finished, is offered once; what the tier lacks is written through. A store is copied from the start of the next call
on. It must end before the step of this call where its request was preempted, or where a GPU block that it reads was handed
out (a finished request frees its blocks at once): the step waits (*flush*).

Stores and loads have a stream each, in order, beside each other and beside the computing; ``Copying`` says how long a job
takes. With offloading the engine steps: each step may store.
"""

from __future__ import annotations

from typing import NamedTuple

from sim.engine.batch import Batch
from sim.engine.books import Books
from sim.engine.clock import REPORT, Clock, Moment
from sim.engine.content_tree import ContentTree, Path
from sim.engine.cpu_tier import CpuTier
from sim.engine.freed_blocks import FreedBlocks
from sim.engine.kv_source import NOTHING, KvSource, Offer
from sim.engine.prefix_cache import PrefixBlockPool
from sim.engine.recency import Chunk, Key, Touches
from sim.engine.replica import Replica
from sim.engine.request import EngineRequest


class Copying(NamedTuple):
    """Time of a job of n blocks, in the clock's unit: ``base`` + n x ``store`` or ``load``."""

    base: float
    store: float
    load: float


class Job:
    """Blocks of a request on their way to the tier, or out of it."""

    __slots__ = ("blocks", "chunks", "end", "loads", "number", "request")

    def __init__(self, number: int, request: EngineRequest, blocks: list[int], chunks: list[Chunk], loads: bool) -> None:
        self.number = number
        self.request = request
        self.blocks = blocks
        self.chunks = chunks
        self.loads = loads
        self.end: float | None = None
        """When it is done; None = not begun."""


class Kept:
    """What offloading keeps of one request."""

    __slots__ = ("cursor", "finished", "jobs", "listed", "over", "path", "touches")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cursor = 0
        """Leading blocks that were offered, or loaded."""
        self.listed = 0
        """Blocks of its table when it was last served."""
        self.touches = Touches()
        self.finished = False
        """It has its last token; ``over``: and all was offered."""
        self.over = False
        self.jobs: list[Job] = []
        """Transfers that were not reported yet."""


class Offloading(KvSource):
    """A CPU tier behind one engine's prefix cache.

    Args:
        clock: the engine's.
        tier: what is in host memory.
        copying: how long transfers take.
        prompt_only: generated tokens are not stored.
    """

    follows = True

    def __init__(self, clock: Clock, tier: CpuTier, copying: Copying, prompt_only: bool = False) -> None:
        self._clock = clock
        self.tier = tier
        self._copying = copying
        self._prompt_only = prompt_only
        self._tree = ContentTree()
        self._kept: dict[EngineRequest, Kept] = {}
        self._loading: dict[Key, int] = {}
        self._finished: list[EngineRequest] = []
        """Since the last call."""
        self._decided: list[Job] = []
        """Stores of the last call, not begun."""
        self._freed = FreedBlocks()
        self._jobs = 0
        self.start = 0.0
        """Before then the step of the latest call cannot start."""
        self._stores_free = 0.0
        self._loads_free = 0.0
        self.begun: list[Job] = []
        """Loads of the latest call."""
        self.stored: list[Job] = []
        """Stores decided by the latest call, and jobs that it flushed."""
        self.flushed: list[Job] = []
        self.asked_later: list[EngineRequest] = []
        """Requests whose look-up the latest call put off."""
        self.storing = 0.0
        """Time in which each stream was busy."""
        self.loading = 0.0
        self.stored_blocks = 0
        self.loaded_blocks = 0

    def attach(self, replica: Replica) -> None:
        """The engine it serves; before anything is computed."""
        self._replica = replica
        self._books: Books = replica.scheduler.books
        self._size = self._books.block_size
        self._books.pool.freed = self._freed

    # -- look-up and loads ---------------------------------------------------------------------------------------------

    def held(self, request: EngineRequest, local_tokens: int) -> Offer | None:
        """See ``KvSource``."""
        kept = self._of(request)
        kept.cursor = kept.listed = 0
        if kept.jobs:
            self.asked_later.append(request)
            return None
        chunks = self.tier.run(self._keys(kept, local_tokens // self._size, request.target // self._size))
        caching = self._books.pool.caching
        for chunk in chunks:
            if not chunk.ready or (caching and chunk.key in self._loading):
                self.asked_later.append(request)
                return None
        return Offer(len(chunks) * self._size, True) if chunks else NOTHING

    def load(self, request: EngineRequest, local_tokens: int, tokens: int) -> float:
        """See ``KvSource``."""
        kept = self._of(request)
        first, end = local_tokens // self._size, (local_tokens + tokens) // self._size
        chunks = self.tier.run(self._keys(kept, first, end))
        self.tier.begin_load(kept.touches, chunks)
        for chunk in chunks:
            self._loading[chunk.key] = self._loading.get(chunk.key, 0) + 1
        kept.cursor = end
        self.begun.append(self._job(kept, request, list(range(first, end)), chunks, True))
        self.loaded_blocks += end - first
        return 0.0

    # -- the end of a call ---------------------------------------------------------------------------------------------

    def begins(self) -> None:
        """See ``KvSource``."""
        now = self._clock.now
        self.stored, self.flushed, self.asked_later = [], [], []
        self.begun = []
        for job in self._decided:
            self._begin(job, now)
        self._decided = []

    def composed(self, batch: Batch, served: list[tuple[EngineRequest, int]]) -> float:
        """See ``KvSource``."""
        for request, tokens in served:
            self._offer(request, tokens)
        finished, self._finished = self._finished, []
        for request in finished:
            kept = self._kept.get(request)
            if kept is not None:
                self._offer(request, max(request.prompt_len, self._known(request) - 1))
        self.start = self._flush(batch, self._clock.now)
        for job in self.begun:
            self._begin(job, self.start)
        for request in finished:
            kept = self._kept.get(request)
            if kept is not None:
                self._end(kept, request)
        return self.start

    def wants_call(self) -> bool:
        """See ``KvSource``."""
        return bool(self._decided or self._finished)

    def acted(self) -> bool:
        """See ``KvSource``."""
        return bool(self.stored or self.flushed)

    def _offer(self, request: EngineRequest, tokens: int) -> None:
        kept = self._of(request)
        known = self._known(request)
        running = request.running
        if running:
            kept.listed = self._table(request, tokens)
        end = min(tokens, known)
        if self._prompt_only:
            end = min(end, request.prompt_len)
        end = min(end // self._size, kept.listed, known // self._size)
        first = kept.cursor
        if end <= first:
            return
        chunks = self.tier.offer(kept.touches, self._keys(kept, first, end))
        if chunks is None:
            return
        kept.cursor = end
        if chunks:
            job = self._job(kept, request, [chunk.key[1] for chunk in chunks], chunks, False)
            self._decided.append(job)
            self.stored.append(job)
            self.stored_blocks += len(chunks)

    def _known(self, request: EngineRequest) -> int:
        """Tokens of ``request`` that have returned."""
        if request.drafts is not None:
            return request.prompt_len + request.sampled
        if not request.running:
            return request.target
        if request.decoding:
            return request.offset + self._books.decodes.tick + 1 - self._books.in_flight(request)
        return request.target

    def _table(self, request: EngineRequest, tokens: int) -> int:
        if request.drafts is not None:
            return max(request.drafts.blocks, request.least_blocks)
        return max(-(-tokens // self._size), request.least_blocks)

    def _flush(self, batch: Batch, now: float) -> float:
        """Which stores must end before the step that was just composed, and when they have."""
        start = now
        urgent: dict[Job, None] = {}
        for request in batch.preempted:
            kept = self._kept.get(request)
            if kept is not None:
                urgent.update(dict.fromkeys(job for job in kept.jobs if not job.loads))  # it may be over or wait again
        for request, first, end in self._freed.handed:
            kept = self._kept.get(request)
            if kept is not None and kept.finished:
                for job in kept.jobs:
                    if not job.loads and any(first <= block < end for block in job.blocks):
                        urgent[job] = None
        self._freed.handed = []
        for job in sorted(urgent, key=_number):
            if job.end is not None and job.end <= now:
                continue
            self.flushed.append(job)
            if job.end is None:
                self._decided.remove(job)
                self._begin(job, now)
            assert job.end is not None
            start = max(start, job.end)
        return start

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def _job(self, kept: Kept, request: EngineRequest, blocks: list[int], chunks: list[Chunk], loads: bool) -> Job:
        job = Job(self._jobs, request, blocks, chunks, loads)
        self._jobs += 1
        kept.jobs.append(job)
        return job

    def _begin(self, job: Job, now: float) -> None:
        if job.loads:
            time = self._copying.base + len(job.blocks) * self._copying.load
            job.end = self._loads_free = max(now, self._loads_free) + time
            self.loading += time
        else:
            time = self._copying.base + len(job.blocks) * self._copying.store
            job.end = self._stores_free = max(now, self._stores_free) + time
            self.storing += time
        self._clock.at(job.end, REPORT, self._ended, job)

    def _ended(self, moment: Moment) -> None:
        job: Job = moment.value
        if job.loads:
            self._replica.kv_loaded(job.request)
        self._replica.kv_news(job)

    def heard(self, news: object) -> None:
        """See ``KvSource``."""
        assert isinstance(news, Job)
        if news.loads:
            self.tier.end_load(news.chunks)
            for chunk in news.chunks:
                self._loading[chunk.key] -= 1
                if not self._loading[chunk.key]:
                    del self._loading[chunk.key]
        else:
            self.tier.written(news.chunks)
        kept = self._kept.get(news.request)
        if kept is not None:
            kept.jobs.remove(news)
            self._forget(kept, news.request)

    # -- requests ------------------------------------------------------------------------------------------------------

    def over(self, request: EngineRequest) -> None:
        """See ``KvSource``; blocks are freed at once, but their readers are noted."""
        kept = self._kept.get(request)
        if kept is None:
            return
        kept.finished = True
        self._finished.append(request)
        if isinstance(self._books.pool, PrefixBlockPool):
            for run in request.runs:
                others = [reader for reader in run.readers or () if reader in self._kept]
                run.readers = [*others, request]

    def dropped(self, request: EngineRequest) -> None:
        """See ``KvSource``: what it has stored stays, it stores no more."""
        kept = self._kept.get(request)
        if kept is not None:
            self._end(kept, request)

    def _end(self, kept: Kept, request: EngineRequest) -> None:
        self.tier.over(kept.touches)
        kept.over = True
        self._forget(kept, request)

    def _of(self, request: EngineRequest) -> Kept:
        kept = self._kept.get(request)
        if kept is None:
            kept = self._kept[request] = Kept(self._tree.path(request))
        return kept

    def _forget(self, kept: Kept, request: EngineRequest) -> None:
        """Nothing is kept of a request that is over, once its transfers are."""
        if kept.over and not kept.jobs:
            self._tree.let_go(kept.path)
            del self._kept[request]

    def _keys(self, kept: Kept, first: int, end: int) -> list[Key]:
        return list(zip(self._tree.nodes(kept.path, self._size, first, end), range(first, end), strict=True))


def _number(job: Job) -> int:
    return job.number
