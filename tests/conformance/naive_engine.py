"""An independent, naive re-statement of vLLM's V1 engine core: the oracle that the fast engine is compared with.

Every request is looked at in every step, every token has a name, every block is an object with a hash, the free list is a
list. It shares no code with ``sim.engine`` and is written from the rules alone (vLLM 0.33, ``v1/core/sched/scheduler.py``,
``v1/core/block_pool.py``, ``v1/engine/core.py``), block by block and request by request; slow.
Its output has the form of the recordings, so that rows can be compared one by one.
"""

from __future__ import annotations

from collections import deque
from typing import Any

DEFAULTS: dict[str, Any] = {
    "max_num_seqs": 128, "max_num_active_seqs": None, "max_num_batched_tokens": 2048, "max_num_scheduled_tokens": None,
    "block_size": 16, "num_gpu_blocks": 1000, "max_model_len": 8192, "enable_prefix_caching": True,
    "enable_chunked_prefill": True, "long_prefill_token_threshold": 0, "long_prefill_token_threshold_adaptive": False,
    "policy": "fcfs", "watermark": 0.0, "scheduler_reserve_full_isl": True, "prefill_schedule_interval": 1,
    "async_scheduling": False,
}  # fmt: skip


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


class Block:
    def __init__(self) -> None:
        self.hash: Any = None
        self.refs = 0


class Request:
    def __init__(self, row: dict[str, Any], now: int) -> None:
        self.id = row["id"]
        self.prompt = [(name, i) for name, length in row["prompt"] for i in range(length)]
        self.tokens = list(self.prompt)
        self.max_tokens = row["output_len"]
        self.priority = row.get("priority", 0)
        self.arrival = now
        self.computed = 0
        self.blocks: list[Block] = []
        self.n_hashed = 0
        self.placeholders = 0
        self.flying: dict[int, int] = {}  # batch -> tokens scheduled there, until it returns
        self.stale: set[int] = set()  # batches that were in flight when it was preempted
        self.chunking = False  # scheduled last without sampling: in the middle of its prefill
        self.preemptions = 0
        self.cached = 0

    @property
    def key(self) -> tuple[int, int, str]:
        return (self.priority, self.arrival, self.id)

    @property
    def generated(self) -> int:
        return len(self.tokens) - len(self.prompt)


