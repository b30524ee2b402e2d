"""The paged KV cache without prefix caching: only counts matter.

Blocks are interchangeable, so the pool is two integers. ``PrefixBlockPool`` has the same interface and keeps identity.
Source of the rules: vLLM 0.33 ``v1/core/block_pool.py``; of the blocks vLLM reports, one is reserved.
"""

from __future__ import annotations

from sim.engine.freed_blocks import FreedBlocks
from sim.engine.request import EngineRequest

Match = list[tuple[object, int, int]]
"""Pieces of a prefix hit: ``(run, first block, end block)``."""

NO_MATCH: tuple[Match, int, int] = ([], 0, 0)


class CountingBlockPool:
    """KV blocks as a counter; nothing is ever found again."""

    caching = False

    def __init__(self, num_gpu_blocks: int, block_size: int) -> None:
        self.block_size = block_size
        self.usable = num_gpu_blocks - 1
        self.free = self.usable
        self.freed: FreedBlocks | None = None
        """Who wants to know which blocks of finished requests are handed out; None = nobody."""

    def match(self, request: EngineRequest) -> tuple[Match, int, int]:
        """Longest cached prefix: its pieces, its blocks, and how many of them are free now. Here: none."""
        return NO_MATCH

    def follows(self, request: EngineRequest) -> bool:
        """Whether the request's hit may grow while it waits and others only decode. Here: never."""
        return False

    def admit(self, request: EngineRequest, pieces: Match, new_blocks: int) -> None:
        """Give an admitted request its hit blocks and ``new_blocks`` fresh ones (the caller checked that they exist)."""
        self.free -= new_blocks
        if self.freed is not None:
            self.freed.taken(new_blocks)

    def take(self, blocks: int) -> None:
        """Allocate ``blocks`` from the head of the free list."""
        self.free -= blocks
        if self.freed is not None:
            self.freed.taken(blocks)

    def register(self, request: EngineRequest, tokens: int) -> None:
        """Make the full blocks below ``tokens`` findable. Here: nothing to do."""

    def release(self, request: EngineRequest, held_blocks: int) -> None:
        """Free everything a request holds."""
        self.free += held_blocks
        if self.freed is not None:
            self.freed.freed(request, 0, held_blocks)

    def clear(self) -> None:
        """Forget what is cached; nobody holds a block. Here: nothing to do."""
