"""External KV of the naive oracle: loads, failures, pins and roles, as a case scripts them."""

from __future__ import annotations

from math import inf
from typing import Any

from tests.conformance.naive_engine import ceil_div
from tests.conformance.naive_tier import NaiveTier

Row = dict[str, Any]


class NaiveKv:
    def __init__(self, options: Row, engine: Any) -> None:
        self.e = engine
        self.connector = options.get("kv_connector")
        self.tier = NaiveTier(options["kv_offload"], engine) if options.get("kv_offload") is not None else None
        self.on = self.connector is not None or self.tier is not None
        role = (self.connector or {"kv_role": "kv_consumer"})["kv_role"] if self.on else ""
        self.consumer = options["async_scheduling"] and role in ("kv_consumer", "kv_both")
        self.producer = role in ("kv_producer", "kv_both")
        self.fails = (self.connector or {}).get("kv_load_failure_policy", "fail") == "fail"
        self.pins: dict[Any, int] = {}
        self.aside: list[tuple[int, Any]] = []
        self.loads: dict[Any, tuple[int, int, int]] = {}  # done, local, upto
        self.sync: dict[Any, tuple[int, int]] = {}

    # -- at an admission

    def ask(self, r: Any, h: int) -> tuple[int, bool] | None:
        if self.tier:
            return self.tier.ask(r, h)
        external = r.row.get("external")
        if self.connector is None or not external or (external.get("once", True) and r.used):
            return 0, False
        if self.e.now < external.get("unknown_until_ns", 0):
            return None
        tokens = max(0, external["tokens"] - h)
        return tokens, bool(tokens) and external["mode"] == "async"

    def begin_load(self, call: Row, r: Any, local: int, ext: int) -> None:
        if self.tier:
            call["jobs"].append(self.tier.load(r, local, ext))
            call["loads"].append([r.id, local, ext, None])
            return
        external = r.row["external"]
        valid = None if r.used else external.get("valid_tokens")
        r.used = True
        r.good = None if valid is None or valid >= local + ext else max(valid, local) // self.e.size * self.e.size
        if external["mode"] == "async":
            done = self.e.now + external["load_ns"]
            self.loads[r] = (done, local, local + ext)
            call["loads"].append([r.id, local, ext, done])
        else:
            self.sync[r] = (external["load_ns"], local)
            call["loads_in_step"].append(r)
            call["loads"].append([r.id, local, ext, None])

    def promote(self, r: Any) -> None:
        r.status = "PREEMPTED" if r.preempted else "WAITING"
        if r.good is not None:
            r.computed = r.good
        r.good, r.reported = None, False
        if not r.computed:
            self.e.memory.release(r)
        self.e.memory.register(r, r.computed)
        if r.computed and r.computed == len(r.tokens):
            r.computed -= 1
            if not r.computed:
                self.e.memory.release(r)

    def reserved(self, aside: list[Any]) -> int:
        e, drafts = self.e, self.e.drafts
        more = 1 + drafts.k + drafts.lookahead if drafts.k else 0
        total = ceil_div(more, e.size)
        for r in [*e.running, *e.holding, *aside]:
            if r.under_way:
                total += max(0, ceil_div(min(len(r.tokens), e.longest) + more, e.size) - len(r.blocks))
        return total

    # -- with the output of a step

    def put_aside(self, number: int) -> None:
        """Blocks whose last step has returned are free."""
        while self.aside and self.aside[0][0] <= number:
            self.e.memory.release(self.aside.pop(0)[1])

    def due(self, call: Row, upto: int, told: Row) -> list[Any]:
        """Requests whose load is over by ``upto``."""
        done = sorted((load[0], i, r) for i, (r, load) in enumerate(self.loads.items()) if load[0] <= upto)
        told["failed"] += [r.id for r in call["loads_in_step"] if r.good is not None]
        for _, _, r in done:
            told["loaded"].append(r.id)
            if r.good is not None:
                told["failed"].append(r.id)
        return [r for _, _, r in done]

    def cut(self, call: Row, done: list[Any]) -> tuple[list[Any], list[Any]]:
        """Whose output of this step is lost, and who ends with an error."""
        e, lost = self.e, []
        errors = [r for r in e.holding if r in done and r.good is not None] if self.fails else []
        bad: set[int] = set()
        charged: set[int] = set()
        for r in call["loads_in_step"]:
            if r.good is not None:
                reached = ceil_div(call["scheduled"][r][1], e.size)
                bad |= {id(b) for b in r.blocks[r.good // e.size : reached]}
        for r in list(e.running) if bad else []:
            before = call["scheduled"][r][1] if r in call["scheduled"] else r.computed
            touched = [i for i in range(ceil_div(before, e.size)) if id(r.blocks[i]) in bad]
            if not touched:
                continue
            own = [i for i in touched if id(r.blocks[i]) not in charged]
            charged |= {id(r.blocks[i]) for i in own}
            r.computed = own[0] * e.size if own else before
            lost.append(r)
            if self.fails:
                for block in r.blocks[r.computed // e.size :]:
                    e.memory.unname(block)
                errors.append(r)
        for r in call["loads_in_step"]:
            del self.sync[r]
            r.good = None
        return lost, errors

    def settle(self, done: list[Any], upto: int, told: Row) -> None:
        """Loads are noted, pins end."""
        for r in done:
            if r in self.loads:
                del self.loads[r]
                r.reported = True
        for r, end in sorted(self.pins.items(), key=lambda pin: pin[1]):
            if end <= upto:
                del self.pins[r]
                told["released"].append(r.id)
                self.e.memory.release(r)
        if self.tier:
            told["jobs_done"], told["loaded"] = self.tier.reports(upto)

    def finished(self, r: Any, was: str, told: Row) -> None:
        """``r`` has its last token: its blocks are pinned, put aside, or free."""
        if self.tier:
            self.tier.finished(r)
        pin = r.row.get("pin_ns") if self.connector is not None else None
        if was == "RUNNING" and pin is not None:
            self.pins[r] = self.e.end + pin
            told["pinned"].append(r.id)
        elif was == "RUNNING" and self.consumer and r.in_flight:
            self.aside.append((self.e.composed, r))
        else:
            self.e.memory.release(r)

    def moments(self) -> list[float]:
        """When something of it happens next."""
        moments: list[float] = [load[0] for load in self.loads.values()] + list(self.pins.values())
        moments += [self.tier.next_end()] if self.tier else []
        return moments + [(r.row.get("external") or {}).get("unknown_until_ns", inf) for r in self.e.waiting]
