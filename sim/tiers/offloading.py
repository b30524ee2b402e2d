"""``Offloading``: host memory as an engine's second cache, vLLM's ``OffloadingConnector`` (0.33, scheduler half).

Look-up, at each admission: the longest run of chunks behind the local hit that are in the tier; they are loaded while the
request waits. A chunk of the run that is still being written, or loaded for another request, or a transfer of the request
itself that is under way: ask later. What the tiers below hold is promoted first (``sim.tiers.below``).

Stores, decided at the end of each call of the scheduler: every full chunk of each request that it serves, and of those that
have finished, is offered once; what the tier lacks is written through. A store is copied from the start of the next call
on. It must end before the step of this call where its request was preempted, or where a GPU block that it reads was handed
out (a finished request frees its blocks at once): the step waits (*flush*).

Stores and loads have a stream each, in order, beside each other and beside the computing; ``Copying`` says how long a job
takes. Other systems load otherwise (``Manner``): LMCache while the step that admits the request waits; HiCache layer by
layer beside that step, which waits for the first layer and lasts at least as long as all of them.

Steps are skipped where nothing can happen in them: until some running request has its next full chunk to offer, or a
transfer ends (the plan is cut then, as for an arrival). While a store of a finished request is under way, or an offer finds
no room, each step counts.
"""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.books import Books
from sim.engine.clock import REPORT, Clock, Moment
from sim.engine.content_nodes import Run
from sim.engine.freed_blocks import FreedBlocks
from sim.engine.kv_source import NOTHING, KvSource, Offer
from sim.engine.prefix_cache import PrefixBlockPool
from sim.engine.replica import Replica
from sim.engine.request import EngineRequest
from sim.tiers.below import Below
from sim.tiers.content_tree import ContentTree
from sim.tiers.host_link import Copying, HostLink, Manner
from sim.tiers.kept import Job, Kept, Passed, passed_on
from sim.tiers.recency import Chunk, Key
from sim.tiers.tier import Tier

_MANY = 1 << 60


