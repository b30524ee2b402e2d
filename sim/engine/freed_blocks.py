"""Which physical blocks of finished requests are handed out again, while somebody may still read them.

A block with a hash lies in the free list as part of a ``Run``, which knows its readers. Blocks without one are
interchangeable counts everywhere but here: at the head of the free list they are a stack, on which a request's blocks lie
with its last one uppermost."""

from __future__ import annotations

from sim.engine.request import EngineRequest


class FreedBlocks:
    """The head of a pool's free list, with the identity of what requests left."""

    def __init__(self) -> None:
        self._stack: list[tuple[EngineRequest, int, int]] = []
        """``(request, first, end)``: its blocks, the last one on top; below all lie blocks of nobody."""
        self.handed: list[tuple[EngineRequest, int, int]] = []
        """``(request, first, end)``: its former blocks that were handed out since the last look."""

    def freed(self, request: EngineRequest, first: int, end: int) -> None:
        """``request`` left its blocks [first, end), which have no hash."""
        if end > first:
            self._stack.append((request, first, end))

    def taken(self, blocks: int) -> None:
        """``blocks`` were handed out."""
        stack = self._stack
        while blocks > 0 and stack:
            request, low, end = stack.pop()
            first = max(low, end - blocks)
            self.handed.append((request, first, end))
            blocks -= end - first
            if first > low:
                stack.append((request, low, first))
