"""The naive restatement of what goes beyond the plain scheduler: speculation, LoRA adapters, several cache groups.

Written from the rules alone, request by request and block by block; it shares no code with ``sim.engine``. Blocks are
objects, keys are tuples of tokens (with the tokens that drafting layers read ahead, and the adapter), every group has a
block table with holes. Rows have the recordings' form.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from tests.conformance.naive_engine import DEFAULTS


def up(a: int, b: int) -> int:
    return -(-a // b)


class Block:
    def __init__(self) -> None:
        self.key: Any = None
        self.group = 0
        self.refs = 0


class Req:
    def __init__(self, row: dict[str, Any], now: int, groups: int) -> None:
        self.id = row["id"]
        self.tokens: list[Any] = [(name, i) for name, length in row["prompt"] for i in range(length)]
        self.prompt = len(self.tokens)
        self.limit = row["output_len"]
        self.priority = row.get("priority", 0)
        self.arrival = now
        self.lora = row.get("lora") or None
        self.accept = row.get("accept", [0])
        self.draft_len = row.get("draft_len", [])
        self.computed = self.spec = self.placeholders = self.in_flight = self.stale = 0
        self.verified = self.proposed = self.preemptions = self.cached = self.junction = 0
        self.chunk = self.done = False
        self.tables: list[list[Block | None]] = [[] for _ in range(groups)]
        self.seen = 0  # leading blocks handled for the cache

    @property
    def key(self) -> tuple[int, int, str]:
        return self.priority, self.arrival, self.id


class NaiveBeyond:
    def __init__(self, case: dict[str, Any]) -> None:
        o = self.o = {**DEFAULTS, **{k: v for k, v in case["engine"].items() if v is not None}}
        if "prefix_cache_retention_interval" in case["engine"]:
            o["prefix_cache_retention_interval"] = case["engine"]["prefix_cache_retention_interval"]
        self.B = o["block_size"]
        self.groups = o.get("kv_groups") or [{"type": "full"}]
        s = o.get("speculative") or {}
        self.K = s.get("num_speculative_tokens", 0)
        method = s.get("method")
        parallel = s.get("parallel_drafting", False)
        self.L = 0 if method in (None, "ngram") else self.K
        self.S = self.PL = 0
        if self.K and method in ("eagle", "eagle3", "mtp"):
            self.PL = self.K if min(s.get("num_nextn_predict_layers", 1), self.K) > 1 else 1
            self.S = self.K - 1 if parallel else 0
        if self.K and method == "draft_model":
            self.S = self.K if parallel else 1
        caching = o["enable_prefix_caching"]
        self.HL = self.PL if caching and not s.get("disable_lookahead_block_hashes", False) else 0
        self.DROP = self.PL > 0 and self.HL == 0
        self.dynamic = s.get("num_speculative_tokens_per_batch_size")
        self.nextK = self.K
        self.free = [Block() for _ in range(o["num_gpu_blocks"] - 1)]
        self.table: dict[Any, list[Block]] = {}
        self.t = case["step_time"]
        self.running: list[Req] = []
        self.waiting: list[Req] = []
        self.depth = 2 if o["async_scheduling"] else 1
        self.executed, self.last_prefill, self.full = 0, -o["prefill_schedule_interval"], False
        self.vain = False
        self.pending = deque(dict(row) for row in case["requests"])
        self.rows: list[dict[str, Any]] = []

    # -- keys and blocks

    def key_of(self, r: Req, i: int) -> Any:
        end = (i + 1) * self.B + self.HL
        return (r.lora, tuple(r.tokens[:end]), i) if end <= len(r.tokens) else None

    def window(self, g: int) -> int:
        return self.groups[g].get("window", 0) if self.groups[g]["type"] == "sliding" else 0

    def skip(self, g: int, t: int) -> int:
        return max(0, t - self.window(g) + 1) // self.B if self.window(g) else 0

    def row_wanted(self, g: int) -> int:
        return up(self.window(g) - 1, self.B) + self.DROP

    def size(self, g: int, tokens: int, capped: bool) -> int:
        if self.groups[g]["type"] == "mamba":
            return up(tokens, self.groups[g]["block_size"])
        q = up(tokens, self.B)
        if capped and self.window(g):
            flying = self.depth * self.o["max_num_batched_tokens"]
            q = min(q, up(min(self.window(g) - 1 + flying, self.o["max_model_len"]), self.B) + 1)
        return q

    def there(self, g: int, r: Req, i: int) -> bool:
        key = self.key_of(r, i)
        return key is not None and bool(self.table.get((g, key)))

    def span(self, kind: list[int], r: Req, length: int, drop: bool) -> tuple[int, int]:
        found = [all(self.there(g, r, i) for g in kind) for i in range(length)]
        if not self.window(kind[0]):
            end = found.index(False) if False in found else length
            return 0, max(0, end - drop)
        wanted, run = up(self.window(kind[0]) - 1, self.B) + drop, 0
        for i in reversed(range(length)):
            run = run + 1 if found[i] else 0
            if run and run >= wanted:
                return i, i + run - drop
        return 0, max(0, run - drop)

    def hit(self, r: Req) -> tuple[int, list[list[Block | None]], int]:
        """Blocks hit, the tables that they make, and the junction."""
        none: list[list[Block | None]] = [[] for _ in self.groups]
        if not self.o["enable_prefix_caching"]:
            return 0, none, 0
        kinds: dict[int, list[int]] = {}
        for g in range(len(self.groups)):
            kinds.setdefault(self.window(g), []).append(g)
        order = [kinds[w] for w in sorted(kinds)]
        limit = (len(r.tokens) - 1) // self.B
        length, longest, verified = limit, 0, set()
        spans: dict[int, tuple[int, int]] = {}
        while length:
            before = length
            for k, kind in enumerate(order):
                if k in spans and not self.window(kind[0]):
                    spans[k] = (0, length)
                    continue
                drop = self.DROP and k not in verified
                spans[k] = self.span(kind, r, min(length + 1, limit) if drop else length, drop)
                if drop:
                    verified.add(k)
                elif spans[k][1] < length:
                    verified.clear()
                length = spans[k][1]
                longest = max(longest, length)
            if length >= before or len(order) == 1 or (len(order) == 2 and not self.window(order[0][0])):
                break
        tables = none
        for k, kind in enumerate(order):
            for g in kind:
                first = max(spans[k][0], self.skip(g, length * self.B)) if length else 0
                tables[g] = [self.table[g, self.key_of(r, i)][0] if i >= first else None for i in range(length)]
        return length, tables, longest * self.B if longest > length else 0

    def take(self) -> Block:
        block = self.free.pop(0)
        if block.key is not None:
            self.table[block.group, block.key].remove(block)
            block.key = None
        block.refs = 1
        return block

    def give(self, blocks: list[Block]) -> None:
        unhashed, hashed = [], []
        for block in blocks:
            block.refs -= 1
            if block.refs == 0:
                (hashed if block.key is not None else unhashed).append(block)
        self.free = unhashed + self.free + hashed

    def let_go(self, r: Req) -> None:
        for g in range(len(self.groups)):
            self.give([block for block in reversed(r.tables[g]) if block is not None])
            r.tables[g] = []
        r.seen = 0

    def leave(self, r: Req, settled: int) -> None:
        for g in range(len(self.groups)):
            gone = []
            for i in reversed(range(min(self.skip(g, settled), len(r.tables[g])))):
                block = r.tables[g][i]
                if block is None:
                    break
                gone.append(block)
                r.tables[g][i] = None
            self.give(gone)

    def register(self, r: Req, t: int) -> None:
        if not self.o["enable_prefix_caching"]:
            return
        t = max(0, t - (self.PL - 1 if self.PL > 1 else 0))
        for i in range(r.seen, t // self.B):
            key = self.key_of(r, i)
            if key is None:
                break
            r.seen = i + 1
            for g in range(len(self.groups)):
                block = r.tables[g][i]
                if block is not None and (not self.window(g) or self.kept(r, g, i)):
                    block.key, block.group = key, g
                    self.table.setdefault((g, key), []).append(block)

    def kept(self, r: Req, g: int, i: int) -> bool:
        R = self.o.get("prefix_cache_retention_interval", 0)
        if R is None:
            return True
        need, B = self.row_wanted(g), self.B
        ends = []
        if R:
            ends.append(((i * B) // R + 1) * R // B)
        marks = [r.prompt - 1]
        if self.DROP:
            marks = [(r.prompt - 1) // B * B - B, r.prompt // B * B - B]
        if r.junction:
            marks.append(r.junction)
        ends += [mark // B + self.DROP for mark in marks]
        return any(end - need <= i < end for end in ends)

    # -- one schedule() call

    def schedule(self) -> dict[str, Any] | None:
        o = self.o
        budget, ib = o["max_num_scheduled_tokens"] or o["max_num_batched_tokens"], o["max_num_batched_tokens"]
        budget = min(budget, ib)
        live = len(self.running) + len(self.waiting)
        thr = o["long_prefill_token_threshold"] if live > 1 else 0
        if thr and o["long_prefill_token_threshold_adaptive"]:
            thr = max(thr, ib // live)
        N = o["prefill_schedule_interval"]
        hold = N > 1 and not self.full and self.executed + 1 - self.last_prefill < N and any(not r.chunk for r in self.running)
        got: dict[Req, tuple[int, int]] = {}
        drafts: dict[Req, int] = {}
        preempted: list[Req] = []
        padded: list[Req] = []
        for r in list(self.running):
            if r not in self.running:
                continue
            if budget <= 0 or ib <= self.S:
                break
            if r.placeholders > 0 and r.computed + 2 - r.placeholders >= r.prompt + r.limit:
                continue
            if hold and r.chunk:
                continue
            n = len(r.tokens) + r.spec + r.placeholders - r.computed
            n = thr if 0 < thr < n else n
            n = min(n, budget, ib - self.S, o["max_model_len"] - r.computed - 1)
            n = self.pl_rule(r, r.computed, n)
            if n == 0:
                continue
            gave_up = False
            slots = min(r.computed + n + self.L, o["max_model_len"])
            while True:
                self.leave(r, max(0, r.computed - r.in_flight))
                need = sum(max(0, self.size(g, slots, False) - len(r.tables[g])) for g in range(len(self.groups)))
                if need <= len(self.free):
                    break
                victim = max(self.running, key=lambda x: (x.priority, x.arrival)) if o["policy"] == "priority" else self.running[-1]
                self.running.remove(victim)
                if victim in got:
                    back = got.pop(victim)[0]
                    budget, ib = budget + back, ib + back + self.S
                    drafts.pop(victim, None)
                self.preempt(victim)
                preempted.append(victim)
                if victim is r:
                    gave_up = True
                    break
            if gave_up:
                if o["policy"] == "priority":
                    continue
                break
            for g in range(len(self.groups)):
                r.tables[g] += [self.take() for _ in range(max(0, self.size(g, slots, False) - len(r.tables[g])))]
            self.register(r, min(r.computed + n, len(r.tokens)))
            got[r] = (n, r.computed)
            budget, ib = budget - n, ib - n - self.S
            d = n + r.computed - len(r.tokens) - r.placeholders
            if r.spec and d > 0:
                drafts[r] = min(r.spec, d)
            r.spec = 0
        carried = any(r.chunk for r in got)
        new: list[tuple[Req, int]] = []
        resumed: list[tuple[Req, int]] = []
        if not preempted:
            budget = self.admit(got, drafts, padded, new, resumed, budget, ib, thr, hold)
            carried = carried or any(len(r.tokens) - h > 1 for r, h in new + resumed)
        self.vain = bool(preempted) and not got
        if not got:
            return None
        self.executed += 1
        if carried:
            self.last_prefill = self.executed
        if self.dynamic:
            self.nextK = min([k for first, _, k in self.dynamic if first <= len(got)][-1], self.K)
        sampling = []
        for r, (n, _) in got.items():
            r.computed += n
            r.in_flight += n
            r.chunk = r.computed < len(r.tokens) + r.placeholders
            if not r.chunk:
                sampling.append(r)
                if self.depth == 2:
                    r.placeholders += 1 + drafts.get(r, 0)
                    r.spec = self.nextK
        return {
            "got": got, "drafts": drafts, "padded": padded, "new": new, "resumed": resumed, "preempted": preempted,
            "sampling": sampling, "nextK": self.nextK,
        }  # fmt: skip

    def pl_rule(self, r: Req, before: int, n: int) -> int:
        rest = len(r.tokens) - before - n
        return max(0, n - (self.PL - rest)) if 0 < rest < self.PL else n

    def admit(
        self, got: dict[Req, tuple[int, int]], drafts: dict[Req, int], padded: list[Req], new: list[tuple[Req, int]],
        resumed: list[tuple[Req, int]], budget: int, ib: int, thr: int, hold: bool,
    ) -> int:  # fmt: skip
        o, B = self.o, self.B
        seats = o["max_num_active_seqs"] or o["max_num_seqs"]
        loras = {r.lora for r in self.running if r.lora}
        chunk_ran, something = any(r.chunk for r in got), bool(got)
        aside: list[Req] = []
        while budget > 0 and ib > self.S and self.waiting and len(self.running) < seats:
            r = min(self.waiting, key=lambda x: x.key) if o["policy"] == "priority" else self.waiting[0]
            blocked = r.lora and len(loras) == o.get("max_loras") and r.lora not in loras
            if r.stale > 0 or blocked:
                self.waiting.remove(r)
                aside.append(r)
                continue
            blocks, tables, junction = self.hit(r)
            h = blocks * B
            n = len(r.tokens) - h
            if hold and n > 1:
                break
            pad = False
            if self.K and not self.dynamic and n == 1 and not chunk_ran and (something or h) and h + self.K + 2 <= o["max_model_len"]:
                if min(budget, ib - self.S) < 1 + self.K:
                    break
                n, pad = 1 + self.K, True
            n = thr if 0 < thr < n else n
            if not o["enable_chunked_prefill"] and n > min(budget, ib - self.S):
                break
            n = self.pl_rule(r, h, min(n, budget, ib - self.S))
            if n == 0:
                self.waiting.remove(r)
                aside.append(r)
                continue
            W = int(o["watermark"] * o["num_gpu_blocks"]) if self.running else 0
            free_hits = sum(block is not None and block.refs == 0 for table in tables for block in table)

            def lacks(tokens: int, capped: bool, blocks: int = blocks) -> int:
                return sum(max(0, self.size(g, tokens, capped) - blocks) for g in range(len(self.groups)))

            room = len(self.free) - free_hits - W
            if o["scheduler_reserve_full_isl"] and lacks(min(len(r.tokens), o["max_model_len"]), True) > room:
                break
            slots = min(h + n + self.L, o["max_model_len"])
            if lacks(slots, False) > room:
                break
            self.waiting.remove(r)
            for g, table in enumerate(tables):
                for block in table:
                    if block is not None:
                        if block.refs == 0:
                            self.free.remove(block)
                        block.refs += 1
                r.tables[g] = list(table)
            for g in range(len(self.groups)):
                r.tables[g] += [self.take() for _ in range(max(0, self.size(g, slots, False) - len(r.tables[g])))]
            r.seen, r.junction, r.computed = blocks, junction, h
            self.register(r, min(h + n, len(r.tokens)))
            self.running.append(r)
            got[r] = (n, h)
            budget, ib = budget - n, ib - n - self.S
            if r.lora:
                loras.add(r.lora)
            if pad:
                padded.append(r)
                drafts[r] = self.K
            (resumed if r.preemptions else new).append((r, h))
        if not hold:
            self.full = len(self.waiting) > 0
        self.waiting[:0] = aside
        return budget

    def preempt(self, r: Req) -> None:
        self.let_go(r)
        r.computed = r.spec = r.placeholders = 0
        r.stale = r.in_flight
        r.preemptions += 1
        r.chunk = False
        self.waiting.insert(0, r)

    # -- the output of a batch

    def update(self, batch: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
        finished, given = [], []
        for r, (n, _) in batch["got"].items():
            r.in_flight -= n
            was_stale = r.stale > 0
            if was_stale:
                r.stale -= n
            if r.done or r not in batch["sampling"]:
                continue
            d, a = batch["drafts"].get(r, 0), 0
            if d and r not in batch["padded"]:
                a = min(r.accept[r.verified % len(r.accept)], d)
                r.verified += 1
            if not was_stale:
                r.computed -= d - a if r.computed > 0 else 0
                r.placeholders -= d - a if r.placeholders > 0 else 0
            had = r.placeholders
            kept = 0
            for _ in range(a + 1):
                r.tokens.append((f"out:{r.id}", len(r.tokens) - r.prompt))
                kept += 1
                r.done = len(r.tokens) >= self.o["max_model_len"] or len(r.tokens) - r.prompt >= r.limit
                if r.done:
                    break
            given.append([r.id, kept])
            if not was_stale:
                r.computed -= a + 1 - kept
                if had > 0:
                    r.placeholders -= a + 1
                if r in self.running and (had > 0 or self.K):
                    self.register(r, r.computed - r.in_flight)
            if r.done:
                finished.append(r.id)
                if r in self.running:
                    self.running.remove(r)
                    self.let_go(r)
                else:
                    self.waiting.remove(r)
        if self.depth == 1 and self.K:
            for r in batch["sampling"]:
                if not r.done:
                    r.spec = batch["nextK"]
                    if r.draft_len:
                        r.spec = min(r.draft_len[r.proposed % len(r.draft_len)], r.spec)
                    r.proposed += 1
        return finished, given

    # -- the loop

    def run(self, max_rows: int = 10**9) -> list[dict[str, Any]]:
        now = end = 0
        queue: deque[tuple[dict[str, Any], dict[str, Any]]] = deque()
        arrived: list[str] = []
        while len(self.rows) < max_rows:
            while self.pending and self.due(self.pending[0], now):
                row = self.pending.popleft()
                if 0 < sum(length for _, length in row["prompt"]) < self.o["max_model_len"]:
                    self.waiting.append(Req(row, row.get("arrival_ns", now), len(self.groups)))
                    arrived.append(row["id"])
            batch = self.schedule() if len(queue) < self.depth else None
            if batch is not None:
                got = batch["got"]
                new, context = sum(n for n, _ in got.values()), sum(before for _, before in got.values())
                start = max(now, end)
                t = self.t
                end = start + t["base_ns"] + t["per_new_token_ns"] * new + t["per_context_token_ns"] * context
                end += t["per_seq_ns"] * len(got)
                out: dict[str, Any] = {
                    "step": len(self.rows), "sched_ns": now, "start_ns": start, "end_ns": end, "arrived": arrived,
                    "scheduled": [[r.id, n, before] for r, (n, before) in got.items()],
                    "new": [[r.id, h] for r, h in batch["new"]], "resumed": [[r.id, h] for r, h in batch["resumed"]],
                    "preempted": [r.id for r in batch["preempted"]], "sampled": [r.id for r in got if r in batch["sampling"]],
                    "new_tokens": new, "context_tokens": context, "running": len(self.running),
                    "waiting": len(self.waiting), "free_blocks": len(self.free),
                }  # fmt: skip
                if self.K:
                    out["drafts"] = [[r.id, d] for r, d in batch["drafts"].items()]
                    out["padded"] = [r.id for r in batch["padded"]]
                if self.o.get("max_loras"):
                    out["loras"] = sorted({r.lora for r in self.running if r.lora})
                if self.o.get("kv_groups"):
                    out["held"] = [[r.id, *(sum(b is not None for b in table) for table in r.tables)] for r in got]
                arrived = []
                self.rows.append(out)
                queue.append((batch, out))
                if len(queue) < self.depth:
                    continue
            if queue:
                batch, out = queue.popleft()
                now = max(now, out["end_ns"])
                out["finished"], given = self.update(batch)
                if self.K:
                    out["tokens"] = given
                out["free_blocks_end"] = len(self.free)
            elif self.vain:
                continue
            elif self.pending:
                if "arrival_ns" in self.pending[0]:
                    now = max(now, self.pending[0]["arrival_ns"])
                else:
                    self.pending[0]["arrival_step"] = len(self.rows)
            else:
                break
        return self.rows

    def due(self, row: dict[str, Any], now: int) -> bool:
        return row["arrival_step"] <= len(self.rows) if "arrival_step" in row else row["arrival_ns"] <= now

    @property
    def stalled(self) -> bool:
        return bool(self.running or self.waiting)
