"""The KV memory of the naive oracle: blocks are objects, keys are tuples of tokens, every group has a table with holes."""

from __future__ import annotations

from typing import Any

from tests.conformance.naive_engine import ceil_div


class Block:
    def __init__(self) -> None:
        self.key: Any = None
        self.group = 0
        self.refs = 0


Table = list[Block | None]


class NaiveMemory:
    """``ahead``: tokens that drafting layers read; ``covered``: of them, those that a block's key covers."""

    def __init__(self, options: dict[str, Any], ahead: int, covered: int) -> None:
        self.o = options
        self.size = options["block_size"]
        self.groups = options.get("kv_groups") or [{"type": "full"}]
        self.caching = options["enable_prefix_caching"]
        self.ahead, self.covered = ahead, covered
        self.drops = ahead > 0 and not covered
        self.depth = 2 if options["async_scheduling"] else 1
        self.free = [Block() for _ in range(options["num_gpu_blocks"] - 1)]
        self.table: dict[Any, list[Block]] = {}
        self.handed: list[Block] = []

    def key_of(self, r: Any, i: int) -> Any:
        end = (i + 1) * self.size + self.covered
        return (r.lora, tuple(r.tokens[:end]), i) if end <= len(r.tokens) else None

    # -- groups

    def window(self, g: int) -> int:
        return self.groups[g].get("window", 0) if self.groups[g]["type"] == "sliding" else 0

    def skip(self, g: int, t: int) -> int:
        return max(0, t - self.window(g) + 1) // self.size if self.window(g) else 0

    def blocks(self, g: int, tokens: int, capped: bool) -> int:
        if self.groups[g]["type"] == "mamba":
            return ceil_div(tokens, self.groups[g]["block_size"])
        q = ceil_div(tokens, self.size)
        if capped and self.window(g):
            flying = self.depth * self.o["max_num_batched_tokens"]
            q = min(q, ceil_div(min(self.window(g) - 1 + flying, self.o["max_model_len"]), self.size) + 1)
        return q

    # -- look-up

    def there(self, g: int, r: Any, i: int) -> bool:
        key = self.key_of(r, i)
        return key is not None and bool(self.table.get((g, key)))

    def span(self, kind: list[int], r: Any, length: int, drop: bool) -> tuple[int, int]:
        if not self.window(kind[0]):
            end = 0
            while end < length and all(self.there(g, r, end) for g in kind):
                end += 1
            return 0, max(0, end - drop)
        found = [all(self.there(g, r, i) for g in kind) for i in range(length)]
        wanted, run = ceil_div(self.window(kind[0]) - 1, self.size) + drop, 0
        for i in reversed(range(length)):
            run = run + 1 if found[i] else 0
            if run and run >= wanted:
                return i, i + run - drop
        return 0, max(0, run - drop)

    def hit(self, r: Any) -> tuple[int, list[Table], int]:
        """Blocks hit, the tables that they make, and the junction."""
        tables: list[Table] = [[] for _ in self.groups]
        if not self.caching:
            return 0, tables, 0
        kinds: dict[int, list[int]] = {}
        for g in range(len(self.groups)):
            kinds.setdefault(self.window(g), []).append(g)
        order = [kinds[w] for w in sorted(kinds)]
        limit = (len(r.tokens) - 1) // self.size
        length, longest, verified = limit, 0, set()
        spans: dict[int, tuple[int, int]] = {}
        while length:
            before = length
            for k, kind in enumerate(order):
                if k in spans and not self.window(kind[0]):
                    spans[k] = (0, length)
                    continue
                drop = self.drops and k not in verified
                spans[k] = self.span(kind, r, min(length + 1, limit) if drop else length, drop)
                if drop:
                    verified.add(k)
                elif spans[k][1] < length:
                    verified.clear()
                length = spans[k][1]
                longest = max(longest, length)
            if length >= before or len(order) == 1 or (len(order) == 2 and not self.window(order[0][0])):
                break
        for k, kind in enumerate(order):
            for g in kind:
                first = max(spans[k][0], self.skip(g, length * self.size)) if length else 0
                tables[g] = [self.table[g, self.key_of(r, i)][0] if i >= first else None for i in range(length)]
        return length, tables, longest * self.size if longest > length else 0

    # -- blocks come and go

    def allocate(self, r: Any, slots: int, hits: list[Table], watermark: int, reserve: int, admission: bool) -> bool:
        def need(tokens: int, capped: bool) -> int:
            total = 0
            for g, table in enumerate(hits):
                have = len(r.tables[g]) or len(table)
                total += max(0, self.blocks(g, tokens, capped) - have)
                total += sum(block is not None and not block.refs for block in table)
            return total

        if admission and self.o["scheduler_reserve_full_isl"]:
            whole = need(min(len(r.tokens), self.o["max_model_len"]), True)
            if whole + watermark > len(self.free):
                return False
        if not admission:
            self.leave(r, max(0, r.computed - r.in_flight))
        if need(slots, False) + watermark > len(self.free) - reserve:
            return False
        for g, table in enumerate(hits):
            for block in table:
                if block is not None:
                    if not block.refs:
                        self.free.remove(block)
                    block.refs += 1
            if table:
                r.tables[g], r.seen = list(table), len(table)
        for g in range(len(self.groups)):
            while len(r.tables[g]) < self.blocks(g, slots, False):
                r.tables[g].append(self.take())
        if admission:
            self.handed += [block for table in r.tables for block in table if block is not None]
        return True

    def take(self) -> Block:
        block = self.free.pop(0)
        self.unname(block)
        block.refs = 1
        self.handed.append(block)
        return block

    def unname(self, block: Block) -> None:
        if block.key is not None:
            self.table[block.group, block.key].remove(block)
            block.key = None

    def give(self, blocks: list[Block]) -> None:
        bare, named = [], []
        for block in blocks:
            block.refs -= 1
            assert block.refs >= 0
            if not block.refs:
                (bare if block.key is None else named).append(block)
        self.free = bare + self.free + named

    def release(self, r: Any) -> None:
        for g in range(len(self.groups)):
            self.give([block for block in reversed(r.tables[g]) if block is not None])
            r.tables[g] = []
        r.seen = 0

    def leave(self, r: Any, settled: int) -> None:
        """What has left the windows is free."""
        for g in range(len(self.groups)):
            gone = []
            for i in reversed(range(min(self.skip(g, settled), len(r.tables[g])))):
                block = r.tables[g][i]
                if block is None:
                    break
                gone.append(block)
                r.tables[g][i] = None
            self.give(gone)

    # -- names

    def register(self, r: Any, tokens: int) -> None:
        if not self.caching:
            return
        tokens = max(0, tokens - (self.ahead - 1 if self.ahead > 1 else 0))
        for i in range(r.seen, tokens // self.size):
            key = self.key_of(r, i)
            if key is None:
                break
            r.seen = i + 1
            for g in range(len(self.groups)):
                block = r.tables[g][i]
                if block is not None and (not self.window(g) or self.kept(r, g, i)):
                    block.key, block.group = key, g
                    self.table.setdefault((g, key), []).append(block)

    def kept(self, r: Any, g: int, i: int) -> bool:
        """Whether block ``i`` of a window is to be found again."""
        retention, size = self.o.get("prefix_cache_retention_interval", 0), self.size
        if retention is None:
            return True
        need = ceil_div(self.window(g) - 1, size) + self.drops
        ends = [((i * size) // retention + 1) * retention // size] if retention else []
        marks = [r.prompt_len - 1]
        if self.drops:
            marks = [(r.prompt_len - 1) // size * size - size, r.prompt_len // size * size - size]
        if r.junction:
            marks.append(r.junction)
        ends += [mark // size + self.drops for mark in marks]
        return any(end - need <= i < end for end in ends)
