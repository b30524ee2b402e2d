"""The paged KV cache with prefix caching: vLLM's blocks, hashes and free list, held as runs instead of blocks.

The rules (vLLM 0.33, ``v1/core/block_pool.py`` and ``single_type_kv_cache_manager.py``):

* Only full blocks are hashed; a block's hash covers everything before it, so equal hash = equal prefix.
* A look-up takes the longest unbroken run of registered blocks from block 0, over at most ``(tokens - 1) // B`` blocks;
  of several blocks with one hash, the first registered that is still there. Nothing is ever de-duplicated.
* Freeing walks a request's blocks from last to first: without a hash to the head of the free list, with one to its tail.
  Allocation takes from the head; taking a hashed block evicts it. A hit on a free block pulls it out of the list.

What is clever here, once: *blocks that are allocated, hashed and freed together are one ``Run``*, an interval of one
``ContentNode``. Contents form a tree of named segments; block i of a request belongs to the node that holds its last token,
so (node, i) identifies its hash. Since a request frees its blocks deepest first, a free run lies in the list with its
deepest block nearest the head; eviction therefore shortens a run from its deep end, a hit takes its shallow end, and what
is left is always an interval in its old place. Unhashed free blocks are interchangeable and always at the head: a counter.

Where drafting layers read the token behind a block (``reads_ahead`` tokens), that block's key covers those tokens too: it
belongs to the node of the last of them and exists once they do. Without such keys the last block of every hit is computed
again (``drops_last``). An adapter is part of every key.

Registration is eager for prompts. Generated tokens are registered when the request lets go of its blocks, or earlier when
somebody looks up or registers the same contents (``ContentNode.writer``): then as far as the scheduler says they are.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.engine.block_pool import CountingBlockPool, Match
from sim.engine.content_nodes import ContentNode, Run, path_from
from sim.engine.freed_blocks import FreedBlocks
from sim.engine.request import EngineRequest
from sim.spec import EngineSpec


class PrefixBlockPool:
    """KV blocks with identity. Same interface as ``CountingBlockPool``."""

    caching = True

    def __init__(
        self,
        num_gpu_blocks: int,
        block_size: int,
        findable: Callable[[EngineRequest, EngineRequest], int],
    ) -> None:
        self.block_size = block_size
        self.findable = findable
        """``findable(writer, reader)``: tokens of a live request whose full blocks another one can find now."""
        self.usable = num_gpu_blocks - 1
        self.freed: FreedBlocks | None = None
        """See ``CountingBlockPool``."""
        self.unhashed = self.usable
        """Free blocks without a hash: the head of the free list."""
        self.free = self.usable
        """Free blocks, cached but unreferenced ones included."""
        self.reads_ahead = 0
        """Tokens behind a block that its key covers."""
        self.drops_last = False
        """The last block of a hit is not used."""
        self._root = ContentNode(None, (0, ""), 0)
        self._root.pins = 1
        self._list = Run(self._root, 0, 0)
        """Ring of free hashed runs: ``after`` is the next to be evicted, ``before`` the most recently released."""

    # -- the tree of contents ------------------------------------------------------------------------------------------

    def _path(self, request: EngineRequest) -> list[tuple[ContentNode, int]]:
        """``(node, end)`` for each segment of prompt and answer; the answer is the last one and grows."""
        path = request.path
        if path is None and request.content is None:
            if request.output_name is None:
                node = ContentNode(None, (0, ""), 0)  # nobody else will ever ask for it
            else:  # other attempts at the same prompt will, which is all that its answer can be part of
                node = self._root.child((0, (request.request_id,)))
                node.pins += 1
            node.writer = request
            path = request.path = [(node, request.prompt_len)]
        if path is None:
            path = request.path = path_from(self._root, request)
            path[-1][0].writer = request
        return path

    def match(self, request: EngineRequest) -> tuple[Match, int, int]:
        """Longest cached prefix of prompt and answer: its pieces, its blocks, and how many of them are free now."""
        block_size, ahead = self.block_size, self.reads_ahead
        limit = (request.target - 1) // block_size
        path = self._path(request)
        pieces: Match = []
        position = free = 0
        for node, end in path:
            if node is path[-1][0]:
                end = request.target
            if node.writer is not None and node.writer is not request:
                self._catch_up(node.writer, request)
            stop = min((end - ahead) // block_size, limit)
            while position < stop:
                found = None
                piece_end = stop
                for run in node.runs:
                    if run.lo <= position < run.hi:
                        found = run
                        piece_end = min(piece_end, run.hi)
                        break
                    if position < run.lo < piece_end:
                        piece_end = run.lo  # an earlier registration takes over there
                if found is None:
                    return self._without_last(pieces, position, free) if self.drops_last else (pieces, position, free)
                pieces.append((found, position, piece_end))
                if not found.owners:
                    free += piece_end - position
                position = piece_end
            if position >= limit:
                break
        return self._without_last(pieces, position, free) if self.drops_last else (pieces, position, free)

    @staticmethod
    def _without_last(pieces: Match, blocks: int, free: int) -> tuple[Match, int, int]:
        """A hit without its last block."""
        if not pieces:
            return pieces, blocks, free
        run, low, high = pieces.pop()
        assert isinstance(run, Run)
        if high - low > 1:
            pieces.append((run, low, high - 1))
        return pieces, blocks - 1, free - (not run.owners)

    def follows(self, request: EngineRequest) -> bool:
        """Whether the prompt contains an answer that is still being written: its hit may grow at any step."""
        return any(node.writer is not None and node.writer is not request for node, _ in self._path(request))

    def _catch_up(self, writer: EngineRequest, reader: EngineRequest) -> None:
        if writer.running:
            self.register(writer, self.findable(writer, reader))

    # -- allocation ----------------------------------------------------------------------------------------------------

    def admit(self, request: EngineRequest, pieces: Match, new_blocks: int) -> None:
        """Touch the hit ``pieces`` and allocate ``new_blocks`` (the caller checked that both can be had)."""
        request.runs = []
        request.registered = 0
        for run, lo, hi in pieces:
            assert isinstance(run, Run)
            if run.lo < lo:
                run = self._split(run, lo)
            if run.hi > hi:
                self._split(run, hi)
            if self.freed is not None:
                self.freed.hand_out(run.readers, lo, hi)
            if not run.owners:
                self._unlink(run)
                self.free -= hi - lo
            run.owners.add(request)
            request.runs.append(run)
            request.registered = hi
        if self.freed is None:
            self.take(new_blocks)
            return
        self.freed.takes(request, request.registered)
        self.take(new_blocks)
        self.freed.takes(None, 0)

    def take(self, blocks: int) -> None:
        """Allocate from the head of the free list: unhashed blocks first, then the least recently released."""
        self.free -= blocks
        if self.freed is not None:
            self.freed.taken(min(blocks, self.unhashed))
        if blocks <= self.unhashed:
            self.unhashed -= blocks
            return
        blocks -= self.unhashed
        self.unhashed = 0
        while blocks:
            run = self._list.after
            size = run.hi - run.lo
            if self.freed is not None:
                self.freed.hand_out(run.readers, max(run.lo, run.hi - blocks), run.hi)
                self.freed.pass_on(size)
            if size > blocks:
                run.hi -= blocks
                return
            blocks -= size
            self._unlink(run)
            run.node.runs.remove(run)
            run.node.unpin()

    def register(self, request: EngineRequest, tokens: int) -> None:
        """Make the full blocks below ``tokens`` findable."""
        block_size, ahead = self.block_size, self.reads_ahead
        full = tokens // block_size
        if ahead:
            full = min(full, (request.prompt_len + request.sampled - ahead) // block_size)
        position = request.registered
        if full <= position:
            return
        path = self._path(request)
        last = len(path) - 1
        for index, (node, end) in enumerate(path):
            stop = full if index == last else min((end - ahead) // block_size, full)
            if stop <= position:
                continue
            if node.writer is not None and node.writer is not request:
                self._catch_up(node.writer, request)
            run: Run | None = request.runs[-1] if request.runs else None
            own = run is not None and run.node is node and run.hi == position and len(run.owners) == 1
            if run is not None and own and node.runs[-1] is run and run.readers is None:
                run.hi = stop
            else:
                run = Run(node, position, stop)
                run.owners.add(request)
                node.runs.append(run)
                node.pins += 1
                request.runs.append(run)
            position = stop
            if position >= full:
                break
        request.registered = position

    def release(self, request: EngineRequest, held_blocks: int) -> None:
        """Free what a request holds: unhashed blocks to the head, hashed runs to the tail, deepest first."""
        unhashed = held_blocks - request.registered
        self.unhashed += unhashed
        self.free += unhashed
        if self.freed is not None:
            self.freed.freed(request, request.registered, held_blocks)
        runs: list[Run] = request.runs
        for run in reversed(runs):
            run.owners.discard(request)
            if not run.owners and run.lost:
                self.free += run.hi - run.lo
                self.unhashed += run.hi - run.lo
            elif not run.owners:
                self.free += run.hi - run.lo
                tail = self._list.before
                run.before, run.after = tail, self._list
                tail.after = self._list.before = run
        request.runs = []
        request.registered = 0

    def runs_from(self, request: EngineRequest, block: int) -> list[Run]:
        """Runs of ``request`` from block ``block`` on, cut there."""
        found = []
        for run in list(request.runs):
            if run.hi > block:
                found.append(self._split(run, block) if run.lo < block else run)
        return found

    def disown(self, request: EngineRequest, block: int) -> int:
        """What ``request`` holds from block ``block`` on is worth nothing: nobody finds it any more. Returns how many of
        these blocks others still hold; they are no longer among its own."""
        shared = 0
        for run in self.runs_from(request, block):
            request.runs.remove(run)
            run.owners.discard(request)
            if not run.lost:
                run.lost = True
                run.node.runs.remove(run)
                run.node.unpin()
            if run.owners:
                shared += run.hi - run.lo
        request.registered = min(request.registered, block)
        return shared

    def clear(self) -> None:
        """Forget what is cached, as an engine that goes to sleep does; nobody holds a block."""
        assert self.free == self.usable
        self.unhashed = self.usable
        self._root = ContentNode(None, (0, ""), 0)
        self._root.pins = 1
        self._list = Run(self._root, 0, 0)

    def forget(self, request: EngineRequest) -> None:
        """The request will not come back: its contents live on only as far as something of them is cached."""
        if request.path is not None:
            node: ContentNode = request.path[-1][0]
            if node.writer is request:
                node.writer = None
            node.unpin()
            request.path = None

    def cached_free(self) -> int:
        """Blocks in the free list that can still be found; O(runs), for checks."""
        total, run = 0, self._list.after
        while run is not self._list:
            total += run.hi - run.lo
            run = run.after
        return total

    # -- runs ----------------------------------------------------------------------------------------------------------

    def _unlink(self, run: Run) -> None:
        run.before.after = run.after
        run.after.before = run.before

    def _split(self, run: Run, at: int) -> Run:
        """Cut ``run`` at block ``at``; returns the deep part. Owners, registration order and list place are kept."""
        deep = Run(run.node, at, run.hi)
        deep.readers = run.readers
        run.hi = at
        deep.lost = run.lost
        if not run.lost:
            runs = run.node.runs
            runs.insert(runs.index(run) + 1, deep)
            run.node.pins += 1
        if run.owners:
            deep.owners = set(run.owners)
            for owner in run.owners:
                owner.runs.insert(owner.runs.index(run) + 1, deep)
        else:
            deep.before, deep.after = run.before, run
            run.before.after = run.before = deep
        return deep


def pool_of(
    engine: EngineSpec, num_gpu_blocks: int, findable: Callable[[EngineRequest, EngineRequest], int]
) -> CountingBlockPool | PrefixBlockPool:
    """The pool of one group of full attention; see ``PrefixBlockPool`` for ``findable``."""
    if engine.enable_prefix_caching:
        pool = PrefixBlockPool(num_gpu_blocks, engine.block_size, findable)
        pool.reads_ahead, pool.drops_last = block_keys(engine)
        return pool
    return CountingBlockPool(num_gpu_blocks, engine.block_size)


def block_keys(engine: EngineSpec) -> tuple[int, bool]:
    """``reads_ahead`` and ``drops_last`` of the engine's pool: drafting layers that read ahead, and whether keys say so."""
    ahead = engine.speculative.prefill_lookahead() if engine.enable_prefix_caching else 0
    if not ahead:
        return 0, False
    covered = not engine.speculative.disable_lookahead_block_hashes and not engine.exchanges_kv
    return (ahead, False) if covered else (0, True)
