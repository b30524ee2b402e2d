"""Which physical blocks of finished requests are handed out again, while somebody may still read them.

With prefix caching a block with contents lies in the free list as part of a ``Run``, which knows its readers. Without,
blocks are interchangeable counts everywhere but here: the free list is a stack, on which a request's blocks lie with its
last one uppermost."""

from __future__ import annotations

from sim.engine.request import EngineRequest


class FreedBlocks:
    """The free list of a pool that only counts, with the identity of what finished requests left."""

    def __init__(self) -> None:
        self._stack: list[tuple[EngineRequest, int]] = []
        """``(request, blocks)``: its blocks [0, blocks), the last one on top; below all lie blocks of nobody."""
        self.handed: list[tuple[EngineRequest, int, int]] = []
        """``(request, first, end)``: its former blocks that were handed out since the last look."""

    def freed(self, request: EngineRequest, blocks: int) -> None:
        """``request`` left ``blocks`` blocks."""
        if blocks:
            self._stack.append((request, blocks))

    def taken(self, blocks: int) -> None:
        """``blocks`` were handed out."""
        stack = self._stack
        while blocks > 0 and stack:
            request, end = stack.pop()
            first = max(0, end - blocks)
            self.handed.append((request, first, end))
            blocks -= end - first
            if first:
                stack.append((request, first))
