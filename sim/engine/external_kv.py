"""KV that others hold or want: loads, pins and roles of one engine; the named point for KV connectors (``Books.external``).

A request whose KV is loaded in the background is LOADING: it holds blocks but no seat, in a queue of its own (``holding``)
that is looked at before the ordinary one. It is promoted in the first step composed after the report of its load has
reached the engine, which is with the output of the first step that ends at or after it; then it needs a seat, budget and
blocks like any other, and recomputes its last token where all of it was loaded.

A load that fails leaves what is good up to a block's border (``recompute``), or ends the request with an error (``fail``).

Roles. A *consumer* under async scheduling cannot free blocks that a step in flight may still write: such a victim is
refused, and phase A ends. A *producer* may admit a preempted request again at once, its outputs in flight are thrown away;
and its ``KvSource`` may pin the blocks of a request that has finished, until they are released.

Source of the rules: vLLM 0.33, ``v1/core/sched/scheduler.py`` (``_update_waiting_for_remote_kv``,
``_inflight_prefill_reserved_blocks``, ``_update_requests_with_invalid_blocks``, deferred frees). Not recorded, so
modelled as written here: a request that is aborted while it loads keeps its blocks until the load ends.
"""

from __future__ import annotations

from typing import Literal

from sim.engine.batch import Batch
from sim.engine.block_pool import CountingBlockPool
from sim.engine.kv_source import KvSource
from sim.engine.prefix_cache import PrefixBlockPool
from sim.engine.request import EngineRequest
from sim.engine.waiting_queue import WaitingQueue

Pool = CountingBlockPool | PrefixBlockPool


class Load:
    """What is on its way for a request: tokens up to ``upto``, of which those below ``local`` were there before."""

    __slots__ = ("asynchronous", "dropped", "good", "local", "reported", "upto")

    def __init__(self, local: int, upto: int, asynchronous: bool) -> None:
        self.local = local
        self.upto = upto
        self.asynchronous = asynchronous
        self.good = upto
        self.reported = False
        self.dropped = False


class Report:
    """What was told at ``time``: of the load of ``request`` (``good`` tokens are there) or, with ``good`` < 0, of its pin
    that ends; or, without a request, ``news`` for the source itself. ``urgent``: somebody outside sees its effect."""

    __slots__ = ("good", "news", "request", "time", "urgent")

    def __init__(
        self, time: float, request: EngineRequest | None, good: int, urgent: bool, news: object = None
    ) -> None:
        self.time = time
        self.request = request
        self.good = good
        self.urgent = urgent
        self.news = news


