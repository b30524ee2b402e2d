"""Conformance of ranks that step together: one row a forward of all, as ``sF*`` of the recordings have it.

A row has ``wave``, ``counter``, times, the largest token count of a rank, ``sync`` where the ranks vote, and for each rank
the fields of an ordinary row that are not empty, ``throttled`` where its prompts had to wait, or ``dummy``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from sim.engine.acceptance import AcceptancePath
from sim.engine.adapters import Adapters
from sim.engine.batch import Batch
from sim.engine.cadence import RankCadence
from sim.engine.clock import ARRIVAL, Clock, Moment
from sim.engine.drafts import Drafts
from sim.engine.listener import EngineListener, RoundListener, StepListener
from sim.engine.lock_step import LockStep
from sim.engine.rank_group import RankGroup
from sim.engine.replica import Replica
from sim.engine.request import EngineRequest
from sim.engine.round import Round
from sim.engine.scheduler import Scheduler
from sim.perf.rank_speculation import RankTimes
from sim.perf.rank_step import AffineRankStepTime
from sim.perf.step_time import AffineStepTime
from sim.spec import EngineSpec

_COMPARED = ("wave", "counter", "start_ns", "end_ns", "padded_tokens", "sync")
_OF_A_RANK = (
    "scheduled", "new", "resumed", "preempted", "sampled", "finished", "running", "waiting", "free_blocks", "throttled",
    "dummy",
)  # fmt: skip


class RankRecording(EngineListener, StepListener, RoundListener):
    """Drives one case of ranks and collects rows in the recordings' own form."""

    def __init__(self, case: dict[str, Any], spec: EngineSpec, blocks: int, skip_decode: bool = False) -> None:
        self.clock = Clock(initial_time=0)
        affine = case["step_time"]
        step_time = AffineStepTime(
            affine["base_ns"], affine["per_new_token_ns"], affine["per_context_token_ns"], affine["per_seq_ns"]
        )
        interval = spec.prefill_schedule_interval
        self.schedulers: list[Scheduler] = []
        ranks = []
        for number in range(spec.data_parallel_size):
            cadence = RankCadence(interval) if interval > 1 else None
            drafts = Drafts(spec, step_time) if spec.speculative.drafts else None
            adapters = Adapters(spec.max_loras, spec.max_loras, step_time) if spec.max_loras else None
            scheduler = Scheduler(spec, blocks, None, None, cadence, drafts, adapters)
            scheduler.skip_decode, scheduler.record_order = skip_decode, not skip_decode
            self.schedulers.append(scheduler)
            steps = None if skip_decode else self
            ranks.append(Replica(self.clock, scheduler, step_time, spec.async_scheduling, self, steps, name=str(number)))
        affine_ranks = AffineRankStepTime(step_time)
        times = RankTimes(affine_ranks, affine_ranks if spec.speculative.drafts else None)
        self.lock_step = LockStep(self.clock, ranks, times, spec.dp_sync_interval, listener=None if skip_decode else self)
        for rank in ranks:
            rank.pace = self.lock_step
        self.group = RankGroup(self.clock, "ranks", ranks, self.lock_step)
        self._interval = interval
        self.rows: list[dict[str, Any]] = []
        self.answered: dict[str, EngineRequest] = {}
        self._row_of: dict[int, dict[str, Any]] = {}
        for row in case["requests"]:
            self.clock.at(row["arrival_ns"], ARRIVAL, self._arrives, row)

    def run(self, max_steps: float = inf) -> list[dict[str, Any]]:
        """The rows, once nothing more can happen or ``max_steps`` are there."""
        while len(self.rows) < max_steps and self.clock.peek() < inf:
            self.clock.step()
        return self.rows

    def _arrives(self, moment: Moment) -> None:
        row = moment.value
        prompt_len = sum(tokens for _, tokens in row["prompt"])
        if not 0 < prompt_len < self.schedulers[0].limits.max_model_len:
            return
        content = tuple((name, tokens) for name, tokens in row["prompt"])
        request = EngineRequest(
            row["id"], prompt_len, row["output_len"], self.clock.now, row.get("priority", 0), content, f"out:{row['id']}"
        )
        request.lora = row.get("lora") or None
        request.accept = AcceptancePath(row.get("accept", (0,)), proposals=row.get("draft_len", ()))
        self.group.give(request, row["rank"])

    def finished(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        self.answered[request.request_id] = request

    def returned(self, batch: Batch) -> None:
        """See ``StepListener``."""
        self._row_of.pop(id(batch))["finished"] = [r.request_id for r in batch.finishing]

    def voted(self, goes_on: bool) -> None:
        """See ``RoundListener``."""
        self.rows[-1]["sync"] = goes_on

    def composed(self, one: Round) -> None:
        """See ``RoundListener``."""
        ranks = [self._of_a_rank(s, b, one.counter) for s, b in zip(self.schedulers, one.batches, strict=True)]
        self.rows.append({
            "wave": one.wave, "counter": one.counter, "start_ns": one.start, "end_ns": one.end, "sched_ns": one.sched_at,
            "padded_tokens": one.load.most_tokens, "ranks": ranks,
        })  # fmt: skip

    def _of_a_rank(self, scheduler: Scheduler, batch: Batch | None, counter: int) -> dict[str, Any]:
        books = scheduler.books
        row: dict[str, Any] = {}
        if batch is None:
            row["dummy"] = True
        else:
            order = batch.order or []
            chunks, sampling = {id(r) for r, _, _ in batch.prefills}, set(map(id, batch.sampled))
            row |= {
                "scheduled": [[r.request_id, n, before] for r, n, before in order],
                "new": [[r.request_id, r.cached_tokens] for r in batch.admitted if not r.preemptions],
                "resumed": [[r.request_id, at] for r, _, at in batch.prefills if r.preemptions and r in batch.admitted],
                "preempted": [r.request_id for r in batch.preempted],
                "sampled": [r.request_id for r, _, _ in order if id(r) in sampling or id(r) not in chunks],
            }
            self._row_of[id(batch)] = row
        if books.running or books.waiting.size:
            row |= {"running": len(books.running), "waiting": books.waiting.size, "free_blocks": scheduler.pool.free}
            row["throttled"] = counter % self._interval != 0
        return row


def first_difference(recorded: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]) -> str | None:
    """What differs first, in words, or None."""
    for index, (theirs, mine) in enumerate(zip(recorded, ours, strict=False)):
        for field in _COMPARED:
            if theirs.get(field) != mine.get(field):
                return f"step {index}, {field}: recorded {theirs.get(field)!r}, ours {mine.get(field)!r}"
        for number, (their_rank, my_rank) in enumerate(zip(theirs["ranks"], mine["ranks"], strict=True)):
            for field in _OF_A_RANK:
                if (their_rank.get(field) or None) != (my_rank.get(field) or None):
                    found, have = their_rank.get(field), my_rank.get(field)
                    return f"step {index}, rank {number}, {field}: recorded {found!r}, ours {have!r}"
    if len(recorded) != len(ours):
        return f"{len(recorded)} steps recorded, ours has {len(ours)}"
    return None


def steps_of_ranks(rows: Sequence[dict[str, Any]], ranks: int) -> list[list[dict[str, Any]]]:
    """The rows of each rank by itself, dummies left out, as of an ordinary case."""
    empty: dict[str, Any] = {"scheduled": [], "new": [], "preempted": [], "sampled": [], "finished": []}
    return [
        [
            empty | row["ranks"][rank] | {"sched_ns": row["sched_ns"], "end_ns": row["end_ns"]}
            for row in rows
            if "dummy" not in row["ranks"][rank]
        ]
        for rank in range(ranks)
    ]