class Offloading(KvSource):
    """Host memory behind one engine's prefix cache.

    Args:
        clock: the engine's.
        tier: what is in host memory.
        copying: how long transfers take.
        manner: what is stored, and how it is loaded.
        below: the tiers below it; None = none.
        tree: whose contents are alike; engines that share a tier share it.
    """

    follows = True

    def __init__(
        self,
        clock: Clock,
        tier: Tier,
        copying: Copying,
        manner: Manner,
        below: Below | None = None,
        tree: ContentTree | None = None,
    ) -> None:
        self._clock = clock
        self.tier = tier
        self.link = HostLink(copying)
        self._manner = manner
        self.below = below
        self._tree = ContentTree() if tree is None else tree
        self._kept: dict[EngineRequest, Kept] = {}
        self._loading: dict[Key, int] = {}
        self._finished: list[EngineRequest] = []
        """Since the last call."""
        self._decided: list[Job] = []
        """Stores of the last call, not begun."""
        self._freed = FreedBlocks()
        self._passed: list[Passed] = []
        """Blocks that stores read which were not reported yet, where others have them now."""
        self._jobs = 0
        self._unseen = 0
        """Steps of the same decodes, the latest call's among them, until somebody has something to offer."""
        self.start = 0.0
        """Before then the step of the latest call cannot start."""
        self.begun: list[Job] = []
        """Loads of the latest call."""
        self.stored: list[Job] = []
        """Stores decided by the latest call, and jobs that it flushed."""
        self.flushed: list[Job] = []
        self._least_time = 0.0
        """What loads layer by layer take at least of the step of the latest call."""
        self.asked_later: list[EngineRequest] = []
        """Requests whose look-up the latest call put off."""
        self.stored_blocks = 0
        self.loaded_blocks = 0
        self.loaded_tokens = 0

    def attach(self, replica: Replica) -> None:
        """The engine it serves; before anything is computed."""
        self._replica = replica
        self._books: Books = replica.scheduler.books
        self._size = self._books.block_size
        self._chunk = self._size * self._manner.chunk_blocks
        self._books.pool.freed = self._freed
        if self.below is not None:
            self.below.attach(replica)

    # -- look-up and loads ---------------------------------------------------------------------------------------------

    def held(self, request: EngineRequest, local_tokens: int) -> Offer | None:
        """See ``KvSource``."""
        kept = self._of(request)
        kept.cursor = kept.listed = 0
        self._let_go(kept)
        if kept.jobs:
            self.asked_later.append(request)
            return None
        first = local_tokens // self._chunk
        chunks = self._run(kept, first, request.target // self._chunk)
        beside = self._manner.loads == "beside"
        loading = beside and self._books.pool.caching
        for place, chunk in enumerate(chunks):
            if chunk.ready and not (loading and chunk.key in self._loading):
                continue
            if kept.waits_until is None or self._clock.now < kept.waits_until:
                self.asked_later.append(request)
                return None
            chunks = chunks[:place]
            break
        tokens = (first + len(chunks)) * self._chunk - local_tokens
        if not beside:  # the step that admits it computes its last token
            tokens = min(tokens, request.target - 1 - local_tokens)
        return Offer(tokens, beside) if chunks and tokens >= self._manner.least_tokens else NOTHING

    def _run(self, kept: Kept, first: int, end: int) -> list[Chunk]:
        """The run from chunk ``first`` on, what is being written or promoted included."""
        keys = self._keys(kept, first, end)
        chunks = self.tier.run(keys)
        if self.below is not None and kept.waits_until is None and len(chunks) < len(keys):
            chunks, promoted = self.below.fetch(kept.touches, keys, chunks)
            if promoted:
                kept.waits_until = self.below.deadline_s(promoted)
                kept.held = chunks
                self.tier.hold(chunks)
        return chunks

    def _let_go(self, kept: Kept) -> None:
        """Others may evict what ``kept`` waited for."""
        if kept.held:
            self.tier.end_load(kept.held)
            kept.held = []

    def load(self, request: EngineRequest, local_tokens: int, tokens: int) -> float:
        """See ``KvSource``."""
        kept = self._of(request)
        first, end = local_tokens // self._chunk, -(-(local_tokens + tokens) // self._chunk)
        chunks = self.tier.run(self._keys(kept, first, end))
        self.tier.begin_load(kept.touches, chunks)
        for chunk in chunks:
            self._loading[chunk.key] = self._loading.get(chunk.key, 0) + 1
        kept.cursor = end
        kept.waits_until = None
        blocks = list(range(local_tokens // self._size, end * self._manner.chunk_blocks))
        self.loaded_blocks += len(blocks)
        self.loaded_tokens += tokens
        job = self._job(kept, request, blocks, chunks, True)
        if self._manner.loads == "beside":
            self.begun.append(job)
            return 0.0
        return self._load_in_step(job)

    def _load_in_step(self, job: Job) -> float:
        """What the step waits before it computes."""
        now = self._clock.now
        time = self.link.in_step(job, now)
        self._clock.at(now, REPORT, self._ended, job)
        if self._manner.loads == "in_step":
            return time
        self._least_time += time
        return time / self._manner.layers

    # -- the end of a call ---------------------------------------------------------------------------------------------

    def begins(self) -> None:
        """See ``KvSource``."""
        now = self._clock.now
        self.stored, self.flushed, self.asked_later = [], [], []
        self.begun = []
        self._least_time = 0.0
        if self.below is not None:
            self.below.begins()
        for job in self._decided:
            self._begin(job, now)
        self._decided = []

    def composed(self, batch: Batch, served: list[tuple[EngineRequest, int]]) -> float:
        """See ``KvSource``."""
        self._unseen = _MANY
        for request, tokens in served:
            self._offer(request, tokens)
        finished, self._finished = self._finished, []
        for request in finished:
            kept = self._kept.get(request)
            if kept is not None:
                self._offer(request, max(request.prompt_len, self._known(request) - 1))
        if self.below is not None:
            self.below.composed()
        batch.least_time = self._least_time
        self.start = self._flush(batch, self._clock.now)
        for job in self.begun:
            self._begin(job, self.start)
        for request in finished:
            kept = self._kept.get(request)
            if kept is not None:
                self._end(kept, request)
        return self.start

    def unseen(self) -> int:
        """See ``KvSource``."""
        waits = self.below is not None and self.below.waits_for_call
        if waits or self._decided or self._finished or self._passed:
            return 0
        if any(kept.finished and any(not job.loads for job in kept.jobs) for kept in self._kept.values()):
            return 0
        return max(self._unseen - 1, 0)

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
        if self._manner.prompt_only:
            end = min(end, request.prompt_len)
        next_at = (max(end // self._chunk, kept.cursor) + 1) * self._chunk
        if not self._manner.prompt_only or next_at <= request.prompt_len:
            self._unseen = min(self._unseen, next_at - min(tokens, known))
        end = min(end // self._chunk, kept.listed // self._manner.chunk_blocks, known // self._chunk)
        first = kept.cursor
        if end <= first:
            return
        chunks = self.tier.offer(kept.touches, self._keys(kept, first, end))
        if chunks is None:
            self._unseen = 0  # it is offered again, in each step
            return
        kept.cursor = end
        if chunks:
            each = self._manner.chunk_blocks
            blocks = [chunk.key[1] * each + number for chunk in chunks for number in range(each)]
            job = self._job(kept, request, blocks, chunks, False)
            self._decided.append(job)
            self.stored.append(job)
            self.stored_blocks += len(blocks)

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
        self._passed = [one for one in self._passed if one.reads()]
        for request in (*batch.admitted, *[job.request for job in self.begun]):
            urgent.update(dict.fromkeys(one.job for one in self._passed if one.found_by(request)))
            runs: list[Run] = request.runs  # of one whose load is over, whatever others left of it meanwhile
            for run in runs:
                self._freed.hand_out(run.readers, run.lo, run.hi)
        for handed in self._freed.handed:
            kept = self._kept.get(handed.former)
            if kept is not None and kept.finished:
                for job in kept.jobs:
                    if not job.loads and any(handed.first <= block < handed.end for block in job.blocks):
                        urgent[job] = None
                        self._passed += passed_on(job, handed)
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
        self._clock.at(self.link.begin(job, now), REPORT, self._ended, job)

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
            if self.below is not None:
                self.below.written(news.chunks)
        news.heard = True
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
        self._let_go(kept)
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
        keys, known = kept.keys, len(kept.keys)
        if end > known:
            keys.extend(zip(self._tree.nodes(kept.path, self._chunk, known, end), range(known, end), strict=True))
        return keys[first:end]


def _number(job: Job) -> int:
    return job.number
