"""What other engines decide differently from vLLM: who goes first, what admission reserves, who is the victim.

``PolicyScheduler`` is vLLM's scheduler with these decisions exchanged; ``make_scheduler`` takes it only when an option asks
for one, so vLLM's own path pays nothing.

* ``batch_order=prefill_first`` (SGLang, TGI): if a prefill can go on or a request can be admitted, the batch is all
  prefills and the decodes pause. TGI waits with that until ``waiting >= waiting_served_ratio x running`` or
  ``max_waiting_tokens`` decode steps have passed.
* ``admission_reserve=max_output`` (TGI, TensorRT-LLM) and ``forecast`` (SGLang): see ``sim.engine.reserve``.
* ``victim=fewest_generated`` (SGLang): the least output first, the longer prompt on ties.

Runs of decode steps are skipped only while nobody waits: with a forecast a
blocked head can become admissible without any event, so skipping is not proved there and the engine steps. It also steps
with KV in host memory (SGLang's HiCache), which it takes as vLLM's does: asked for, stored and evicted by vLLM's rules.

Not modelled: SGLang's freeing of some steps' room at a retraction, its ``lpm`` order and in-batch de-duplication;
TensorRT-LLM's MAX_UTILIZATION (near to vLLM), STATIC_BATCH and EQUAL_PROGRESS chunks. The true output length stands for
max_new_tokens, which clients usually set higher: reservations here are the least these engines would make.
Sources: SGLang ``managers/schedule_policy.py`` and ``schedule_batch.py``, TGI's router ``queue.rs``, TensorRT-LLM's
scheduler documentation (2025-2026).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sim.engine.adapters import Adapters
from sim.engine.batch import Batch
from sim.engine.cache_groups import GroupedBlockPool
from sim.engine.cadence import Cadence
from sim.engine.drafts import Drafts
from sim.engine.invariants import WatchedScheduler
from sim.engine.kv_source import KvSource
from sim.engine.reserve import Reserve
from sim.engine.scheduler import Scheduler
from sim.errors import ConfigError
from sim.perf.kv_groups import CacheGroup
from sim.spec import EngineSpec


def make_scheduler(
    engine: EngineSpec,
    num_gpu_blocks: int,
    name: str,
    now: Callable[[], float],
    check_invariants: bool = False,
    groups: Sequence[CacheGroup] = (),
    cadence: Cadence | None = None,
    drafts: Drafts | None = None,
    adapters: Adapters | None = None,
    source: KvSource | None = None,
) -> Scheduler:
    """The scheduler that ``engine`` asks for, with the KV cache ``groups`` of its model (none = one of full attention) and
    the ``cadence`` of a rank. Only vLLM's own has groups, drafts, adapters, loads in the background from a ``source`` of KV,
    and is watched by ``check_invariants``.

    Raises:
        ConfigError: KV is exchanged where that is not modelled.
    """
    in_step = engine.offloads_kv and engine.kv_offload.rules.loads != "beside"
    if source is not None and (groups or not (engine.decides_as_vllm or in_step)):
        other = "several KV cache groups" if groups else f"decisions of another engine ({engine.name})"
        key = engine.host_memory_words if engine.offloads_kv else "engine.kv_connector"
        reason = "" if groups else ", but for host memory that a step itself loads from (kv_offload=hicache or lmcache)"
        raise ConfigError(f"{key}: KV that is loaded from elsewhere is not modelled with {other}{reason}")
    if not engine.decides_as_vllm:
        return PolicyScheduler(engine, num_gpu_blocks, cadence, source)
    grouped = GroupedBlockPool(num_gpu_blocks, engine, groups) if groups else None
    if check_invariants:
        return WatchedScheduler(engine, num_gpu_blocks, name, now, grouped, cadence, drafts, adapters, source)
    return Scheduler(engine, num_gpu_blocks, grouped, None, cadence, drafts, adapters, source)


class PolicyScheduler(Scheduler):
    """A ``Scheduler`` with another engine's decisions."""

    def __init__(
        self, engine: EngineSpec, num_gpu_blocks: int, cadence: Cadence | None = None, source: KvSource | None = None
    ) -> None:
        kind = engine.admission_reserve
        reserve = Reserve(kind, engine.schedule_conservativeness) if kind != "prompt" else None
        super().__init__(engine, num_gpu_blocks, reserve=reserve, cadence=cadence, source=source)
        self._reserve = reserve
        if engine.victim == "fewest_generated":
            self.serving.fewest_generated = True
            self.limits.others_go_on = True
        self._served_ratio = engine.waiting_served_ratio
        self._patience = engine.max_waiting_tokens
        self._prefilled_at = 0

    def compose(self) -> Batch | None:
        """See ``Scheduler``."""
        if self._reserve is not None:
            self._reserve.before_step(self.books)
        if self.limits.prefills_apart and (self.books.prefilling or (self.books.waiting.size and self._patience_is_over())):
            batch = self._prefill_batch()
            if batch is not None:
                return batch
        batch = super().compose()
        if batch is not None and batch.prefills:
            self._prefilled_at = self.books.composed
        return batch

    def _patience_is_over(self) -> bool:
        books = self.books
        return (
            books.waiting.size >= self._served_ratio * len(books.running)
            or books.composed - self._prefilled_at >= self._patience
        )

    def _prefill_batch(self) -> Batch | None:
        """Chunks first, then admissions, no decodes; None when neither is possible."""
        batch, external = Batch(0, 0), self.books.external
        if external is not None:
            external.begins()
        budget = self.limits.budget
        size = self.limits.block_size
        for request in self.books.prefilling:
            before = request.computed
            n = min(request.target - before, budget)
            blocks = -(-(before + n) // size) - -(-before // size)
            if n <= 0 or blocks > self.pool.free:
                break
            self.pool.take(blocks)
            self.pool.register(request, before + n)
            batch.give(request, n, before)
            budget -= n
        self.admission.admit(batch, budget, 0, False)
        if not batch.prefills:
            return None
        self.books.held_back = []
        if external is not None and external.follows:
            external.composed(batch, batch.prefills)
        self._book_step(batch, False)
        self._prefilled_at = self.books.composed
        return batch

    def longest_run(self) -> int:
        """See ``Scheduler``; one step while somebody waits, or where a source of KV is told of each."""
        return 1 if self.books.waiting.size or self.books.external is not None else super().longest_run()
