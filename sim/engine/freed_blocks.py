"""Which physical blocks of finished requests are handed out again, while somebody may still read them.

A block with a hash lies in the free list as part of a ``Run``, which knows its readers. Blocks without one are
interchangeable counts everywhere but here: at the head of the free list they are a stack, on which a request's blocks lie
with its last one uppermost."""

from __future__ import annotations

from sim.engine.request import EngineRequest


class Handed:
    """Blocks [first, end) that ``former`` left were handed out, the last one first: to ``taker`` as its blocks from
    ``place`` on, where an admission took them."""

    __slots__ = ("end", "first", "former", "place", "taker")

    def __init__(self, former: EngineRequest, first: int, end: int, taker: EngineRequest | None, place: int) -> None:
        self.former = former
        self.first = first
        self.end = end
        self.taker = taker
        self.place = place


class FreedBlocks:
    """The head of a pool's free list, with the identity of what requests left."""

    def __init__(self) -> None:
        self._stack: list[tuple[EngineRequest, int, int]] = []
        """``(request, first, end)``: its blocks, the last one on top; below all lie blocks of nobody."""
        self.handed: list[Handed] = []
        """What was handed out since the last look."""
        self._taker: EngineRequest | None = None
        self._place = 0

    def freed(self, request: EngineRequest, first: int, end: int) -> None:
        """``request`` left its blocks [first, end), which have no hash."""
        if end > first:
            self._stack.append((request, first, end))

    def takes(self, taker: EngineRequest | None, place: int) -> None:
        """From now on ``taker`` takes, its blocks from ``place`` on; None = whoever runs, unknown in what order."""
        self._taker = taker
        self._place = place

    def hand_out(self, readers: list[EngineRequest] | None, first: int, end: int) -> None:
        """Blocks [first, end) that ``readers`` left are found, or about to be handed out (``pass_on`` then)."""
        for former in readers or ():
            self.handed.append(Handed(former, first, end, self._taker, self._place))

    def pass_on(self, blocks: int) -> None:
        """The one who takes has got ``blocks``."""
        self._place += blocks

    def taken(self, blocks: int) -> None:
        """``blocks`` without a hash were handed out."""
        stack = self._stack
        while blocks > 0 and stack:
            request, low, end = stack.pop()
            first = max(low, end - blocks)
            self.handed.append(Handed(request, first, end, self._taker, self._place))
            self._place += end - first
            blocks -= end - first
            if first > low:
                stack.append((request, low, first))
        self._place += blocks
