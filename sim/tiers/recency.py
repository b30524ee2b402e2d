"""Which blocks of a tier go first: LRU and ARC as vLLM's CPU offload has them (0.33, ``v1/kv_offload/cpu/policies``).

``LRU``
    Every block has a rank, the lowest goes first. A request has one running number, from its first store or load on; what it
    stores, and what it touches by an offer or a load and had a lower rank, gets (number, deepest first). When the request is
    over, all that it touched gets numbers of its own, the deepest the lowest.
``ARC``
    Two lists, of blocks seen once (T1) and more often (T2), and the ghosts of what went from each (B1, B2). A ghost that
    is offered moves the target of T1's length. When a request is over, what it read goes to the end of T2.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

from sim.engine.content_nodes import ContentNode

Key = tuple[ContentNode, int]
"""A chunk by its contents: the node of its last token and its place in the prompt."""


class Chunk:
    """Blocks that are stored as one in a tier: being written (not ``ready``), or read by ``loads`` at this moment."""

    __slots__ = ("key", "loads", "rank", "ready", "twice", "writer")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.ready = False
        self.loads = 0
        self.rank = (0, 0)
        self.twice = False
        """It is in T2."""
        self.writer = ""
        """Whose engine stored it, where several do."""


class Touches:
    """What one request did in a tier: its running number, and each block that it touched, and whether it read it."""

    __slots__ = ("number", "read")

    def __init__(self) -> None:
        self.number = 0
        self.read: dict[Key, bool] = {}


class Recency:
    """Order of eviction in a tier of ``capacity`` blocks."""

    def __init__(self, capacity: int, arc: bool) -> None:
        self._capacity = capacity
        self._arc = arc
        self._numbers = 0
        self._heap: list[tuple[tuple[int, int], int, Chunk]] = []
        self._pushed = 0
        self._once: OrderedDict[Key, Chunk] = OrderedDict()
        self._often: OrderedDict[Key, Chunk] = OrderedDict()
        self._ghosts_once: OrderedDict[Key, None] = OrderedDict()
        self._ghosts_often: OrderedDict[Key, None] = OrderedDict()
        self._target = 0.0

    def _rank(self, chunk: Chunk, rank: tuple[int, int]) -> None:
        chunk.rank = rank
        self._pushed += 1
        heappush(self._heap, (rank, self._pushed, chunk))

    def offered(self, touches: Touches, keys: Sequence[Key], chunks: dict[Key, Chunk]) -> None:
        """A request offers the blocks ``keys``, first to last, of which ``chunks`` are in the tier."""
        if not touches.number:
            self._numbers += 1
            touches.number = self._numbers
        for key in reversed(keys):
            chunk = chunks.get(key)
            if key in touches.read:
                continue
            if chunk is not None:
                touches.read[key] = chunk.ready
                self._touched(touches, chunk)
            elif self._arc:
                self._ghost(key)

    def loaded(self, touches: Touches, chunks: Sequence[Chunk]) -> None:
        """A request loads ``chunks``."""
        if not touches.number:
            self._numbers += 1
            touches.number = self._numbers
        for chunk in chunks:
            if chunk.key not in touches.read:
                self._touched(touches, chunk)
            touches.read[chunk.key] = True

    def _touched(self, touches: Touches, chunk: Chunk) -> None:
        rank = (touches.number, -chunk.key[1])
        if not self._arc and chunk.rank < rank:
            self._rank(chunk, rank)

    def stored(self, touches: Touches, chunk: Chunk) -> None:
        """A request stores ``chunk``, which is new."""
        touches.read.setdefault(chunk.key, False)
        if self._arc:
            for ghosts in (self._ghosts_once, self._ghosts_often):
                if chunk.key in ghosts:
                    del ghosts[chunk.key]
                    chunk.key[0].unpin()
            self._once[chunk.key] = chunk
        else:
            self._rank(chunk, (touches.number, -chunk.key[1]))

    def lost(self, chunk: Chunk) -> None:
        """``chunk`` is gone without having been chosen."""
        self._once.pop(chunk.key, None)
        self._often.pop(chunk.key, None)

    def over(self, touches: Touches, chunks: dict[Key, Chunk]) -> None:
        """The request is over."""
        for key in sorted(touches.read, key=_place, reverse=True):
            chunk = chunks.get(key)
            if chunk is None:
                continue
            if not self._arc:
                self._numbers += 1
                self._rank(chunk, (self._numbers, -key[1]))
            elif chunk.twice:
                self._often.move_to_end(key)
            elif touches.read[key]:
                del self._once[key]
                chunk.twice = True
                self._often[key] = chunk
            else:
                self._once.move_to_end(key)

    def _ghost(self, key: Key) -> None:
        once, often = len(self._ghosts_once), len(self._ghosts_often)
        if key in self._ghosts_once:
            self._target = min(self._target + max(1.0, often / once), float(self._capacity))
            self._ghosts_once.move_to_end(key)
        elif key in self._ghosts_often:
            self._target = max(self._target - max(1.0, once / often), 0.0)
            self._ghosts_often.move_to_end(key)

    # -- eviction ------------------------------------------------------------------------------------------------------

    def evict(self, count: int, kept: dict[Key, None], chunks: dict[Key, Chunk]) -> list[Chunk]:
        """Choose ``count`` of the usable ``chunks``, none of them ``kept``; they are there (the caller counted)."""
        return self._evict_arc(count, kept) if self._arc else self._evict_lru(count, kept, chunks)

    def _evict_lru(self, count: int, kept: dict[Key, None], chunks: dict[Key, Chunk]) -> list[Chunk]:
        chosen: list[Chunk] = []
        passed: list[tuple[tuple[int, int], int, Chunk]] = []
        while len(chosen) < count:
            entry = heappop(self._heap)
            chunk = entry[2]
            if chunks.get(chunk.key) is not chunk or chunk.rank != entry[0]:
                continue  # gone, or ranked again
            if chunk.ready and not chunk.loads and chunk.key not in kept:
                chosen.append(chunk)
            else:
                passed.append(entry)
        for entry in passed:
            heappush(self._heap, entry)
        return chosen

    def _evict_arc(self, count: int, kept: dict[Key, None]) -> list[Chunk]:
        once, often = iter(self._once.values()), iter(self._often.values())
        older, oldest = _next_usable(once, kept), _next_usable(often, kept)
        chosen: list[Chunk] = []
        length = len(self._once)
        while len(chosen) < count:
            if older is not None and (length >= int(self._target) or oldest is None):
                chosen.append(older)
                length -= 1
                older = _next_usable(once, kept)
            else:
                assert oldest is not None
                chosen.append(oldest)
                oldest = _next_usable(often, kept)
        for chunk in chosen:
            ghosts = self._ghosts_often if chunk.twice else self._ghosts_once
            del (self._often if chunk.twice else self._once)[chunk.key]
            ghosts[chunk.key] = None
            chunk.key[0].pins += 1  # who comes with the same contents must meet the same node
            if len(ghosts) > self._capacity:
                ghosts.popitem(last=False)[0][0].unpin()
        return chosen


def _next_usable(chunks: Iterator[Chunk], kept: dict[Key, None]) -> Chunk | None:
    for chunk in chunks:
        if chunk.ready and not chunk.loads and chunk.key not in kept:
            return chunk
    return None


def _place(key: Key) -> int:
    return key[1]
