"""The requests that decode, in aggregate: what makes k steps cost as much as one.

A decoding request computes exactly one token at every step, so its position is ``offset + tick`` with a constant offset
and one step counter for all. Constant per request are the offset, the tick of its last token and, modulo the block
size, the ticks at which it needs a new block. Hence

    context(tick)      = sum of offsets + n * tick                       tokens computed before the step
    new blocks at tick = number of requests with  -offset = tick (mod B)  one histogram of B counters
    first change       = smallest finish tick                            a heap

and nothing is touched per request while the set does not change.
"""

from __future__ import annotations

from heapq import heappop, heappush

from sim.engine.request import NOBODY, EngineRequest


class DecodeSet:
    """All decoding requests of one engine; ``tick`` counts the steps composed."""

    __slots__ = ("_finish", "block_size", "needs_block", "offsets", "size", "tick")

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self.tick = 0
        self.size = 0
        self.offsets = 0
        self.needs_block = [0] * block_size
        """needs_block[t % B]: how many requests need a new block in the step at tick t."""
        self._finish: list[tuple[int, int, EngineRequest]] = []

    @property
    def context(self) -> int:
        """Tokens computed so far, summed over the set."""
        return self.offsets + self.size * self.tick

    def add(self, request: EngineRequest) -> None:
        """Let ``request`` decode from the next step on; ``computed`` and ``sampled`` are up to date."""
        tick = self.tick
        offset = request.offset = request.computed - tick
        request.decoding = True
        request.finish_tick = tick + request.max_output - request.sampled
        self.size += 1
        self.offsets += offset
        self.needs_block[-offset % self.block_size] += 1
        heappush(self._finish, (request.finish_tick, request.seq, request))

    def remove(self, request: EngineRequest) -> None:
        """Take ``request`` out; its ``computed``, ``sampled`` and ``target`` become explicit again."""
        self.size -= 1
        self.offsets -= request.offset
        self.needs_block[-request.offset % self.block_size] -= 1
        request.decoding = False
        request.computed = request.offset + self.tick
        request.sampled = request.max_output - (request.finish_tick - self.tick)
        request.target = request.prompt_len + request.sampled

    def hold_back(self, request: EngineRequest) -> None:
        """``request`` was not served in the step that just advanced ``tick``: it falls one token behind."""
        self.remove(request)
        request.computed -= 1
        request.sampled -= 1
        self.add(request)

    def next_finish(self) -> int:
        """Steps until the first request samples its last token (>= 1); the set must not be empty."""
        finish = self._finish
        while True:
            tick, seq, request = finish[0]
            if request.decoding and request.finish_tick == tick and request.seq == seq:
                return tick - self.tick
            heappop(finish)

    def pop_finished(self) -> list[EngineRequest]:
        """Requests whose last token was sampled in the step that brought ``tick`` here, in order of admission."""
        finish = self._finish
        if not finish or finish[0][0] > self.tick:
            return NOBODY
        finished: list[EngineRequest] = []
        while finish and finish[0][0] <= self.tick:
            tick, seq, request = heappop(finish)
            if request.decoding and request.finish_tick == tick and request.seq == seq:
                self.remove(request)
                finished.append(request)
        return finished

    def blocks_needed(self, steps: int) -> int:
        """New blocks over the next ``steps`` steps."""
        if steps == 1:
            return self.needs_block[self.tick % self.block_size]
        cycles, rest = divmod(steps, self.block_size)
        first = self.tick % self.block_size
        needs = self.needs_block
        wrapped = first + rest - self.block_size
        part = sum(needs[first : first + rest])
        if wrapped > 0:
            part += sum(needs[:wrapped])
        return cycles * self.size + part

    def steps_within(self, blocks: int, limit: int) -> int:
        """The most steps, up to ``limit``, that need no more than ``blocks`` new blocks."""
        size = self.size
        if size * (limit // self.block_size + 1) <= blocks:
            return limit
        cycles = blocks // size
        left = blocks - cycles * size
        steps = cycles * self.block_size
        tick = self.tick
        while steps < limit:
            left -= self.needs_block[(tick + steps) % self.block_size]
            if left < 0:
                return steps
            steps += 1
        return limit
