"""``Server``: a replica as the gateway and the bill know it: an engine, its pool, its GPUs, its life."""

from __future__ import annotations

from typing import Literal

from sim.engine.rank_group import RankGroup
from sim.engine.replica import Replica
from sim.fleet.loads import LoadIndex
from sim.fleet.machine import Machine
from sim.links.transfers import Link
from sim.perf import FrontEnd
from sim.perf.kv_offload import OffloadPlan
from sim.spec import EngineSpec, GpuSpec, Market
from sim.spec.fleet import Role

State = Literal["provisioning", "image", "weights", "engine_start", "waking", "ready", "draining", "asleep", "dead", "gone"]

STARTING: frozenset[State] = frozenset(("provisioning", "image", "weights", "engine_start", "waking"))
"""States that end in ready."""


class Server:
    """One replica of a pool. ``tokens_in_flight`` are prompt tokens of unfinished requests that were sent to it."""

    __slots__ = (
        "_busy_since", "_since_s", "attempts", "background", "background_tokens", "billed_start_s", "billed_stop_s",
        "broken", "doomed", "engine", "engines", "front_end", "gpu", "gpus", "handoffs", "heartbeats", "index", "kv_layers",
        "kv_token_bytes", "machine", "name", "nic_in", "nic_out", "num_gpu_blocks", "offload", "pool", "pool_index",
        "ready_s", "replica", "request_index", "requested_s", "requests_in_flight", "role", "seconds", "state", "stopped_s",
        "token_index", "tokens_in_flight", "version", "wasted_tokens",
    )  # fmt: skip

    def __init__(
        self,
        index: int,
        pool: str,
        pool_index: int,
        replica: Replica | RankGroup,
        engine: EngineSpec,
        gpu: GpuSpec,
        machine: Machine,
        num_gpu_blocks: int,
        offload: OffloadPlan | None = None,
    ) -> None:
        self.index = index
        self.name = replica.name
        self.pool = pool
        self.pool_index = pool_index
        self.replica: Replica | RankGroup = replica
        self.engines: list[Replica] = replica.ranks if isinstance(replica, RankGroup) else [replica]
        """Of a group of ranks all, else the one."""
        self.engine = engine
        self.gpu = gpu
        self.front_end = FrontEnd(gpu)
        self.gpus = engine.gpus
        self.machine = machine
        self.num_gpu_blocks = num_gpu_blocks
        self.offload = offload
        """KV in host memory; None = none."""
        self.tokens_in_flight = 0
        self.requests_in_flight = 0
        self.attempts = 0
        """Attempts that the gateway has sent to it."""
        self.token_index: LoadIndex | None = None
        self.request_index: LoadIndex | None = None
        """Where its two loads are filed, when a router asks who has the least."""
        self.background = 0
        """Background tasks in it; no part of the two above."""
        self.background_tokens = 0
        """Output tokens of finished background tasks."""
        self.role: Role = "both"
        self.nic_in: Link
        self.nic_out: Link
        """What carries KV caches to it and from it, where its pool has a role."""
        self.kv_token_bytes = 0.0
        """KV bytes of one token on all its GPUs."""
        self.kv_layers = 1
        self.heartbeats = True
        """Whoever waits for its prompts renews their leases."""
        self.handoffs = 0
        """Prompts that wait in it for another server to read them."""
        self.wasted_tokens = 0
        self.version = 0
        """Deploy it was built by."""
        self.doomed = False
        """A notice was given: it no longer counts as capacity."""
        self.broken = False
        """A GPU of it is defective: its place is not used again."""
        self.state: State = "ready"
        self.seconds: dict[str, float] = {}
        """Billed seconds by what it did: starting, idle, busy, draining, dead."""
        self._since_s = 0.0
        self._busy_since = 0.0
        self.requested_s = 0.0
        self.ready_s = 0.0
        self.stopped_s: float | None = None
        self.billed_start_s: float | None = 0.0
        """None while it costs nothing yet."""
        self.billed_stop_s: float | None = None

    @property
    def market(self) -> Market:
        """Where its machine was bought."""
        return self.machine.market

    @property
    def zone(self) -> str:
        """Where its machine stands."""
        return self.machine.zone

    @property
    def has_features(self) -> bool:
        """Whether its engines speculate or have LoRA slots."""
        books = self.engines[0].scheduler.books
        return books.drafts is not None or books.adapters is not None

    def take(self, tokens: int) -> None:
        """An attempt with a prompt of ``tokens`` was sent here."""
        self.attempts += 1
        self._book(tokens, 1)

    def let_go(self, tokens: int) -> None:
        """An attempt with a prompt of ``tokens`` has left."""
        self._book(-tokens, -1)

    def _book(self, tokens: int, requests: int) -> None:
        self.tokens_in_flight += tokens
        self.requests_in_flight += requests
        if self.token_index is not None:
            self.token_index.put(self.index, self.tokens_in_flight)
        if self.request_index is not None:
            self.request_index.put(self.index, self.requests_in_flight)

    def pinned_blocks(self) -> int:
        """KV blocks that wait for another server to read them."""
        pinned = 0
        for engine in self.engines:
            external = engine.scheduler.books.external
            if external is not None:
                for blocks in external.pinned.values():
                    pinned += blocks
        return pinned

    def enter(self, state: State, now: float) -> None:
        """Change state; the billed time in the old one goes into ``seconds``."""
        self.settle(now)
        self.state = state

    def settle(self, now: float) -> None:
        """Put the time since the last change into ``seconds``."""
        start, stop = self.billed_start_s, self.billed_stop_s
        if start is not None and stop is None and self.state != "gone":
            spent = now - max(self._since_s, start)
            busy = self.replica.busy_by(now)
            worked, self._busy_since = busy - self._busy_since, busy
            kind = {"ready": "idle", "asleep": "idle", "draining": "draining", "dead": "dead"}.get(self.state, "starting")
            self.seconds["busy"] = self.seconds.get("busy", 0.0) + worked
            self.seconds[kind] = self.seconds.get(kind, 0.0) + spent - worked
        self._since_s = now

    def end_bill(self, now: float) -> None:
        """The machine costs nothing from now on."""
        if self.billed_stop_s is None:
            self.settle(now)
            if self.billed_start_s is None:
                self.billed_start_s = now  # a request that was cancelled before it cost anything
            self.billed_stop_s = now

    @property
    def billed(self) -> bool:
        """Its machine costs money now."""
        return self.billed_start_s is not None and self.billed_stop_s is None

    @property
    def holds_machine(self) -> bool:
        """Its machine runs and was not taken, whether or not it is paid for yet."""
        return self.machine.state in ("up", "leaving") and self.billed_stop_s is None

    @property
    def starting(self) -> bool:
        """On its way to ready."""
        return self.state in STARTING
