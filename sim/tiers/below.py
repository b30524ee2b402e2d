"""``Below``: the tiers below host memory as one engine reaches them, vLLM's ``TieringOffloadingManager`` (0.33).

Host memory is the gateway: nothing travels between a GPU and a tier below it. What was written to host memory is written
through to every tier below that lacks it; what a look-up finds below only is *promoted* into host memory, for which it makes
room at once, and the request asks again later. A chunk is found below once all of it is there. Chunks of the run that is
looked up make no room for each other: it ends where host memory is full of them; and they stay there until the request has
asked again. (vLLM lets others evict them meanwhile: two prompts that do not both fit then push each other out for ever.)

All stores that have come together travel to a tier at once, one journey of an engine after another (what is stored meanwhile
goes with the next), and all promotions of a request out of one; a journey takes

    latency_s + bytes / rate,    the rate a max-min fair share of the links on its way (``sim.links``)

Not recorded from vLLM, so modelled as written here. Left out: an index that has to be asked (vLLM looks files up in threads,
which costs the first look-up a step), stores that are dropped under back-pressure (here they keep their chunks in host
memory until they have travelled, so that offers find no room), and what a disk's queue depth changes.

Source: vLLM ``v1/kv_offload/tiering/manager.py`` (read at 01bb4626); time limit and least length of a promotion: SGLang
``mem_cache/hiradix_cache.py`` (prefetch from storage).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from sim.engine.clock import REPLICA, REPORT, Clock, Moment
from sim.engine.replica import Replica
from sim.engine.traffic import Load, Traffic
from sim.links.transfers import Link
from sim.tiers.recency import Chunk, Key, Touches
from sim.tiers.tier import Tier


class Level(NamedTuple):
    """One of the tiers and the way to it; a shared one has the ``tier`` and some links in common with other engines."""

    name: str
    tier: Tier
    traffic: Traffic
    read: tuple[Link, ...]
    write: tuple[Link, ...]
    latency_s: float


class Waiting(NamedTuple):
    """How long a look-up waits for promotions, and from how many chunks on it asks for any."""

    base_s: float = inf
    """inf = until all of it is there."""
    chunk_s: float = 0.0
    """More for each chunk that it waits for."""
    least_chunks: int = 1


class Moved:
    """What one engine moved to and from a level, in chunks."""

    __slots__ = ("from_others", "lost", "promoted", "stored")

    def __init__(self) -> None:
        self.stored = 0
        self.promoted = 0
        self.from_others = 0
        """Of the promoted: stored by another engine."""
        self.lost = 0
        """Of the stored: on their way when the engine died."""


class Journey(Load):
    """``above``, chunks of host memory, go to ``below``, those of ``level``, or come from them."""

    __slots__ = ("above", "below", "level", "promotes", "tiers", "touches")

    def __init__(
        self, tiers: Below, level: int, touches: Touches, above: list[Chunk], below: list[Chunk], promotes: bool
    ) -> None:
        self.tiers = tiers
        self.level = level
        self.touches = touches
        self.above = above
        self.below = below
        self.promotes = promotes

    def arrived(self) -> None:
        """See ``Load``."""
        self.tiers.arrived(self)


class Below:
    """The levels below one engine's host memory, the nearest first.

    Args:
        clock: the engine's.
        host: its host memory.
        levels: below it.
        chunk_bytes: of all its GPUs.
        waiting: when look-ups do not wait for promotions.
        writer: what chunks that it stores are known by.
    """

    def __init__(
        self, clock: Clock, host: Tier, levels: Sequence[Level], chunk_bytes: float, waiting: Waiting, writer: str
    ) -> None:
        self._clock = clock
        self._host = host
        self.levels = tuple(levels)
        self.moved = tuple(Moved() for _ in levels)
        self._chunk_bytes = chunk_bytes
        self._waiting = waiting
        self._writer = writer
        self._replica: Replica | None = None
        self._written: list[list[list[Chunk]]] = [[] for _ in levels]
        """For each level, chunks that came into host memory and did not go on yet, by job."""
        self._storing = [False] * len(levels)
        """Whether a journey to that level is under way."""
        self._wanted: list[Journey] = []
        """Promotions that the latest call decided on."""
        self._back: list[Journey] = []
        """Journeys that are over, which the scheduler has not seen."""

    def attach(self, replica: Replica) -> None:
        """The engine they serve."""
        self._replica = replica

    # -- a call of the scheduler ---------------------------------------------------------------------------------------

    @property
    def waits_for_call(self) -> bool:
        """Whether something goes on with the next call."""
        return any(written and not under_way for written, under_way in zip(self._written, self._storing, strict=True))

    def begins(self) -> None:
        """A call begins: journeys that are over end in host memory, and what has come into it goes on below."""
        for journey in self._back:
            if journey.promotes:
                self._host.written(journey.above)
            else:
                self._host.end_load(journey.above)
        self._back = []
        for number, written in enumerate(self._written):
            if written and not self._storing[number]:
                self._written[number] = []
                self._store(number, written)

    def written(self, chunks: Sequence[Chunk]) -> None:
        """``chunks`` have come into host memory from the GPU, and stay until they have gone on."""
        for written in self._written:
            written.append(list(chunks))
            self._host.hold(chunks)

    def _store(self, number: int, written: list[list[Chunk]]) -> None:
        tier = self.levels[number].tier
        touches = Touches()
        above: list[Chunk] = []
        below: list[Chunk] = []
        for chunks in written:
            new = tier.offer(touches, [chunk.key for chunk in chunks])
            taken = {chunk.key for chunk in new or ()}
            for chunk in new or ():
                chunk.writer = self._writer
                below.append(chunk)
            above += [chunk for chunk in chunks if chunk.key in taken]
            self._host.end_load([chunk for chunk in chunks if chunk.key not in taken])
        if not above:
            tier.over(touches)
            return
        self._storing[number] = True
        self.moved[number].stored += len(below)
        self._leave(Journey(self, number, touches, above, below, False))

    def composed(self) -> None:
        """The call is over: its promotions begin."""
        wanted, self._wanted = self._wanted, []
        for journey in wanted:
            self._leave(journey)

    # -- look-ups ------------------------------------------------------------------------------------------------------

    def fetch(self, touches: Touches, keys: Sequence[Key], found: list[Chunk]) -> tuple[list[Chunk], int]:
        """The run of ``keys``, whose first part ``found`` is in host memory, as long as the levels below make it, and how
        many chunks of it they begin to promote: pending ones, for a request with ``touches``."""
        ways: list[int] = []
        for key in keys[len(found) :]:
            way = -1 if key in self._host.chunks else self._nearest(key)
            if way == len(self.levels):
                break
            ways.append(way)
        wanted = sum(way >= 0 for way in ways)
        if wanted < self._waiting.least_chunks:
            return found, 0
        run = keys[: len(found) + len(ways)]
        kept = dict.fromkeys(run)
        room = self._host.room(kept)
        if wanted > room:  # the longest part for which there is room, and what of the rest is in host memory anyhow
            for place, way in enumerate(ways):
                room -= way >= 0
                if room < 0:
                    ways = ways[:place]
                    break
        run = keys[: len(found) + len(ways)]
        promoted = 0
        for number in range(len(self.levels)):
            mine = [key for key, way in zip(run[len(found) :], ways, strict=True) if way == number]
            if mine:
                self._promote(number, touches, mine, kept)
                promoted += len(mine)
        return self._host.run(run), promoted

    def deadline_s(self, chunks: int) -> float | None:
        """Until when a request waits that has just begun to promote ``chunks``; None = until they are there."""
        end_s = self._clock.now + self._waiting.base_s + chunks * self._waiting.chunk_s
        if end_s == inf:
            return None
        self._clock.at(end_s, REPORT, self._look_again)
        return end_s

    def _look_again(self, moment: Moment) -> None:
        assert self._replica is not None
        self._replica.look_again()

    def _nearest(self, key: Key) -> int:
        """The first level that has all of ``key``; as many as there are levels: none."""
        for number, level in enumerate(self.levels):
            chunk = level.tier.chunks.get(key)
            if chunk is not None and chunk.ready:
                return number
        return len(self.levels)

    def _promote(self, number: int, touches: Touches, keys: list[Key], kept: dict[Key, None]) -> None:
        tier, moved = self.levels[number].tier, self.moved[number]
        mine = Touches()
        below = [tier.chunks[key] for key in keys]
        tier.begin_load(mine, below)
        above = self._host.take(touches, keys, kept)
        moved.promoted += len(below)
        for chunk in below:
            moved.from_others += chunk.writer != self._writer
        self._wanted.append(Journey(self, number, mine, above, below, True))

    # -- on the way ----------------------------------------------------------------------------------------------------

    def _leave(self, journey: Journey) -> None:
        self._clock.at(self._clock.now + self.levels[journey.level].latency_s, REPLICA, self._flows, journey)

    def _flows(self, moment: Moment) -> None:
        journey: Journey = moment.value
        level = self.levels[journey.level]
        path = level.read if journey.promotes else level.write
        level.traffic.send(len(journey.below) * self._chunk_bytes, path, inf, journey)

    def arrived(self, journey: Journey) -> None:
        """All of ``journey`` is there; of a dead engine nothing comes."""
        tier = self.levels[journey.level].tier
        dead = self._replica is not None and self._replica.stopped
        if journey.promotes:
            tier.end_load(journey.below)
        elif dead:
            tier.lost(journey.below)
            self.moved[journey.level].lost += len(journey.below)
        else:
            tier.written(journey.below)
        tier.over(journey.touches)
        if not journey.promotes:
            self._storing[journey.level] = False
        if not dead:
            self._back.append(journey)
            if self._replica is not None and (journey.promotes or self._written[journey.level]):
                self._replica.look_again()
