"""The naive oracle with what surrounds the plain rules: drafts, adapters, external KV, pins, a CPU tier.

Like ``naive_engine`` it shares no code with ``sim.engine``: each request is looked at in each call, each token has a name, each
block is an object. It follows the rules of vLLM 0.33 line by line, for one group of full attention; slow.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any

from tests.conformance.naive_engine import DEFAULTS, Block, ceil_div
from tests.conformance.naive_tier import NaiveTier

Row = dict[str, Any]


class Req:
    def __init__(self, row: Row, now: int) -> None:
        self.row, self.id, self.arrival = row, row["id"], now
        self.prompt_len = sum(n for _, n in row["prompt"])
        self.tokens = [(name, i) for name, n in row["prompt"] for i in range(n)]
        self.most = row["output_len"]
        self.lora = row.get("lora") or None
        self.key = (row.get("priority", 0), now, self.id)
        self.computed = self.spec = self.placeholders = self.in_flight = self.stale = 0
        self.drop_stale = self.chunk = False
        self.status = "WAITING"
        self.blocks: list[Block] = []
        self.cached = 0
        self.n_verified = self.n_proposed = 0
        self.preempted = 0
        self.used = self.reported = self.under_way = False
        self.good: int | None = None

    @property
    def output(self) -> int:
        return len(self.tokens) - self.prompt_len


class NaiveFeatures:
    def __init__(self, case: Row) -> None:
        o = self.o = {**DEFAULTS, "max_loras": 0, **{k: v for k, v in case["engine"].items() if v is not None}}
        self.t = case["step_time"]
        self.size, self.longest, self.asynchronous = o["block_size"], o["max_model_len"], o["async_scheduling"]
        self.depth = 2 if self.asynchronous else 1
        spec = o.get("speculative") or {}
        self.k = spec.get("num_speculative_tokens", 0)
        self.dynamic = spec.get("num_speculative_tokens_per_batch_size")
        method = spec.get("method")
        reads = method in ("eagle", "eagle3", "mtp")
        modules = min(spec.get("num_nextn_predict_layers", 1), self.k) if method == "mtp" else 1
        self.lookahead = self.k if method and method != "ngram" else 0
        self.rows = 1 if method == "draft_model" else 0
        self.pl = 0 if not reads else self.k if modules > 1 else 1
        connector = o.get("kv_connector")
        self.tier = NaiveTier(o["kv_offload"], self) if o.get("kv_offload") is not None else None
        external = connector is not None or self.tier is not None
        covered = o["enable_prefix_caching"] and not spec.get("disable_lookahead_block_hashes") and not external
        self.hl = self.pl if reads and covered else 0
        self.drops_block = reads and not self.hl
        role = (connector or {"kv_role": "kv_consumer"})["kv_role"] if external else ""
        self.consumer = self.asynchronous and role in ("kv_consumer", "kv_both")
        self.producer = role in ("kv_producer", "kv_both")
        self.fails = (connector or {}).get("kv_load_failure_policy", "fail") == "fail"
        self.free = [Block() for _ in range(o["num_gpu_blocks"] - 1)]
        self.table: dict[Any, list[Block]] = {}
        self.names: dict[Any, int] = {}
        self.running: list[Req] = []
        self.holding: list[Req] = []
        self.waiting: list[Req] = []
        self.pins: dict[Req, int] = {}
        self.aside: list[tuple[int, Req]] = []
        self.loads: dict[Req, tuple[int, int, int]] = {}  # done, local, upto
        self.sync: dict[Req, tuple[int, int]] = {}
        self.composed = 0
        self.full = False
        self.last_prefill = -o["prefill_schedule_interval"]
        self.next_k = self.k
        self.pending = deque(dict(row) for row in case["requests"])
        self.out: list[Row] = []
        self.handed: list[Block] = []
        self.now = 0

    # -- blocks

    def hash_of(self, r: Req, index: int) -> Any:
        if len(r.tokens) < (index + 1) * self.size + self.hl:
            return None
        parent = -1
        for i in range(index + 1):
            end = (i + 1) * self.size
            key = (parent, r.lora, tuple(r.tokens[i * self.size : end + self.hl]))
            parent = self.names.setdefault(key, len(self.names))
        return parent

    def hit(self, r: Req) -> list[Block]:
        found: list[Block] = []
        if self.o["enable_prefix_caching"]:
            for i in range((len(r.tokens) - 1) // self.size):
                copies = self.table.get(self.hash_of(r, i))
                if not copies:
                    break
                found.append(copies[0])
        return found[:-1] if self.drops_block else found

    def new_block(self) -> Block:
        block = self.free.pop(0)
        if block.hash is not None:
            self.table[block.hash].remove(block)
            block.hash = None
        block.refs = 1
        self.handed.append(block)
        return block

    def register(self, r: Req, tokens: int) -> None:
        if not self.o["enable_prefix_caching"]:
            return
        if self.pl > 1:
            tokens = max(0, tokens - (self.pl - 1))
        for i in range(r.cached, tokens // self.size):
            key = self.hash_of(r, i)
            if key is None:
                break
            r.blocks[i].hash = key
            self.table.setdefault(key, []).append(r.blocks[i])
            r.cached = i + 1

    def release(self, r: Req) -> None:
        bare, hashed = [], []
        for block in reversed(r.blocks):
            block.refs -= 1
            assert block.refs >= 0
            if not block.refs:
                (bare if block.hash is None else hashed).append(block)
        self.free = bare + self.free + hashed
        r.blocks, r.cached = [], 0

    def allocate(self, r: Req, n: int, hits: list[Block], ext: int, lookahead: int, reserve: int, admission: bool) -> bool:
        total = min(r.computed + len(hits) * self.size + ext, self.longest)
        mark = int(self.o["watermark"] * self.o["num_gpu_blocks"]) if admission and self.running else 0

        def need(tokens: int) -> int:
            blocks = ceil_div(tokens, self.size)
            if r.blocks:
                return max(0, blocks - len(r.blocks))
            return max(0, blocks - len(hits)) + sum(1 for b in hits if not b.refs)

        if admission and self.o["scheduler_reserve_full_isl"] and need(min(len(r.tokens), self.longest)) + mark > len(self.free):
            return False
        slots = min(total + n + lookahead, self.longest)
        if need(slots) + mark > len(self.free) - reserve:
            return False
        for block in hits:
            if not block.refs:
                self.free.remove(block)
            block.refs += 1
        if hits:
            r.blocks, r.cached = list(hits), len(hits)
        while len(r.blocks) < ceil_div(slots, self.size):
            r.blocks.append(self.new_block())
        if admission:
            self.handed += r.blocks
        return True

    def reserved(self, aside: list[Req]) -> int:
        more = 1 + self.k + self.lookahead if self.k else 0
        total = ceil_div(more, self.size)
        for r in [*self.running, *self.holding, *aside]:
            if r.under_way:
                total += max(0, ceil_div(min(len(r.tokens), self.longest) + more, self.size) - len(r.blocks))
        return total

    # -- one call of schedule()

    def few(self, r: Req, before: int, n: int) -> int:
        rest = len(r.tokens) - before - n
        return max(0, n - (self.pl - rest)) if 0 < rest < self.pl else n

    def schedule(self) -> Row:
        o, s = self.o, self.rows
        budget = o["max_num_scheduled_tokens"] or o["max_num_batched_tokens"]
        ib = o["max_num_batched_tokens"]
        seats = o["max_num_active_seqs"] or o["max_num_seqs"]
        by_priority = o["policy"] == "priority"
        live = len(self.running) + len(self.holding) + len(self.waiting)
        thr = o["long_prefill_token_threshold"] if live > 1 else 0
        if thr and o["long_prefill_token_threshold_adaptive"]:
            thr = max(thr, o["max_num_batched_tokens"] // live)
        every = o["prefill_schedule_interval"]
        hold = every > 1 and not self.full and self.composed + 1 - self.last_prefill < every
        hold = hold and any(not r.chunk for r in self.running)
        self.handed = []
        if self.tier:
            self.tier.begins()
        call: Row = {"scheduled": {}, "drafts": {}, "padded": [], "preempted": [], "new": [], "resumed": [], "loads": []}
        call["loads_in_step"], call["jobs"] = [], []
        scheduled: dict[Req, tuple[int, int]] = call["scheduled"]
        carried = False
        for r in list(self.running):
            if r not in self.running:
                continue
            if budget <= 0 or ib <= s:
                break
            if r.placeholders > 0 and r.computed + 2 - r.placeholders >= r.prompt_len + r.most:
                continue
            if hold and r.chunk:
                continue
            n = len(r.tokens) + r.spec + r.placeholders - r.computed
            n = thr if 0 < thr < n else n
            n = self.few(r, r.computed, min(n, budget, ib - s, self.longest - r.computed - 1))
            if n == 0:
                continue
            allocated = refused = False
            while not allocated:
                allocated = self.allocate(r, n, [], 0, self.lookahead, 0, False)
                if allocated:
                    break
                victim = max(self.running, key=lambda x: x.key[:2]) if by_priority else self.running[-1]
                if self.consumer and victim.in_flight:
                    refused = True
                    break
                self.running.remove(victim)
                if victim in scheduled:
                    back = scheduled.pop(victim)[0]
                    budget, ib = budget + back, ib + back + s
                    call["drafts"].pop(victim, None)
                call["preempted"].append(victim)
                self.preempt(victim)
                if victim is r:
                    break
            if not allocated:
                if by_priority and not refused:
                    continue
                break
            self.register(r, min(r.computed + n, len(r.tokens)))
            scheduled[r] = (n, r.computed)
            budget, ib = budget - n, ib - n - s
            carried = carried or r.chunk
            d = n + r.computed - len(r.tokens) - r.placeholders
            if r.spec > 0 and d > 0:
                call["drafts"][r] = min(r.spec, d)
            r.spec = 0
        chunk_ran = any(r.chunk for r in scheduled)
        aside: list[Req] = []
        if not call["preempted"]:
            carried = self.admit(call, budget, ib, thr, hold, chunk_ran, seats, aside) or carried
        self.call_over(call, carried)
        return call

    def admit(self, call: Row, budget: int, ib: int, thr: int, hold: bool, chunk_ran: bool, seats: int, aside: list[Req]) -> bool:
        o, s, scheduled = self.o, self.rows, call["scheduled"]
        by_priority, served, carried = o["policy"] == "priority", bool(call["scheduled"]), False
        loras = {r.lora for r in self.running} - {None}
        while budget > 0:
            queue = self.holding or self.waiting
            if not queue or ib <= s or len(self.running) >= seats:
                break
            r = min(queue, key=lambda x: x.key) if by_priority else queue[0]

            def skip(r: Req = r, queue: list[Req] = queue) -> None:
                queue.remove(r)
                aside.append(r)

            if r.status == "LOADING":
                if not r.reported:
                    skip()
                    continue
                self.promote(r)
            if r.stale > 0 and not r.drop_stale:
                skip()
                continue
            if r.lora and len(loras) == o["max_loras"] and r.lora not in loras:
                skip()
                continue
            hits, ext, background = [], 0, False
            if r.computed == 0:
                hits = self.hit(r)
                answer = self.ask(r, len(hits) * self.size)
                if answer is None:
                    skip()
                    continue
                ext, background = answer
            base = r.computed or len(hits) * self.size + ext
            padded = False
            if background:
                n = 0
            else:
                n = len(r.tokens) - base
                if hold and n > 1:
                    break
                padded = bool(self.k and not self.dynamic and n == 1 and not chunk_ran and (served or base > 0))
                padded = padded and base + self.k + 2 <= self.longest
                carries = n > 1
                if padded:
                    if 1 + self.k > min(budget, ib - s):
                        break
                    n = 1 + self.k
                n = thr if 0 < thr < n else n
                if not o["enable_chunked_prefill"] and n > min(budget, ib - s):
                    break
                n = self.few(r, base, min(n, budget, ib - s))
                if n == 0:
                    skip()
                    continue
            reserve = self.reserved(aside) if background else 0
            if not self.allocate(r, n, hits, ext, 0 if background else self.lookahead, reserve, True):
                break
            queue.remove(r)
            if background:
                r.status, r.computed, r.reported, r.under_way = "LOADING", base, False, True
                aside.append(r)
                self.begin_load(call, r, len(hits) * self.size, ext)
                continue
            if ext:
                self.begin_load(call, r, len(hits) * self.size, ext)
            self.register(r, min(base + n, len(r.tokens)))
            r.status, r.computed = "RUNNING", base
            r.under_way = r.under_way or base + n < len(r.tokens)
            self.running.append(r)
            scheduled[r] = (n, base)
            if padded:
                call["drafts"][r] = self.k
                call["padded"].append(r)
            budget, ib = budget - n, ib - n - s
            carried = carried or carries
            if r.lora:
                loras.add(r.lora)
            call["resumed" if r.preempted else "new"].append((r, base))
        if not hold:
            self.full = len(self.holding) + len(self.waiting) > 0
        self.holding[:0] = [r for r in aside if r.status == "LOADING" or r.computed > 0]
        self.waiting[:0] = [r for r in aside if r.status != "LOADING" and r.computed == 0]
        return carried

    def call_over(self, call: Row, carried: bool) -> None:
        scheduled = call["scheduled"]
        if scheduled and self.dynamic:
            self.next_k = 0
            for first, _, k in self.dynamic:
                self.next_k = k if first <= len(scheduled) else self.next_k
            self.next_k = min(self.next_k, self.k)
        call["next"] = self.next_k
        call["start"] = self.tier.ends(call) if self.tier else self.now
        for load, job in zip(call["loads"], call["jobs"], strict=False):
            load[3] = job["end"]
        for r, (n, before) in scheduled.items():
            r.computed, r.in_flight = before + n, r.in_flight + n
            r.chunk = r.computed < len(r.tokens) + r.placeholders
            r.under_way = r.under_way and r.chunk
            if self.asynchronous and not r.chunk:
                r.placeholders += 1 + call["drafts"].get(r, 0)
                r.spec = self.next_k
        call["sampling"] = [r for r in scheduled if not r.chunk]
        if scheduled:
            self.composed += 1
            if carried:
                self.last_prefill = self.composed
        call["number"] = self.composed

    def preempt(self, r: Req) -> None:
        self.release(r)
        r.computed = r.spec = r.placeholders = 0
        r.drop_stale = self.producer or (r.drop_stale and r.stale > 0)
        r.stale = r.in_flight
        r.status, r.under_way = "PREEMPTED", False
        r.preempted += 1
        self.waiting.insert(0, r)

    # -- external KV

    def ask(self, r: Req, h: int) -> tuple[int, bool] | None:
        if self.tier:
            return self.tier.ask(r, h)
        external = r.row.get("external")
        if self.o.get("kv_connector") is None or not external or (external.get("once", True) and r.used):
            return 0, False
        if self.now < external.get("unknown_until_ns", 0):
            return None
        tokens = max(0, external["tokens"] - h)
        return tokens, bool(tokens) and external["mode"] == "async"

    def begin_load(self, call: Row, r: Req, local: int, ext: int) -> None:
        if self.tier:
            call["jobs"].append(self.tier.load(r, local, ext))
            call["loads"].append([r.id, local, ext, None])
            return
        external = r.row["external"]
        valid = None if r.used else external.get("valid_tokens")
        r.used = True
        r.good = None if valid is None or valid >= local + ext else max(valid, local) // self.size * self.size
        if external["mode"] == "async":
            done = self.now + external["load_ns"]
            self.loads[r] = (done, local, local + ext)
            call["loads"].append([r.id, local, ext, done])
        else:
            self.sync[r] = (external["load_ns"], local)
            call["loads_in_step"].append(r)
            call["loads"].append([r.id, local, ext, None])

    def promote(self, r: Req) -> None:
        r.status = "PREEMPTED" if r.preempted else "WAITING"
        if r.good is not None:
            r.computed = r.good
        r.good, r.reported = None, False
        if not r.computed:
            self.release(r)
        self.register(r, r.computed)
        if r.computed and r.computed == len(r.tokens):
            r.computed -= 1
            if not r.computed:
                self.release(r)

    # -- the output of a step

    def update(self, call: Row, upto: int) -> Row:
        told: Row = {"finished": [], "loaded": [], "failed": [], "released": [], "pinned": [], "tokens": [], "jobs_done": []}
        number = call["number"] if call["scheduled"] else -1
        while self.aside and self.aside[0][0] <= number:
            self.release(self.aside.pop(0)[1])
        done = sorted((load[0], i, r) for i, (r, load) in enumerate(self.loads.items()) if load[0] <= upto)
        lost: list[Req] = []
        errors: list[Req] = []
        for r in call["loads_in_step"]:
            if r.good is not None:
                told["failed"].append(r.id)
        for _, _, r in done:
            told["loaded"].append(r.id)
            if r.good is not None:
                told["failed"].append(r.id)
        if self.fails:
            errors += [r for r in self.holding if any(r is x and r.good is not None for _, _, x in done)]
        bad: set[int] = set()
        charged: set[int] = set()
        for r in call["loads_in_step"]:
            if r.good is not None:
                reached = ceil_div(call["scheduled"][r][1], self.size)
                bad |= {id(b) for b in r.blocks[r.good // self.size : reached]}
        for r in list(self.running) if bad else []:
            before = call["scheduled"][r][1] if r in call["scheduled"] else r.computed
            touched = [i for i in range(ceil_div(before, self.size)) if id(r.blocks[i]) in bad]
            if not touched:
                continue
            own = [i for i in touched if id(r.blocks[i]) not in charged]
            charged |= {id(r.blocks[i]) for i in own}
            r.computed = own[0] * self.size if own else before
            lost.append(r)
            if self.fails:
                for block in r.blocks[r.computed // self.size :]:
                    if block.hash is not None:
                        self.table[block.hash].remove(block)
                        block.hash = None
                errors.append(r)
        for r in call["loads_in_step"]:
            del self.sync[r]
            r.good = None
        for r, (n, _) in call["scheduled"].items():
            self.deliver(call, r, n, r in lost, told)
        for r in errors:
            told["finished"].append(r.id)
            (self.running if r in self.running else self.holding).remove(r)
            self.loads.pop(r, None)
            self.release(r)
            r.status = "FINISHED"
        for _, _, r in done:
            if r in self.loads:
                del self.loads[r]
                r.reported = True
        for r, end in sorted(self.pins.items(), key=lambda pin: pin[1]):
            if end <= upto:
                del self.pins[r]
                told["released"].append(r.id)
                self.release(r)
        if self.tier:
            told["jobs_done"], loaded = self.tier.reports(upto)
            told["loaded"] = loaded
        return told

    def deliver(self, call: Row, r: Req, n: int, lost: bool, told: Row) -> None:
        r.in_flight -= n
        was_stale = r.stale > 0
        r.stale -= n if was_stale else 0
        if lost:
            r.chunk = True
            return
        if r.status == "FINISHED" or (was_stale and r.drop_stale) or r not in call["sampling"]:
            return
        d = call["drafts"].get(r, 0)
        a = 0
        if d and r not in call["padded"]:
            accept = r.row.get("accept", [0])
            a = min(accept[r.n_verified % len(accept)], d)
            r.n_verified += 1
        if not was_stale:
            r.computed -= d - a if r.computed > 0 else 0
            r.placeholders -= d - a if r.placeholders > 0 else 0
        had = r.placeholders > 0
        given = 0
        stopped = False
        while given < a + 1 and not stopped:
            r.tokens.append((f"out:{r.id}", r.output))
            given += 1
            stopped = len(r.tokens) >= self.longest or r.output >= r.most
        told["tokens"].append([r.id, given])
        if not was_stale:
            r.computed -= a + 1 - given
            if had:
                r.placeholders -= a + 1
            if r.status == "RUNNING" and (had or self.k):
                self.register(r, r.computed - r.in_flight)
        if stopped:
            self.finish(r, told)
        elif not self.asynchronous and self.k:
            lengths = r.row.get("draft_len")
            k = call["next"]
            r.spec = min(lengths[r.n_proposed % len(lengths)], k) if lengths else k
            r.n_proposed += 1

    def finish(self, r: Req, told: Row) -> None:
        told["finished"].append(r.id)
        was = r.status
        (self.running if was == "RUNNING" else self.waiting).remove(r)
        r.status = "FINISHED"
        if self.tier:
            self.tier.finished(r)
        pin = r.row.get("pin_ns") if self.o.get("kv_connector") is not None else None
        if was == "RUNNING" and pin is not None:
            self.pins[r] = self.end + pin
            told["pinned"].append(r.id)
        elif was == "RUNNING" and self.consumer and r.in_flight:
            self.aside.append((self.composed, r))
        else:
            self.release(r)

    # -- the loop of the engine core

    def run(self, most: int = 10**9) -> list[Row]:
        queue: deque[tuple[Row, Row]] = deque()
        arrived: list[str] = []
        ends = self.end = steps = 0
        while len(self.out) < most:
            while self.pending and self.pending[0]["arrival_ns"] <= self.now:
                row = self.pending.popleft()
                if 0 < sum(n for _, n in row["prompt"]) < self.longest:
                    self.waiting.append(Req(row, row["arrival_ns"]))
                    arrived.append(row["id"])
            call = self.schedule() if len(queue) < self.depth else None
            if call is not None:
                row = self.row_of(call, arrived)
                if call["scheduled"]:
                    t, values = self.t, call["scheduled"].values()
                    new, context = sum(n for n, _ in values), sum(before for _, before in values)
                    row["start_ns"] = max(self.now, ends, call["start"])
                    length = t["base_ns"] + t["per_new_token_ns"] * new + t["per_context_token_ns"] * context
                    length += t["per_seq_ns"] * len(values) + sum(self.sync[r][0] for r in call["loads_in_step"])
                    ends = row["end_ns"] = row["start_ns"] + length
                    row |= {"step": steps, "new_tokens": new, "context_tokens": context}
                    steps, arrived = steps + 1, []
                    self.out.append(row)
                    queue.append((call, row))
                    if len(queue) < self.depth:
                        continue
                elif queue:
                    if any(row.get(field) for field in ("loads", "stores", "flushed")):
                        self.out.append(row)
                        arrived = []
                else:
                    ends = self.now = self.end = row["end_ns"] = row["start_ns"] = max(self.now, call["start"])
                    told = self.update(call, self.now)
                    acted = any(row.get(field) for field in ("loads", "stores", "flushed"))
                    heard = told["loaded"] or told["released"] or told["jobs_done"]
                    if acted or heard:
                        told |= {"free_blocks_end": len(self.free), "cpu_used": self.tier.used if self.tier else 0}
                        self.out.append(row | self.shown(told))
                        arrived = [] if acted else arrived
                    if heard or (self.tier and self.tier.wants_call()) or call["preempted"]:
                        continue
            if queue:
                call, row = queue.popleft()
                self.now = self.end = max(self.now, row["end_ns"])
                told = self.update(call, self.now)
                told |= {"free_blocks_end": len(self.free), "cpu_used": self.tier.used if self.tier else 0}
                row |= self.shown(told)
                continue
            moments = [self.pending[0]["arrival_ns"]] if self.pending else []
            moments += [load[0] for load in self.loads.values()] + list(self.pins.values())
            moments += [self.tier.next_end()] if self.tier else []
            for r in self.waiting:
                moments.append((r.row.get("external") or {}).get("unknown_until_ns", inf))
            moments = [m for m in moments if self.now < m < inf]
            if not moments:
                break
            self.now = int(min(moments))
        return self.out

    def row_of(self, call: Row, arrived: list[str]) -> Row:
        scheduled = call["scheduled"]
        row: Row = {
            "step": None, "sched_ns": self.now, "start_ns": self.now, "end_ns": self.now, "arrived": arrived,
            "scheduled": [[r.id, n, before] for r, (n, before) in scheduled.items()],
            "new": [[r.id, base] for r, base in call["new"]], "resumed": [[r.id, base] for r, base in call["resumed"]],
            "preempted": [r.id for r in call["preempted"]], "sampled": [r.id for r in call["sampling"]],
            "running": len(self.running), "waiting": len(self.waiting) + len(self.holding), "free_blocks": len(self.free),
            "drafts": [[r.id, d] for r, d in call["drafts"].items()], "padded": [r.id for r in call["padded"]],
            "loras": sorted({r.lora for r in self.running} - {None}), "loads": call["loads"], "new_tokens": 0,
            "context_tokens": 0, "finished": [], "loaded": [], "failed": [], "pinned": [], "released": [], "stores": [],
            "flushed": [], "jobs_done": [],
        }  # fmt: skip
        return self.shown(row | (self.tier.row() if self.tier else {}))

    def shown(self, row: Row) -> Row:
        """Only the fields of the features that are on."""
        hidden = set() if self.k else {"tokens"}
        if self.tier is None:
            hidden |= {"stores", "flushed", "jobs_done", "cpu_used"}
        if self.o.get("kv_connector") is None:
            hidden.add("pinned")
        if self.tier is None and self.o.get("kv_connector") is None:
            hidden |= {"loads", "loaded", "failed", "pinned", "released"}
        return {field: value for field, value in row.items() if field not in hidden}

    @property
    def stalled(self) -> bool:
        return bool(self.running or self.waiting or self.holding)
