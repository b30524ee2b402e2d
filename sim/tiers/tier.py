"""``Tier``: KV chunks behind the GPU's prefix cache, by their contents: in host memory, on a disk, in a store.

A chunk is pending while it is written, then ready; chunks that are being read, or are part of the offer that needs the room,
are not evicted. Which go first: ``sim.tiers.recency``. Source: vLLM 0.33, ``v1/kv_offload/cpu/manager.py``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from sim.tiers.recency import Chunk, Key, Recency, Touches

_COUNTED = 64_000
"""Chunks whose offers are counted at the most, the latest."""


class Tier:
    """Room for ``capacity`` chunks.

    Args:
        capacity: chunks.
        arc: ARC instead of LRU.
        store_threshold: a chunk is taken at its n-th offer; 0 and 1 = at the first.
    """

    def __init__(self, capacity: int, arc: bool, store_threshold: int) -> None:
        self.capacity = capacity
        self._threshold = store_threshold
        self._recency = Recency(capacity, arc)
        self._offers: OrderedDict[Key, int] = OrderedDict()
        self.chunks: dict[Key, Chunk] = {}
        self._usable = 0
        """Chunks that are ready and not being read."""
        self.evicted = 0
        self.refused = 0
        """Offers for which there was no room."""

    @property
    def used(self) -> int:
        """Chunks in it."""
        return len(self.chunks)

    def run(self, keys: Sequence[Key]) -> list[Chunk]:
        """The leading ``keys`` that are in the tier."""
        found: list[Chunk] = []
        for key in keys:
            chunk = self.chunks.get(key)
            if chunk is None:
                break
            found.append(chunk)
        return found

    def room(self, kept: dict[Key, None]) -> int:
        """Chunks that could be taken now without losing one of ``kept``."""
        usable = self._usable
        for key in kept:
            chunk = self.chunks.get(key)
            if chunk is not None and chunk.ready and not chunk.loads:
                usable -= 1
        return self.capacity - len(self.chunks) + usable

    def offer(self, touches: Touches, keys: Sequence[Key]) -> list[Chunk] | None:
        """A request offers the chunks ``keys``: those that are to be written now, pending from here on, or None when there
        is no room, and nothing is taken."""
        taken = keys
        if self._threshold > 1:
            for key in keys:
                self._count(key)
            taken = [key for key in keys if self._offers[key] >= self._threshold]
        kept = dict.fromkeys(taken)
        new = [key for key in taken if key not in self.chunks]
        if len(new) > self.capacity - len(self.chunks) and len(new) > self.room(kept):
            self.refused += 1
            return None
        self._recency.offered(touches, taken, self.chunks)
        return self._take(touches, new, kept)

    def take(self, touches: Touches, keys: Sequence[Key], kept: dict[Key, None]) -> list[Chunk]:
        """``keys``, none of which it has and for which there is ``room``, come from a tier below: pending from here on."""
        self._recency.offered(touches, keys, self.chunks)
        return self._take(touches, keys, kept)

    def _take(self, touches: Touches, new: Sequence[Key], kept: dict[Key, None]) -> list[Chunk]:
        lacking = len(new) - (self.capacity - len(self.chunks))
        if lacking > 0:
            for chunk in self._recency.evict(lacking, kept, self.chunks):
                del self.chunks[chunk.key]
                chunk.key[0].unpin()
                self._usable -= 1
                self.evicted += 1
        written = []
        for key in new:
            chunk = self.chunks[key] = Chunk(key)
            key[0].pins += 1
            self._recency.stored(touches, chunk)
            written.append(chunk)
        return written

    def _count(self, key: Key) -> None:
        if key not in self._offers:
            key[0].pins += 1
            if len(self._offers) == _COUNTED:
                self._offers.popitem(last=False)[0][0].unpin()
        self._offers[key] = self._offers.get(key, 0) + 1
        self._offers.move_to_end(key)

    def written(self, chunks: Sequence[Chunk]) -> None:
        """``chunks`` are there."""
        for chunk in chunks:
            chunk.ready = True
            self._usable += not chunk.loads

    def lost(self, chunks: Sequence[Chunk]) -> None:
        """``chunks``, still pending, will not come: who wrote them is dead."""
        for chunk in chunks:
            del self.chunks[chunk.key]
            self._recency.lost(chunk)
            chunk.key[0].unpin()

    def begin_load(self, touches: Touches, chunks: Sequence[Chunk]) -> None:
        """A request reads ``chunks``, which stay until ``end_load``."""
        self._recency.loaded(touches, chunks)
        self.hold(chunks)

    def hold(self, chunks: Sequence[Chunk]) -> None:
        """``chunks`` stay until ``end_load``, which makes them no younger."""
        for chunk in chunks:
            self._usable -= chunk.ready and not chunk.loads
            chunk.loads += 1

    def end_load(self, chunks: Sequence[Chunk]) -> None:
        """They have been read."""
        for chunk in chunks:
            chunk.loads -= 1
            self._usable += chunk.ready and not chunk.loads

    def over(self, touches: Touches) -> None:
        """A request is over."""
        self._recency.over(touches, self.chunks)