class NaiveEngine:
    def __init__(self, case: dict[str, Any]) -> None:
        options = {**DEFAULTS, **{k: v for k, v in case["engine"].items() if v is not None}}
        self.o = options
        self.size = options["block_size"]
        self.free = [Block() for _ in range(options["num_gpu_blocks"] - 1)]
        self.table: dict[Any, list[Block]] = {}
        self.names: dict[Any, int] = {}
        self.step_time = case["step_time"]
        self.running: list[Request] = []
        self.waiting: list[Request] = []
        self.depth = 2 if options["async_scheduling"] else 1
        self.executed = 0
        self.last_prefill_step = -options["prefill_schedule_interval"]
        self.capacity_bound = False
        self.preempted_in_vain = False
        self.pending = deque(dict(row) for row in case["requests"])
        self.rows: list[dict[str, Any]] = []

    # -- blocks

    def hash_of(self, request: Request, index: int) -> Any:
        """Hash of full block ``index``: one number per (parent's number, its tokens)."""
        parent = -1
        for i in range(index + 1):
            key = (parent, tuple(request.tokens[i * self.size : (i + 1) * self.size]))
            parent = self.names.setdefault(key, len(self.names))
        return parent

    def hit(self, request: Request) -> list[Block]:
        found: list[Block] = []
        if not self.o["enable_prefix_caching"]:
            return found
        for i in range((len(request.tokens) - 1) // self.size):
            copies = self.table.get(self.hash_of(request, i))
            if not copies:
                break
            found.append(copies[0])
        return found

    def new_block(self) -> Block:
        block = self.free.pop(0)
        if block.hash is not None:
            self.table[block.hash].remove(block)
            block.hash = None
        block.refs = 1
        return block

    def remember(self, request: Request, tokens: int) -> None:
        if not self.o["enable_prefix_caching"]:
            return
        for i in range(request.n_hashed, tokens // self.size):
            block = request.blocks[i]
            assert block.hash is None
            block.hash = self.hash_of(request, i)
            self.table.setdefault(block.hash, []).append(block)
            request.n_hashed = i + 1

    def release(self, request: Request) -> None:
        unhashed, hashed = [], []
        for block in reversed(request.blocks):
            block.refs -= 1
            assert block.refs >= 0
            if block.refs == 0:
                (unhashed if block.hash is None else hashed).append(block)
        self.free = unhashed + self.free + hashed
        request.blocks = []
        request.n_hashed = 0

    # -- one schedule() call

    def schedule(self, number: int) -> dict[str, Any] | None:
        o = self.o
        tokens_left = o["max_num_scheduled_tokens"] or o["max_num_batched_tokens"]
        input_left = o["max_num_batched_tokens"]
        seats = o["max_num_active_seqs"] or o["max_num_seqs"]
        by_priority = o["policy"] == "priority"
        interval = o["prefill_schedule_interval"]
        live = len(self.running) + len(self.waiting)
        threshold = o["long_prefill_token_threshold"] if live > 1 else 0
        if threshold and o["long_prefill_token_threshold_adaptive"]:
            threshold = max(threshold, o["max_num_batched_tokens"] // live)
        defer = (
            interval > 1
            and not self.capacity_bound
            and self.executed + 1 - self.last_prefill_step < interval
            and any(not r.chunking for r in self.running)
        )
        scheduled: dict[Request, tuple[int, int]] = {}
        preempted: list[Request] = []

        for r in list(self.running):
            if r not in self.running:
                continue
            if tokens_left <= 0 or input_left <= 0:
                break
            if r.placeholders > 0 and r.computed + 2 - r.placeholders >= len(r.prompt) + r.max_tokens:
                continue
            if defer and r.chunking:
                continue
            n = len(r.tokens) + r.placeholders - r.computed
            if 0 < threshold < n:
                n = threshold
            n = min(n, tokens_left, input_left, o["max_model_len"] - r.computed - 1)
            if n == 0:
                continue
            need = max(0, ceil_div(min(r.computed + n, o["max_model_len"]), self.size) - len(r.blocks))
            gave_up = False
            while need > len(self.free):
                victim = max(self.running, key=lambda x: (x.priority, x.arrival)) if by_priority else self.running[-1]
                self.running.remove(victim)
                if victim in scheduled:
                    back = scheduled.pop(victim)[0]
                    tokens_left += back
                    input_left += back
                self.preempt(victim)
                preempted.append(victim)
                if victim is r:
                    gave_up = True
                    break
            if gave_up:
                if by_priority:
                    continue
                break
            r.blocks += [self.new_block() for _ in range(need)]
            self.remember(r, min(r.computed + n, len(r.tokens)))
            scheduled[r] = (n, r.computed)
            tokens_left -= n
            input_left -= n

        carried_prefill = any(r.chunking for r in scheduled)
        new: list[tuple[Request, int]] = []
        resumed: list[tuple[Request, int]] = []
        if not preempted:
            aside: list[Request] = []
            while tokens_left > 0 and input_left > 0 and self.waiting and len(self.running) < seats:
                r = min(self.waiting, key=lambda x: x.key) if by_priority else self.waiting[0]
                if r.stale:
                    self.waiting.remove(r)
                    aside.append(r)
                    continue
                hits = self.hit(r)
                h = len(hits) * self.size
                n = len(r.tokens) - h
                one_token = n == 1
                if defer and not one_token:
                    break
                if 0 < threshold < n:
                    n = threshold
                if not o["enable_chunked_prefill"] and n > min(tokens_left, input_left):
                    break
                n = min(n, tokens_left, input_left)
                free_hits = sum(1 for b in hits if b.refs == 0)
                reserve = int(o["watermark"] * o["num_gpu_blocks"]) if self.running else 0
                total = ceil_div(min(len(r.tokens), o["max_model_len"]), self.size)
                if o["scheduler_reserve_full_isl"] and total - len(hits) + free_hits + reserve > len(self.free):
                    break
                if ceil_div(h + n, self.size) - len(hits) + free_hits + reserve > len(self.free):
                    break
                self.waiting.remove(r)
                for block in hits:
                    if block.refs == 0:
                        self.free.remove(block)
                    block.refs += 1
                r.blocks = list(hits)
                r.n_hashed = len(hits)
                r.blocks += [self.new_block() for _ in range(ceil_div(h + n, self.size) - len(hits))]
                r.computed = h
                self.remember(r, h + n)
                self.running.append(r)
                scheduled[r] = (n, h)
                tokens_left -= n
                input_left -= n
                carried_prefill = carried_prefill or not one_token
                (resumed if r.preemptions else new).append((r, h))
                if not r.preemptions:
                    r.cached = h
            if not defer:
                self.capacity_bound = len(self.waiting) > 0
            self.waiting[:0] = aside

        self.preempted_in_vain = bool(preempted) and not scheduled
        if not scheduled:
            return None
        self.executed += 1
        if carried_prefill:
            self.last_prefill_step = self.executed
        sampling = []
        for r, (n, before) in scheduled.items():
            r.computed = before + n
            r.flying[number] = n
            r.chunking = r.computed < len(r.tokens) + r.placeholders
            if not r.chunking:
                r.placeholders += 1
                sampling.append(r)
        return {
            "number": number, "scheduled": scheduled, "new": new, "resumed": resumed, "preempted": preempted,
            "sampling": sampling,
        }  # fmt: skip

    def preempt(self, r: Request) -> None:
        self.release(r)
        r.computed = 0
        r.placeholders = 0
        r.stale = set(r.flying)
        r.preemptions += 1
        self.waiting.insert(0, r)

    # -- the output of a batch

    def update(self, batch: dict[str, Any]) -> list[str]:
        finished = []
        for r in batch["scheduled"]:
            r.flying.pop(batch["number"], None)
            was_stale = batch["number"] in r.stale
            r.stale.discard(batch["number"])
            if r not in batch["sampling"]:
                continue
            r.tokens.append((f"out:{r.id}", r.generated))
            if not was_stale:
                r.placeholders -= 1
                if self.depth == 2:
                    self.remember(r, r.computed - r.placeholders)
            if r.generated >= r.max_tokens or len(r.tokens) >= self.o["max_model_len"]:
                finished.append(r.id)
                if r in self.running:
                    self.running.remove(r)
                    self.release(r)
                else:
                    self.waiting.remove(r)
        return finished

    # -- the loop of the engine core

    def run(self, max_rows: int = 10**9) -> list[dict[str, Any]]:
        now = end = 0
        queue: deque[tuple[dict[str, Any], dict[str, Any]]] = deque()
        arrived: list[str] = []
        while len(self.rows) < max_rows:
            while self.pending and self.due(self.pending[0], now):
                row = self.pending.popleft()
                if 0 < sum(length for _, length in row["prompt"]) < self.o["max_model_len"]:
                    self.waiting.append(Request(row, row.get("arrival_ns", now)))
                    arrived.append(row["id"])
            batch = self.schedule(len(self.rows)) if len(queue) < self.depth else None
            if batch is not None:
                scheduled = batch["scheduled"]
                new_tokens = sum(n for n, _ in scheduled.values())
                context = sum(before for _, before in scheduled.values())
                t = self.step_time
                start = max(now, end)
                end = start + (
                    t["base_ns"]
                    + t["per_new_token_ns"] * new_tokens
                    + t["per_context_token_ns"] * context
                    + t["per_seq_ns"] * len(scheduled)
                )
                out: dict[str, Any] = {
                    "step": len(self.rows),
                    "sched_ns": now,
                    "start_ns": start,
                    "end_ns": end,
                    "arrived": arrived,
                    "scheduled": [[r.id, n, before] for r, (n, before) in scheduled.items()],
                    "new": [[r.id, h] for r, h in batch["new"]],
                    "resumed": [[r.id, h] for r, h in batch["resumed"]],
                    "preempted": [r.id for r in batch["preempted"]],
                    "sampled": [r.id for r in scheduled if r in batch["sampling"]],
                    "new_tokens": new_tokens,
                    "context_tokens": context,
                    "running": len(self.running),
                    "waiting": len(self.waiting),
                    "free_blocks": len(self.free),
                }
                arrived = []
                self.rows.append(out)
                queue.append((batch, out))
                if len(queue) < self.depth:
                    continue
            if queue:
                batch, out = queue.popleft()
                now = max(now, out["end_ns"])
                out["finished"] = self.update(batch)
                out["free_blocks_end"] = len(self.free)
            elif self.preempted_in_vain:
                continue  # an idle core looks again at once
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
