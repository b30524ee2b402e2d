"""What other engines decide differently from vLLM: who goes first, what admission reserves, who is the victim.

``PolicyScheduler`` is vLLM's scheduler with these decisions exchanged; ``make_scheduler`` takes it only when an option asks
for one, so vLLM's own path pays nothing.

* ``batch_order=prefill_first`` (SGLang, TGI): if a prefill can go on or a request can be admitted, the batch is all
  prefills and the decodes pause. TGI waits with that until ``waiting >= waiting_served_ratio x running`` or
  ``max_waiting_tokens`` decode steps have passed.
* ``admission_reserve=max_output`` (TGI, TensorRT-LLM's GUARANTEED_NO_EVICT): prompt and full output of everybody must fit,
  so nothing is ever preempted. ``forecast`` (SGLang): ratio x min(remaining output, 4096) of each running request, and the
  own min(output, 4096); the ratio falls linearly from 0.7 to 0.098 (x conservativeness) over 600 steps and starts again
  after a preemption or when the engine was empty.
* ``victim=fewest_generated`` (SGLang): the least output first, the longer prompt on ties.

An empty engine admits whatever fits alone. Runs of decode steps are skipped only while nobody waits: with a forecast a
blocked head can become admissible without any event, so skipping is not proved there and the engine steps.

Not modelled: SGLang's freeing of some steps' room at a retraction, its ``lpm`` order and in-batch de-duplication;
TensorRT-LLM's MAX_UTILIZATION (near to vLLM), STATIC_BATCH and EQUAL_PROGRESS chunks. The true output length stands for
max_new_tokens, which clients usually set higher: reservations here are the least these engines would make.
Sources: SGLang ``managers/schedule_policy.py`` and ``schedule_batch.py``, TGI's router ``queue.rs``, TensorRT-LLM's
scheduler documentation (2025-2026).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sim.engine.batch import Batch
from sim.engine.cache_groups import GroupedBlockPool
from sim.engine.invariants import WatchedScheduler
from sim.engine.request import EngineRequest
from sim.engine.scheduler import Scheduler
from sim.perf.kv_cache import CacheGroup
from sim.spec import EngineSpec

_MOST_FORECAST_TOKENS = 4096
_FIRST_RATIO, _LAST_RATIO, _DECAY_STEPS = 0.7, 0.7 * 0.14, 600


def make_scheduler(
    engine: EngineSpec,
    num_gpu_blocks: int,
    name: str,
    now: Callable[[], float],
    check_invariants: bool = False,
    groups: Sequence[CacheGroup] = (),
) -> Scheduler:
    """The scheduler that ``engine`` asks for, with the KV cache ``groups`` of its model (none = one of full attention).
    Only vLLM's own has groups and is watched by ``check_invariants``."""
    if not engine.decides_as_vllm:
        return PolicyScheduler(engine, num_gpu_blocks)
    grouped = GroupedBlockPool(num_gpu_blocks, engine, groups) if groups else None
    if check_invariants:
        return WatchedScheduler(engine, num_gpu_blocks, name, now, grouped)
    return Scheduler(engine, num_gpu_blocks, grouped)


class PolicyScheduler(Scheduler):
    """A ``Scheduler`` with another engine's decisions."""

    def __init__(self, engine: EngineSpec, num_gpu_blocks: int) -> None:
        super().__init__(engine, num_gpu_blocks)
        self._prefill_first = engine.batch_order == "prefill_first"
        self._reserve = engine.admission_reserve
        self._conservativeness = engine.schedule_conservativeness
        self._fewest_generated = engine.victim == "fewest_generated"
        self.others_go_on = self.others_go_on or self._fewest_generated
        self._served_ratio = engine.waiting_served_ratio
        self._patience = engine.max_waiting_tokens
        self._prefilled_at = 0
        self._decoded_at = 0
        self._ratio_since = 0
        self._preemptions_seen = 0

    def compose(self) -> Batch | None:
        """See ``Scheduler``."""
        if self.preemptions > self._preemptions_seen or not self.running:
            self._preemptions_seen = self.preemptions
            self._ratio_since = self.composed
        if self._prefill_first and (self.prefilling or (self.n_waiting and self._patience_is_over())):
            batch = self._prefill_batch()
            if batch is not None:
                return batch
        batch = super().compose()
        if batch is not None:
            self._decoded_at = self.composed
            if batch.prefills:
                self._prefilled_at = self.composed
        return batch

    def _patience_is_over(self) -> bool:
        return (
            self.n_waiting >= self._served_ratio * len(self.running)
            or self.composed - self._prefilled_at >= self._patience
        )

    def _prefill_batch(self) -> Batch | None:
        """Chunks first, then admissions, no decodes; None when neither is possible."""
        batch = Batch(0, 0)
        budget = self.budget
        for request in self.prefilling:
            before = request.computed
            n = min(request.target - before, budget)
            blocks = -(-(before + n) // self.block_size) - -(-before // self.block_size)
            if n <= 0 or blocks > self.pool.free:
                break
            self.pool.take(blocks)
            self.pool.register(request, before + n)
            batch.prefills.append((request, n, before))
            budget -= n
        super()._admit(batch, budget, 0, False)
        if not batch.prefills:
            return None
        self._book_step(batch, [])
        self._prefilled_at = self.composed
        return batch

    def _admit(self, batch: Batch, budget: int, threshold: int, defer: bool) -> None:
        if not self._prefill_first or not self.running:
            super()._admit(batch, budget, threshold, defer)

    def _in_flight(self, request: EngineRequest) -> int:
        newest = self.composed
        if newest <= self.returned or request.held_at == newest:
            return 0
        return int(newest in (self._decoded_at, request.last_step))

    def _blocks_wanted(self, request: EngineRequest) -> int:
        blocks = super()._blocks_wanted(request)
        if self._reserve == "prompt" or not self.running:
            return blocks
        size = self.block_size
        if self._reserve == "max_output":
            wanted = -(-(request.prompt_len + request.max_output - 1) // size)
            for other in self.running:
                wanted += -(-(other.prompt_len + other.max_output - 1) // size) - -(-self._position(other) // size)
            return wanted
        forecast = 0.0
        for other in self.running:
            left = other.prompt_len + other.max_output - self._position(other)
            forecast += min(left, _MOST_FORECAST_TOKENS) * self.ratio
        own = min(request.max_output - request.sampled, _MOST_FORECAST_TOKENS)
        return -int(-(request.target + own + forecast) // size) + 1

    @property
    def ratio(self) -> float:
        """Share of the remaining output that ``forecast`` reserves for running requests."""
        passed = min(1.0, (self.composed - self._ratio_since) / _DECAY_STEPS)
        return self._conservativeness * (_FIRST_RATIO + (_LAST_RATIO - _FIRST_RATIO) * passed)

    def _position(self, request: EngineRequest) -> int:
        return request.offset + self.decodes.tick if request.decoding else request.computed

    def _victim(self) -> EngineRequest:
        if not self._fewest_generated:
            return super()._victim()
        return min(self.running, key=lambda r: (self._position(r) - r.prompt_len, -r.prompt_len))

    def longest_run(self) -> int:
        """See ``Scheduler``; one step while somebody waits."""
        return 1 if self.n_waiting else super().longest_run()
