"""The naive oracle with what surrounds the plain rules: drafts, adapters, external KV, pins, a CPU tier, cache groups.

Like ``naive_engine`` it shares no code with ``sim.engine``: each request is looked at in each call, each token has a name, each
block is an object. It follows the rules of vLLM 0.33 line by line; slow. A feature is a file: ``naive_memory`` (groups, keys,
windows), ``naive_drafts``, ``naive_kv`` and ``naive_tier``; here they meet.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any

from tests.conformance.naive_drafts import NaiveDrafts
from tests.conformance.naive_engine import DEFAULTS
from tests.conformance.naive_kv import NaiveKv
from tests.conformance.naive_memory import NaiveMemory, Table

Row = dict[str, Any]


class Req:
    def __init__(self, row: Row, now: int, groups: int) -> None:
        self.row, self.id, self.arrival = row, row["id"], now
        self.prompt_len = sum(n for _, n in row["prompt"])
        self.tokens = [(name, i) for name, n in row["prompt"] for i in range(n)]
        self.most = row["output_len"]
        self.lora = row.get("lora") or None
        self.key = (row.get("priority", 0), now, self.id)
        self.computed = self.spec = self.placeholders = self.in_flight = self.stale = 0
        self.drop_stale = self.chunk = False
        self.status = "WAITING"
        self.tables: list[Table] = [[] for _ in range(groups)]
        self.seen = self.junction = 0
        self.n_verified = self.n_proposed = 0
        self.preempted = 0
        self.used = self.reported = self.under_way = False
        self.good: int | None = None

    @property
    def blocks(self) -> list[Any]:
        """Of one group that has no holes."""
        return self.tables[0]

    @property
    def output(self) -> int:
        return len(self.tokens) - self.prompt_len


class NaiveFeatures:
    def __init__(self, case: Row) -> None:
        o = self.o = {**DEFAULTS, "max_loras": 0, **{k: v for k, v in case["engine"].items() if v is not None}}
        if "prefix_cache_retention_interval" in case["engine"]:
            o["prefix_cache_retention_interval"] = case["engine"]["prefix_cache_retention_interval"]
        self.t = case["step_time"]
        self.size, self.longest, self.asynchronous = o["block_size"], o["max_model_len"], o["async_scheduling"]
        self.depth = 2 if self.asynchronous else 1
        self.now = self.end = 0
        self.kv = NaiveKv(o, self)
        self.drafts = NaiveDrafts(o, self.kv.on)
        self.memory = NaiveMemory(o, self.drafts.ahead, self.drafts.covered)
        self.running: list[Req] = []
        self.holding: list[Req] = []
        self.waiting: list[Req] = []
        self.composed = 0
        self.full = False
        self.last_prefill = -o["prefill_schedule_interval"]
        self.pending = deque(dict(row) for row in case["requests"])
        self.out: list[Row] = []

    def allocate(self, r: Req, n: int, hits: list[Table], ext: int, lookahead: int, reserve: int, admission: bool) -> bool:
        total = min(r.computed + len(hits[0]) * self.size + ext, self.longest)
        mark = int(self.o["watermark"] * self.o["num_gpu_blocks"]) if admission and self.running else 0
        return self.memory.allocate(r, min(total + n + lookahead, self.longest), hits, mark, reserve, admission)

    # -- one call of schedule()

    def schedule(self) -> Row:
        o, s = self.o, self.drafts.rows
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
        self.memory.handed = []
        if self.kv.tier:
            self.kv.tier.begins()
        call: Row = {"scheduled": {}, "drafts": {}, "padded": [], "preempted": [], "new": [], "resumed": [], "loads": []}
        call["loads_in_step"], call["jobs"] = [], []
        scheduled: dict[Req, tuple[int, int]] = call["scheduled"]
        carried = False
        none: list[Table] = [[] for _ in self.memory.groups]
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
            n = self.drafts.few(r, r.computed, min(n, budget, ib - s, self.longest - r.computed - 1))
            if n == 0:
                continue
            allocated = refused = False
            while not allocated:
                allocated = self.allocate(r, n, none, 0, self.drafts.lookahead, 0, False)
                if allocated:
                    break
                victim = max(self.running, key=lambda x: x.key[:2]) if by_priority else self.running[-1]
                if self.kv.consumer and victim.in_flight:
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
            self.memory.register(r, min(r.computed + n, len(r.tokens)))
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
        o, s, scheduled = self.o, self.drafts.rows, call["scheduled"]
        by_priority, served, carried = o["policy"] == "priority", bool(call["scheduled"]), False
        loras = {r.lora for r in self.running} - {None}
        none: list[Table] = [[] for _ in self.memory.groups]
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
                self.kv.promote(r)
            if r.stale > 0 and not r.drop_stale:
                skip()
                continue
            if r.lora and len(loras) == o["max_loras"] and r.lora not in loras:
                skip()
                continue
            hits, ext, background, junction = none, 0, False, r.junction
            if r.computed == 0:
                _, hits, junction = self.memory.hit(r)
                answer = self.kv.ask(r, len(hits[0]) * self.size)
                if answer is None:
                    skip()
                    continue
                ext, background = answer
            base = r.computed or len(hits[0]) * self.size + ext
            padded = False
            if background:
                n = 0
            else:
                n = len(r.tokens) - base
                if hold and n > 1:
                    break
                padded = self.drafts.pads(n, base, chunk_ran, served, self.longest)
                carries = n > 1
                if padded:
                    if 1 + self.drafts.k > min(budget, ib - s):
                        break
                    n = 1 + self.drafts.k
                n = thr if 0 < thr < n else n
                if not o["enable_chunked_prefill"] and n > min(budget, ib - s):
                    break
                n = self.drafts.few(r, base, min(n, budget, ib - s))
                if n == 0:
                    skip()
                    continue
            reserve = self.kv.reserved(aside) if background else 0
            if not self.allocate(r, n, hits, ext, 0 if background else self.drafts.lookahead, reserve, True):
                break
            queue.remove(r)
            r.junction = junction
            if background:
                r.status, r.computed, r.reported, r.under_way = "LOADING", base, False, True
                aside.append(r)
                self.kv.begin_load(call, r, len(hits[0]) * self.size, ext)
                continue
            if ext:
                self.kv.begin_load(call, r, len(hits[0]) * self.size, ext)
            self.memory.register(r, min(base + n, len(r.tokens)))
            r.status, r.computed = "RUNNING", base
            r.under_way = r.under_way or base + n < len(r.tokens)
            self.running.append(r)
            scheduled[r] = (n, base)
            if padded:
                call["drafts"][r] = self.drafts.k
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
        self.drafts.settle(len(scheduled))
        call["next"] = self.drafts.next
        call["start"] = self.kv.tier.ends(call) if self.kv.tier else self.now
        for load, job in zip(call["loads"], call["jobs"], strict=False):
            load[3] = job["end"]
        for r, (n, before) in scheduled.items():
            r.computed, r.in_flight = before + n, r.in_flight + n
            r.chunk = r.computed < len(r.tokens) + r.placeholders
            r.under_way = r.under_way and r.chunk
            if self.asynchronous and not r.chunk:
                r.placeholders += 1 + call["drafts"].get(r, 0)
                r.spec = self.drafts.next
        call["sampling"] = [r for r in scheduled if not r.chunk]
        if scheduled:
            self.composed += 1
            if carried:
                self.last_prefill = self.composed
        call["number"] = self.composed

    def preempt(self, r: Req) -> None:
        self.memory.release(r)
        r.computed = r.spec = r.placeholders = 0
        r.drop_stale = self.kv.producer or (r.drop_stale and r.stale > 0)
        r.stale = r.in_flight
        r.status, r.under_way = "PREEMPTED", False
        r.preempted += 1
        self.waiting.insert(0, r)

    # -- the output of a step

    def update(self, call: Row, upto: int) -> Row:
        told: Row = {"finished": [], "loaded": [], "failed": [], "released": [], "pinned": [], "tokens": [], "jobs_done": []}
        self.kv.put_aside(call["number"] if call["scheduled"] else -1)
        done = self.kv.due(call, upto, told)
        lost, errors = self.kv.cut(call, done)
        for r, (n, _) in call["scheduled"].items():
            self.deliver(call, r, n, r in lost, told)
        for r in errors:
            told["finished"].append(r.id)
            (self.running if r in self.running else self.holding).remove(r)
            self.kv.loads.pop(r, None)
            self.memory.release(r)
            r.status = "FINISHED"
        self.kv.settle(done, upto, told)
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
            a = self.drafts.accepted(r, d)
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
            if r.status == "RUNNING" and (had or self.drafts.k):
                self.memory.register(r, r.computed - r.in_flight)
        if stopped:
            self.finish(r, told)
        elif not self.asynchronous and self.drafts.k:
            r.spec = self.drafts.proposed(r, call["next"])

    def finish(self, r: Req, told: Row) -> None:
        told["finished"].append(r.id)
        was = r.status
        (self.running if was == "RUNNING" else self.waiting).remove(r)
        r.status = "FINISHED"
        self.kv.finished(r, was, told)

    # -- the loop of the engine core

    def run(self, most: int = 10**9) -> list[Row]:
        queue: deque[tuple[Row, Row]] = deque()
        arrived: list[str] = []
        ends = steps = 0
        while len(self.out) < most:
            while self.pending and self.due(self.pending[0], steps):
                row = self.pending.popleft()
                if 0 < sum(n for _, n in row["prompt"]) < self.longest:
                    self.waiting.append(Req(row, row.get("arrival_ns", self.now), len(self.memory.groups)))
                    arrived.append(row["id"])
            call = self.schedule() if len(queue) < self.depth else None
            if call is not None:
                row = self.row_of(call, arrived)
                if call["scheduled"]:
                    t, values = self.t, call["scheduled"].values()
                    new, context = sum(n for n, _ in values), sum(before for _, before in values)
                    row["start_ns"] = max(self.now, ends, call["start"])
                    length = t["base_ns"] + t["per_new_token_ns"] * new + t["per_context_token_ns"] * context
                    length += t["per_seq_ns"] * len(values) + sum(self.kv.sync[r][0] for r in call["loads_in_step"])
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
                        told |= self.left()
                        self.out.append(row | self.shown(told))
                        arrived = [] if acted else arrived
                    if heard or (self.kv.tier and self.kv.tier.wants_call()) or call["preempted"]:
                        continue
            if queue:
                call, row = queue.popleft()
                self.now = self.end = max(self.now, row["end_ns"])
                told = self.update(call, self.now)
                row |= self.shown(told | self.left())
                continue
            moments = self.kv.moments() + [row["arrival_ns"] for row in [*self.pending][:1] if "arrival_ns" in row]
            moments = [m for m in moments if self.now < m < inf]
            if not moments and self.pending and "arrival_step" in self.pending[0]:
                self.pending[0]["arrival_step"] = steps
                continue
            if not moments:
                break
            self.now = int(min(moments))
        return self.out

    def due(self, row: Row, steps: int) -> bool:
        return row["arrival_step"] <= steps if "arrival_step" in row else row["arrival_ns"] <= self.now

    def left(self) -> Row:
        return {"free_blocks_end": len(self.memory.free), "cpu_used": self.kv.tier.used if self.kv.tier else 0}

    def row_of(self, call: Row, arrived: list[str]) -> Row:
        scheduled = call["scheduled"]
        row: Row = {
            "step": None, "sched_ns": self.now, "start_ns": self.now, "end_ns": self.now, "arrived": arrived,
            "scheduled": [[r.id, n, before] for r, (n, before) in scheduled.items()],
            "new": [[r.id, base] for r, base in call["new"]], "resumed": [[r.id, base] for r, base in call["resumed"]],
            "preempted": [r.id for r in call["preempted"]], "sampled": [r.id for r in call["sampling"]],
            "running": len(self.running), "waiting": len(self.waiting) + len(self.holding), "free_blocks": len(self.memory.free),
            "drafts": [[r.id, d] for r, d in call["drafts"].items()], "padded": [r.id for r in call["padded"]],
            "loras": sorted({r.lora for r in self.running} - {None}), "loads": call["loads"], "new_tokens": 0,
            "context_tokens": 0, "finished": [], "loaded": [], "failed": [], "pinned": [], "released": [], "stores": [],
            "flushed": [], "jobs_done": [],
        }  # fmt: skip
        row["held"] = [[r.id, *(sum(block is not None for block in table) for table in r.tables)] for r in scheduled]
        return self.shown(row | (self.kv.tier.row() if self.kv.tier else {}))

    def shown(self, row: Row) -> Row:
        """Only the fields of the features that are on."""
        hidden = set() if self.drafts.k else {"tokens", "drafts", "padded"}
        if not self.o["max_loras"]:
            hidden.add("loras")
        if not self.o.get("kv_groups"):
            hidden.add("held")
        if self.kv.tier is None:
            hidden |= {"stores", "flushed", "jobs_done", "cpu_used"}
        if self.kv.connector is None:
            hidden.add("pinned")
        if not self.kv.on:
            hidden |= {"loads", "loaded", "failed", "pinned", "released"}
        return {field: value for field, value in row.items() if field not in hidden}

    @property
    def stalled(self) -> bool:
        return bool(self.running or self.waiting or self.holding)