class ExternalKv:
    """Loads, pins and the role of one engine.

    Args:
        source: who holds KV for it, or wants what it computes.
        role: whether it takes KV (consumer), gives it (producer), or both.
        fails: a request whose load fails ends with an error; False: the rest is computed.
        asynchronous: the engine composes one step ahead.
        ordered: its queues are ordered by key.
    """

    def __init__(
        self,
        source: KvSource,
        role: Literal["consumer", "producer", "both"],
        fails: bool,
        asynchronous: bool,
        ordered: bool,
    ) -> None:
        self.source = source
        self.follows = source.follows
        """``KvSource.follows``: asked at every call of the scheduler."""
        self.fails = fails
        self.defers = asynchronous and role != "producer"
        """Blocks of a request whose last step is in flight cannot be freed."""
        self.watched = source.watches and role != "consumer"
        """``KvSource.watches``, of an engine that computes for others."""
        self.drops = role != "consumer"
        """Outputs in flight of a preempted request are thrown away."""
        self.holding = WaitingQueue(ordered)
        """Requests that own blocks but no seat: LOADING, or loaded."""
        self.loads: dict[EngineRequest, Load] = {}
        self.ready = 0
        """Requests of ``holding`` that are not LOADING, or whose load was reported."""
        self.pinned: dict[EngineRequest, int] = {}
        """Finished requests whose blocks stay, and how many."""
        self.aside: list[tuple[int, EngineRequest, int]] = []
        """Finished requests with a step in flight: the newest step composed then, and their blocks."""
        self.reports: list[Report] = []
        """What was told and has not reached the scheduler."""
        self.urgent = 0
        """How many of these somebody outside sees the effect of: loads that have failed, and news for the source."""
        self.begun: list[tuple[EngineRequest, int, int]] = []
        """Loads begun by the latest call: request, local tokens, external tokens."""
        self.not_before = 0.0
        """When a step of the latest call can start."""
        self.put_off = 0
        """Requests that the latest call was told to ask for later."""
        self.loaded: list[EngineRequest] = []
        self.failed: list[EngineRequest] = []
        self.released: list[EngineRequest] = []
        self.ended: list[EngineRequest] = []
        """What reached the scheduler with the latest output: ``ended`` are requests that end with an error."""
        self.dropped_until = 0
        """Newest step of which an output in flight is thrown away."""
        self.load_tokens = 0
        self.failed_tokens = 0

    def blocks_held(self) -> int:
        """Blocks of requests that do not run; for checks."""
        held = sum(self.pinned.values())
        for _, _, blocks in self.aside:
            held += blocks
        for request in self.holding.in_order():
            held += request.least_blocks
        for request, load in self.loads.items():
            if load.dropped:
                held += request.least_blocks
        return held

    def holders(self) -> list[EngineRequest]:
        """Those requests."""
        dropped = [request for request, load in self.loads.items() if load.dropped]
        return [*self.holding.in_order(), *self.pinned, *[request for _, request, _ in self.aside], *dropped]

    # -- a load --------------------------------------------------------------------------------------------------------

    def begin(self, request: EngineRequest, local: int, tokens: int, blocks: int) -> None:
        """``request``, which is in no queue, has ``blocks`` blocks for ``tokens`` behind ``local`` ones, and loads from now
        on."""
        self.loads[request] = Load(local, local + tokens, True)
        request.loading = True
        request.computed = local + tokens
        request.least_blocks = blocks
        request.holding = True
        self.note(request, local, tokens)
        self.source.load(request, local, tokens)

    def begins(self) -> None:
        """A step begins to be composed."""
        if self.begun:
            self.begun = []
        self.put_off = 0
        if self.follows:
            self.source.begins()

    def composed(self, batch: Batch, order: list[tuple[EngineRequest, int, int]]) -> None:
        """``batch`` is composed, ``(request, tokens, computed before)`` of all that it serves in ``order``."""
        self.not_before = batch.not_before = self.source.composed(batch, [(r, before + n) for r, n, before in order])

    def load_in_step(self, request: EngineRequest, local: int, tokens: int) -> float:
        """``request`` was admitted and loads within its first step; what that adds to the step."""
        self.loads[request] = Load(local, local + tokens, False)
        self.note(request, local, tokens)
        return self.source.load(request, local, tokens)

    def note(self, request: EngineRequest, local: int, tokens: int) -> None:
        """A load is begun."""
        request.external_tokens = tokens
        self.load_tokens += tokens
        self.begun.append((request, local, tokens))

    def leave(self, request: EngineRequest) -> None:
        """``request``, which is first and not LOADING, goes elsewhere."""
        self.holding.pop()
        request.holding = False
        self.ready -= 1

    def promote(self, request: EngineRequest, pool: Pool, unnamed: int) -> bool:
        """Whether LOADING ``request``, whose blocks are in ``pool``, has what it waited for and may be looked at; its last
        ``unnamed`` tokens make no block findable."""
        load = self.loads[request]
        if not load.reported:
            return False
        del self.loads[request]
        request.loading = False
        request.computed = load.good
        if load.good <= 0:
            pool.release(request, request.least_blocks)
            request.least_blocks = request.computed = 0
            return True
        if pool.caching:
            pool.register(request, request.computed - unnamed)
        if request.computed == request.target:
            request.computed -= 1
            if not request.computed:
                pool.release(request, request.least_blocks)
                request.least_blocks = 0
        return True

    # -- reports -------------------------------------------------------------------------------------------------------

    def report(self, report: Report) -> None:
        """Something was told."""
        self.reports.append(report)
        self.urgent += report.urgent

    def take_due(self, upto: float, batch: Batch | None) -> list[Report]:
        """What was told by ``upto``, no longer kept here; of a load within a step only with the output of that step,
        ``batch``."""
        found: list[Report] = []
        kept: list[Report] = []
        for report in self.reports:
            load = self.loads.get(report.request) if report.request is not None else None
            due = report.time <= upto
            if due and load is not None and not load.asynchronous and report.good >= 0:
                due = batch is not None and report.request in batch.admitted
            if not due:
                kept.append(report)
                continue
            found.append(report)
            self.urgent -= report.urgent
        self.reports = kept
        return found

    def filter(self, requests: list[EngineRequest], number: int) -> None:
        """Leave out of ``requests``, who have output of step ``number``, those whose output is thrown away."""
        requests[:] = [request for request in requests if request.dropped_until < number]
