"""Several KV cache groups over one pool: layers that see everything, a window, or keep a state.

Every group has a block table of its own for each request; all take from one free list. The rules (vLLM 0.33,
``v1/core/kv_cache_coordinator.py``, ``single_type_kv_cache_manager.py``, ``block_pool.py``):

* A sliding group of window W does not need the first ``skip(t) = max(0, t - W + 1)`` tokens when t are computed and have
  returned; before a request is given blocks, those that lie wholly below are freed, from the back. A state takes its pages
  once and never grows.
* At admission the whole prompt must fit; of a window at most ``ceil((W - 1 + tokens in flight) / B) + 1`` blocks count.
* A hit is the longest prefix that every group has: full groups from block 0 on, a sliding one from the right the first
  ``ceil((W - 1) / B)`` blocks in a row, what lies below staying a hole. Groups of one window are looked up together. Where
  a kind alone had more, that length is the request's *junction*.
* A sliding group keeps findable, with retention R = None, every block; else the ``ceil((W - 1) / B)`` blocks that end at or
  below the last prompt token, at the junction, and (R > 0) at the end of each R tokens. Others are freed without a hash.
* Where the last block of a hit is dropped, a window needs one more in a row, each kind searches one further and drops once
  for a length, and what is kept ends at both borders of the prompt's last block and one block behind the junction.

``GroupedBlockPool`` is the scheduler's named point for it: with one group of full attention there is none. Blocks without a
hash are counts, hashed ones objects; the free list is a counter and the hashed blocks in order of release.

Not modelled: prefix hits of models with states (they are simulated without), chunked local attention, windows shorter than
the longest block (``CacheLayout.simulated``: one group stands for all then).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from sim.engine.block_pool import NO_MATCH, Match
from sim.engine.block_tables import CachedBlock, Hit, Holding
from sim.engine.content_nodes import ContentNode
from sim.engine.prefix_cache import PrefixBlockPool, block_keys
from sim.engine.request import EngineRequest
from sim.perf.kv_groups import CacheGroup
from sim.spec import EngineSpec


class GroupedBlockPool(PrefixBlockPool):
    """KV blocks of several groups.

    Args:
        num_gpu_blocks: blocks of the shared pool as vLLM reports them; one is reserved.
        engine: resolved options.
        groups: the model's groups; all with tokens have ``engine.block_size``.
        retention: R of the module's head, tokens.
    """

    def __init__(
        self, num_gpu_blocks: int, engine: EngineSpec, groups: Sequence[CacheGroup], retention: int | None = 0
    ) -> None:
        super().__init__(num_gpu_blocks, engine.block_size, _never)
        assert engine.max_model_len is not None and engine.max_num_batched_tokens is not None
        self.caching = engine.enable_prefix_caching
        self._retention = retention
        self._lag = int(engine.async_scheduling)
        """Tokens of a decoding request that are in flight when its next step is composed."""
        self._max_model_len = engine.max_model_len
        in_flight = engine.max_num_batched_tokens * (2 if engine.async_scheduling else 1)
        self._count = len(groups)
        self._windows = [group.window if group.kind == "sliding" else 0 for group in groups]
        self._pages = [group.pages if group.kind == "state" else 0 for group in groups]
        self.reads_ahead, self.drops_last = block_keys(engine)
        self._row = [-(-(window - 1) // self.block_size) + int(self.drops_last) for window in self._windows]
        """Of a window: blocks that a hit needs in a row."""
        self._caps = [
            -(-min(window - 1 + in_flight, self._max_model_len) // self.block_size) + 1 if window else 0
            for window in self._windows
        ]
        kinds: dict[int, list[int]] = {}
        for group, window in enumerate(self._windows):
            kinds.setdefault(window, []).append(group)
        self._kinds = [kinds[window] for window in sorted(kinds)]
        """Groups looked up together, full attention first."""
        self._table: list[dict[tuple[ContentNode, int], list[CachedBlock]]] = [{} for _ in groups]
        self._released: OrderedDict[CachedBlock, None] = OrderedDict()
        """Free hashed blocks, the next to be evicted first."""
        self._holdings: dict[EngineRequest, Holding] = {}
        self._no_hit = Hit(self._count)
        self._hit = self._no_hit
        """Of the latest look-up."""

    # -- sizes ---------------------------------------------------------------------------------------------------------

    def _blocks(self, group: int, tokens: int, capped: bool) -> int:
        pages = self._pages[group]
        if pages:
            return pages
        blocks = -(-tokens // self.block_size)
        cap = self._caps[group]
        return cap if capped and 0 < cap < blocks else blocks

    def at_most(self, tokens: int) -> int:
        """Blocks that a request of ``tokens`` holds at the most."""
        return sum([self._blocks(group, tokens, True) for group in range(self._count)])

    def _skipped(self, group: int, tokens: int) -> int:
        window = self._windows[group]
        return max(0, tokens - window + 1) // self.block_size if window else 0

    # -- look-up -------------------------------------------------------------------------------------------------------

    def match(self, request: EngineRequest) -> tuple[Match, int, int]:
        """The hit, kept until ``seat``; only its blocks are told."""
        limit = max(0, (request.target - max(1, self.reads_ahead)) // self.block_size)
        nodes = self._nodes(request, 0, limit)
        spans = [(0, 0)] * len(self._kinds)
        length, longest = limit, 0
        looked, dropped = set[int](), set[int]()
        while length:
            before = length
            for kind, groups in enumerate(self._kinds):
                if kind in looked and not self._windows[groups[0]]:
                    spans[kind] = 0, length  # what is shorter is there as well
                    continue
                looked.add(kind)
                drops = self.drops_last and kind not in dropped
                first, end = self._span(groups, nodes, min(length + drops, limit), drops)
                spans[kind] = first, max(0, end - drops)
                if drops:
                    dropped.add(kind)
                elif end < length:
                    dropped.clear()
                length = spans[kind][1]
                longest = max(longest, length)
            if length == before or len(spans) == 1 or (len(spans) == 2 and not self._windows[self._kinds[0][0]]):
                break
        hit = self._hit = Hit(self._count)
        hit.blocks = length
        hit.junction = longest * self.block_size if longest > length else 0
        for kind, groups in enumerate(self._kinds):
            for group in groups:
                first = max(spans[kind][0], self._skipped(group, length * self.block_size)) if length else 0
                hit.first[group] = first
                for index in range(first, length):
                    block = self._table[group][nodes[index], index][0]
                    hit.found[group].append(block)
                    hit.free += not block.refs
        return NO_MATCH[0], length, hit.free

    def _nodes(self, request: EngineRequest, start: int, stop: int) -> list[ContentNode]:
        """Where the last token that the key of each of the blocks [start, stop) covers belongs."""
        path = self._path(request)
        segment, last = 0, len(path) - 1
        nodes = []
        for index in range(start, stop):
            end = (index + 1) * self.block_size + self.reads_ahead
            while segment < last and path[segment][1] < end:
                segment += 1
            nodes.append(path[segment][0])
        return nodes

    def _span(self, groups: list[int], nodes: list[ContentNode], length: int, drops: bool) -> tuple[int, int]:
        """First and end block of the longest hit of one kind within ``length`` blocks, one of which ``drops``."""
        tables = [self._table[group] for group in groups]
        if not self._windows[groups[0]]:
            for index in range(length):
                for table in tables:
                    if (nodes[index], index) not in table:
                        return 0, index
            return 0, length
        wanted = self._row[groups[0]] - (self.drops_last and not drops)
        row = 0
        for index in range(length - 1, -1, -1):
            row += 1
            for table in tables:
                if (nodes[index], index) not in table:
                    row = 0
                    break
            if row and row >= wanted:
                return index, index + row
        return 0, row

    # -- allocation ----------------------------------------------------------------------------------------------------

    def seat(self, request: EngineRequest, tokens: int, watermark: int, whole: bool, step: int) -> bool:
        """Adopt the hit of a waiting request, whose look-up was the latest, and allocate up to ``tokens`` in step number
        ``step``; False where these blocks, or (``whole``) those of its prompt, are not there."""
        room = self.free - self._hit.free - watermark
        if self._new(tokens, False) > room:
            return False
        if whole and self._new(min(request.target, self._max_model_len), True) > room:
            return False
        self._adopt(request)
        self._grow(request, tokens, tokens - self._hit.blocks * self.block_size, step)
        self._hit = self._no_hit
        return True

    def _new(self, tokens: int, capped: bool) -> int:
        hit = self._hit.blocks
        return sum([max(0, self._blocks(group, tokens, capped) - hit) for group in range(self._count)])

    def _adopt(self, request: EngineRequest) -> None:
        hit = self._hit
        holding = self._holdings[request] = Holding(self._count, hit.junction)
        holding.registered = hit.blocks
        for group in range(self._count):
            holding.first[group] = hit.first[group]
            holding.end[group] = hit.blocks
            for block in hit.found[group]:
                if not block.refs:
                    del self._released[block]
                    self.free -= 1
                block.refs += 1
                holding.hashed[group][block.index] = block

    def need(self, request: EngineRequest, before: int, n: int, returned: int) -> int:
        """Free what lies behind the windows of a running request that stands at ``before``; blocks it then lacks for ``n``
        tokens more. Steps up to ``returned`` have returned."""
        holding = self._holdings[request]
        return self.lacking(request, before - holding.given if holding.step > returned else before, before + n)

    def lacking(self, request: EngineRequest, settled: int, slots: int) -> int:
        """The same where ``settled`` tokens have returned and ``slots`` are wanted in all."""
        holding = self._holdings[request]
        self._leave(holding, max(0, settled))
        return sum([max(0, self._blocks(g, slots, False) - holding.end[g]) for g in range(self._count)])

    def serve(self, request: EngineRequest, tokens: int, n: int, step: int, unnamed: int) -> None:
        """Allocate up to ``tokens``, ``n`` of them computed in step number ``step`` (the caller checked that they fit); all
        but ``unnamed``, which have not returned, get findable."""
        self._grow(request, tokens, n, step)
        self.register(request, tokens - unnamed)

    def _grow(self, request: EngineRequest, tokens: int, n: int, step: int) -> None:
        holding = self._holdings[request]
        holding.given = n
        holding.step = step
        self.grow(request, tokens)

    def grow(self, request: EngineRequest, tokens: int) -> None:
        """Allocate up to ``tokens`` in each group; the caller checked that they fit."""
        holding = self._holdings[request]
        for group in range(self._count):
            more = self._blocks(group, tokens, False) - holding.end[group]
            if more > 0:
                holding.end[group] += more
                self.take(more)

    def take(self, blocks: int) -> None:
        """See ``PrefixBlockPool``."""
        self.free -= blocks
        unhashed = min(blocks, self.unhashed)
        self.unhashed -= unhashed
        for _ in range(blocks - unhashed):
            block, _none = self._released.popitem(last=False)
            key = block.node, block.index
            copies = self._table[block.group][key]
            copies.remove(block)
            if not copies:
                del self._table[block.group][key]
            block.node.unpin()

    def _leave(self, holding: Holding, tokens: int) -> None:
        """Free the blocks that lie behind the windows once ``tokens`` are computed."""
        for group, window in enumerate(self._windows):
            if window:
                first = self._skipped(group, tokens)
                if first > holding.first[group]:
                    self._free_blocks(holding, group, holding.first[group], first)
                    holding.first[group] = first

    def _free_blocks(self, holding: Holding, group: int, first: int, end: int) -> None:
        hashed = holding.hashed[group]
        kept = 0
        if hashed:
            for index in range(end - 1, first - 1, -1):
                block = hashed.pop(index, None)
                if block is not None:
                    kept += 1
                    block.refs -= 1
                    if not block.refs:
                        self._released[block] = None
                        self.free += 1
        self.unhashed += end - first - kept
        self.free += end - first - kept

    def release(self, request: EngineRequest, held_blocks: int) -> None:
        """See ``PrefixBlockPool``; what is held is known here."""
        holding = self._holdings.pop(request)
        for group in range(self._count):
            self._free_blocks(holding, group, holding.first[group], holding.end[group])

    # -- runs of decode-only steps -------------------------------------------------------------------------------------

    def follows(self, request: EngineRequest) -> bool:
        """See ``PrefixBlockPool``: blocks that leave a window may let the head in at any step."""
        return True

    def steps_within(self, running: Iterable[EngineRequest], tick: int, limit: int) -> int:
        """Steps, up to ``limit``, that surely find blocks for all of ``running`` that decode, in any order; the first is
        at ``tick``. A block that leaves a window counts from the step after, and not at all where it may be shared."""
        size = self.block_size
        adds, drops = [0] * size, [0] * size
        starts: dict[int, int] = {}
        growing = self._pages.count(0)
        for request in running:
            if not request.decoding:
                continue
            position = request.offset + tick
            adds[-position % size] += growing
            holding = self._holdings[request]
            for group, window in enumerate(self._windows):
                if window:
                    first = (holding.first[group] + 1) * size + window - 1 + self._lag - position
                    if first < 0:
                        return 0  # a chunk has just returned: several blocks leave at once
                    if not holding.hashed[group]:
                        starts[first] = starts.get(first, 0) + 1
        free = self.free
        for step in range(limit):
            place = step % size
            if adds[place] > free:
                return step
            drops[place] += starts.get(step, 0)
            free += drops[place] - adds[place]
        return limit

    def run(self, running: Iterable[EngineRequest], tick: int, steps: int, number: int) -> None:
        """Book ``steps`` decode-only steps from the one at ``tick`` on, the last of them ``number``: only requests at whose
        position a block begins or leaves a window are touched, in the scheduler's order."""
        size, lag = self.block_size, self._lag
        events: list[list[EngineRequest]] = [[] for _ in range(size)]
        decoding = [request for request in running if request.decoding]
        for request in decoding:
            position = request.offset + tick
            for place in {-position % size, *((lag + window - 1 - position) % size for window in self._windows if window)}:
                events[place].append(request)
        for step in range(steps):
            for request in events[step % size]:
                position = request.offset + tick + step
                self.register(request, position - lag)
                self._leave(self._holdings[request], position - lag)
                self._grow(request, position + 1, 1, number)
        for request in decoding:
            self.register(request, request.offset + tick + steps - lag)
            holding = self._holdings[request]
            holding.given = 1
            holding.step = number

    # -- what stays findable -------------------------------------------------------------------------------------------

    def register(self, request: EngineRequest, tokens: int) -> None:
        """See ``PrefixBlockPool``."""
        holding = self._holdings[request]
        named = request.prompt_len + request.sampled - self.reads_ahead if self.reads_ahead else tokens
        start, full = holding.registered, min(tokens, named) // self.block_size
        if not self.caching or full <= start:
            return
        holding.registered = full
        for index, node in enumerate(self._nodes(request, start, full), start):
            for group, window in enumerate(self._windows):
                if index < holding.first[group] or (window and not self._kept(request, holding, self._row[group], index)):
                    continue
                block = holding.hashed[group][index] = CachedBlock(group, node, index)
                self._table[group].setdefault((node, index), []).append(block)
                node.pins += 1

    def _kept(self, request: EngineRequest, holding: Holding, row: int, index: int) -> bool:
        """Whether a sliding group that needs ``row`` blocks for a hit keeps block ``index`` findable."""
        if self._retention is None:
            return True
        size = self.block_size
        last, junction, drops = request.prompt_len - 1, holding.junction, int(self.drops_last)
        borders = [last // size, (last + drops) // size, junction // size + drops if junction else 0]
        if self._retention:
            borders.append((index * size // self._retention + 1) * self._retention // size)
        return any(border - row <= index < border for border in borders)

    def clear(self) -> None:
        """See ``PrefixBlockPool``."""
        super().clear()
        self._table = [{} for _ in self._table]
        self._released.clear()

    def cached_free(self) -> int:
        """See ``PrefixBlockPool``."""
        return len(self._released)

    # -- for checks and recordings -------------------------------------------------------------------------------------

    def held(self, request: EngineRequest) -> list[int]:
        """Blocks of ``request`` in each group."""
        holding = self._holdings[request]
        return [end - first for first, end in zip(holding.first, holding.end, strict=True)]

    def referenced(self) -> int:
        """Blocks that somebody holds, each counted once; O(blocks)."""
        hashed: set[CachedBlock] = set()
        others = 0
        for request, holding in self._holdings.items():
            others += sum(self.held(request))
            for blocks in holding.hashed:
                others -= len(blocks)
                hashed.update(blocks.values())
        return others + len(hashed)


def _never(writer: EngineRequest, reader: EngineRequest) -> int:
    raise AssertionError("registration is at each step here")
