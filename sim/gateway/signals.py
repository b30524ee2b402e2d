"""What a gateway knows of its replicas: numbers scraped every ``staleness_s`` seconds, so up to that old.

A scrape reads every ready replica at once, on a fixed grid, while requests are under way; between scrapes everybody sees
the same numbers. With ``staleness_s`` = 0 they are read at the moment they are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Protocol

from sim.engine.clock import DEADLINE, Clock, Moment
from sim.engine.rank_group import RankGroup
from sim.engine.replica import Replica
from sim.gateway.counts import Counts


class ServerView(Protocol):
    """What a router sees of a replica without asking it: the gateway's own books."""

    index: int
    name: str
    pool: str
    requests_in_flight: int
    tokens_in_flight: int


class ScrapedServer(ServerView, Protocol):
    """A replica whose metrics endpoint can be read."""

    replica: Replica | RankGroup


class Snapshot:
    """A replica's state as of the last scrape."""

    __slots__ = ("adapters", "kv_blocks", "kv_used", "max_loras", "requests", "tokens", "waiting")

    def __init__(
        self, requests: int, tokens: int, waiting: int, kv_used: float, kv_blocks: int,
        adapters: tuple[Hashable, ...] = (), max_loras: int = 0,
    ) -> None:  # fmt: skip
        self.requests = requests
        self.tokens = tokens
        self.waiting = waiting
        self.kv_used = kv_used
        """Share of KV blocks in use."""
        self.kv_blocks = kv_blocks
        """How many there are."""
        self.adapters = adapters
        """LoRA adapters of running requests, and how many there may be (``vllm:lora_requests_info``)."""
        self.max_loras = max_loras


def read(server: ScrapedServer) -> Snapshot:
    """The state of ``server`` now."""
    view = server.replica.view()
    kv_used = view.used_blocks / view.usable_blocks
    return Snapshot(
        server.requests_in_flight, server.tokens_in_flight, view.waiting, kv_used, view.usable_blocks, view.adapters,
        view.max_loras,
    )  # fmt: skip


class Signals:
    """Snapshots of ``servers`` (a list kept up to date), refreshed every ``staleness_s`` while there is work."""

    def __init__(
        self,
        clock: Clock,
        staleness_s: float,
        servers: Sequence[ScrapedServer],
        counts: Counts,
    ) -> None:
        self._clock = clock
        self.staleness_s = staleness_s
        self._servers = servers
        self._counts = counts
        self._snapshots: dict[int, Snapshot] = {}
        self._armed = False
        self.scrapes = 0
        """Grows whenever a snapshot changes; without staleness they change at any time."""

    def of(self, server: ScrapedServer) -> Snapshot:
        """The newest known state of ``server``."""
        if not self.staleness_s:
            return read(server)
        if not self._armed:
            self._scrape_now()
            self._armed = True
            period = self.staleness_s
            self._clock.at((math.floor(self._clock.now / period) + 1) * period, DEADLINE, self._scrape)
        found = self._snapshots.get(server.index)
        if found is None:  # came up since the last scrape
            found = self._snapshots[server.index] = read(server)
            self.scrapes += 1
        return found

    def unchanged_since(self, scrapes: int) -> bool:
        """Whether what was read when ``self.scrapes`` was ``scrapes`` still holds."""
        return self.staleness_s > 0 and self._armed and scrapes == self.scrapes

    def _scrape(self, _: Moment) -> None:
        self._scrape_now()
        self._armed = self._counts.active
        if self._armed:
            self._clock.at(self._clock.now + self.staleness_s, DEADLINE, self._scrape)

    def _scrape_now(self) -> None:
        self.scrapes += 1
        self._snapshots = {server.index: read(server) for server in self._servers}
