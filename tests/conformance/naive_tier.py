"""The CPU tier of the naive oracle: every block a row in a dict, every rule as it is written down."""

from __future__ import annotations

from math import inf
from typing import Any


class NaiveTier:
    def __init__(self, options: dict[str, Any], engine: Any) -> None:
        self.e = engine
        self.room = options.get("cpu_chunks", 1000)
        self.arc = options.get("eviction_policy", "lru") == "arc"
        self.threshold = options.get("store_threshold", 0)
        self.prompt_only = options.get("offload_prompt_only", False)
        self.base = options.get("transfer_base_ns", 200_000)
        self.per = {"store": options.get("store_ns_per_block", 100_000), "load": options.get("load_ns_per_block", 100_000)}
        self.stream = {"store": 0, "load": 0}
        self.chunks: dict[Any, dict[str, Any]] = {}
        self.offers: dict[Any, int] = {}
        self.state: dict[Any, dict[str, Any]] = {}
        self.jobs: list[dict[str, Any]] = []
        self.count = self.numbers = 0
        self.over: list[Any] = []
        self.lists: dict[str, list[Any]] = {"T1": [], "T2": [], "B1": [], "B2": []}
        self.target = 0.0
        self.begins()

    @property
    def used(self) -> int:
        return len(self.chunks)

    def of(self, r: Any) -> dict[str, Any]:
        return self.state.setdefault(r, {"cursor": 0, "list": [], "number": 0, "seen": {}})

    def begins(self) -> None:
        for job in self.jobs:
            if job["kind"] == "store" and job["end"] is None:
                self.submit(job, self.e.now)
        self.told: dict[str, Any] = {"stores": [], "flushed": [], "ask_later": [], "cpu_evicted": 0, "store_dropped": 0}
        self.new_loads: list[dict[str, Any]] = []

    def submit(self, job: dict[str, Any], now: int) -> None:
        kind = job["kind"]
        job["end"] = self.stream[kind] = max(now, self.stream[kind]) + self.base + len(job["blocks"]) * self.per[kind]

    def ask(self, r: Any, h: int) -> tuple[int, bool] | None:
        one = self.of(r)
        one["cursor"], one["list"] = 0, []
        run = []
        for i in range(h // self.e.size, len(r.tokens) // self.e.size):
            key = self.e.memory.key_of(r, i)
            if key not in self.chunks:
                break
            run.append(key)
        busy = any(job["r"] is r for job in self.jobs)
        pending = any(not self.chunks[key]["ready"] for key in run)
        others = {key for job in self.jobs if job["kind"] == "load" for key in job["keys"]}
        if busy or pending or (self.e.o["enable_prefix_caching"] and others & set(run)):
            self.told["ask_later"].append(r.id)
            return None
        return len(run) * self.e.size, bool(run)

    def job(self, r: Any, kind: str, blocks: list[int], keys: list[Any]) -> dict[str, Any]:
        job = {"id": self.count, "r": r, "kind": kind, "blocks": blocks, "keys": keys, "end": None}
        job["gpu"] = [self.of(r)["list"][i] for i in blocks] if kind == "store" else []
        self.count += 1
        self.jobs.append(job)
        return job

    def number(self, one: dict[str, Any]) -> int:
        if not one["number"]:
            self.numbers += 1
            one["number"] = self.numbers
        return one["number"]

    def load(self, r: Any, local: int, ext: int) -> dict[str, Any]:
        one, size = self.of(r), self.e.size
        blocks = list(range(local // size, (local + ext) // size))
        keys = [self.e.memory.key_of(r, i) for i in blocks]
        one["cursor"] = blocks[-1] + 1
        self.number(one)
        for key, i in zip(keys, blocks, strict=True):
            self.touch(one, key, i)
            one["seen"][key] = (i, True)
            self.chunks[key]["loads"] += 1
        self.new_loads.append(self.job(r, "load", blocks, keys))
        return self.new_loads[-1]

    def touch(self, one: dict[str, Any], key: Any, place: int) -> None:
        if key not in one["seen"]:
            self.chunks[key]["rank"] = max(self.chunks[key]["rank"], (self.number(one), -place))

    def ends(self, call: dict[str, Any]) -> int:
        e = self.e
        for r, (n, before) in call["scheduled"].items():
            self.of(r)["list"] = list(r.blocks)
            self.offer(r, before + n)
        for r in self.over:
            self.offer(r, max(r.prompt_len, len(r.tokens) - 1))
        urgent = []
        for job in self.jobs:
            if job["kind"] == "load" or (job["end"] is not None and job["end"] <= e.now):
                continue
            reads = any(any(b is g for g in job["gpu"]) for b in e.memory.handed)
            if job["r"] in call["preempted"] or (job["r"].status == "FINISHED" and reads):
                urgent.append(job)
        start = e.now
        for job in urgent:
            if job["end"] is None:
                self.submit(job, e.now)
            self.told["flushed"].append(job["id"])
            start = max(start, job["end"])
        for job in self.new_loads:
            self.submit(job, start)
        for r in self.over:
            self.finally_over(self.of(r))
        self.over = []
        return start

    def offer(self, r: Any, tokens: int) -> None:
        one, size = self.of(r), self.e.size
        tokens = min(tokens, len(r.tokens), r.prompt_len if self.prompt_only else 10**9)
        end = min(tokens // size, len(one["list"]), len(r.tokens) // size)
        keys = [(self.e.memory.key_of(r, i), i) for i in range(one["cursor"], end)]
        if not keys:
            return
        if self.threshold >= 2:
            for key, _ in keys:
                self.offers[key] = self.offers.get(key, 0) + 1
            keys = [(key, i) for key, i in keys if self.offers[key] >= self.threshold]
        offered = {key for key, _ in keys}
        new = [(key, i) for key, i in keys if key not in self.chunks]
        usable = [k for k, c in self.chunks.items() if c["ready"] and not c["loads"] and k not in offered]
        lacking = len(new) - (self.room - len(self.chunks))
        if lacking > len(usable):
            self.told["store_dropped"] += 1
            return
        self.number(one)
        for key, i in reversed(keys):
            if key in self.chunks:
                ready = self.chunks[key]["ready"]
                self.touch(one, key, i)
                one["seen"].setdefault(key, (i, ready))
            elif self.arc and key not in one["seen"]:
                self.ghost(key)
        for _ in range(max(0, lacking)):
            self.evict(usable)
        for key, i in new:
            self.chunks[key] = {"ready": False, "loads": 0, "rank": (one["number"], -i)}
            one["seen"].setdefault(key, (i, False))
            if self.arc:
                for name in ("B1", "B2"):
                    if key in self.lists[name]:
                        self.lists[name].remove(key)
                self.lists["T1"].append(key)
        one["cursor"] = end
        if new:
            job = self.job(r, "store", [i for _, i in new], [key for key, _ in new])
            self.told["stores"].append([job["id"], r.id, job["blocks"]])

    def evict(self, usable: list[Any]) -> None:
        if self.arc:
            once = [k for k in self.lists["T1"] if k in usable]
            often = [k for k in self.lists["T2"] if k in usable]
            first = once and (len(self.lists["T1"]) >= int(self.target) or not often)
            key, of, ghosts = (once[0], "T1", "B1") if first else (often[0], "T2", "B2")
            self.lists[of].remove(key)
            self.lists[ghosts] = [*self.lists[ghosts], key][-self.room :]
        else:
            key = min(usable, key=lambda k: self.chunks[k]["rank"])
        usable.remove(key)
        del self.chunks[key]
        self.told["cpu_evicted"] += 1

    def ghost(self, key: Any) -> None:
        one, two = self.lists["B1"], self.lists["B2"]
        if key in one:
            self.target = min(self.target + max(1.0, len(two) / len(one)), float(self.room))
        elif key in two:
            self.target = max(self.target - max(1.0, len(one) / len(two)), 0.0)
        for ghosts in (one, two):
            if key in ghosts:
                ghosts.remove(key)
                ghosts.append(key)

    def finished(self, r: Any) -> None:
        if r in self.state:
            self.over.append(r)

    def finally_over(self, one: dict[str, Any]) -> None:
        for key, (place, read) in sorted(one["seen"].items(), key=lambda item: -item[1][0]):
            if key not in self.chunks:
                continue
            self.numbers += 1
            self.chunks[key]["rank"] = (self.numbers, -place)
            if self.arc:
                own = "T1" if key in self.lists["T1"] else "T2"
                self.lists[own].remove(key)
                self.lists["T2" if read else own].append(key)

    def reports(self, upto: int) -> tuple[list[int], list[str]]:
        done = sorted((j for j in self.jobs if j["end"] is not None and j["end"] <= upto), key=lambda j: j["end"])
        loaded = []
        for job in done:
            self.jobs.remove(job)
            for key in job["keys"]:
                if job["kind"] == "store":
                    self.chunks[key]["ready"] = True
                else:
                    self.chunks[key]["loads"] -= 1
            if job["kind"] == "load":
                job["r"].reported = True
                loaded.append(job["r"].id)
        return [job["id"] for job in done], loaded

    def wants_call(self) -> bool:
        return bool(self.over) or any(job["end"] is None for job in self.jobs)

    def next_end(self) -> float:
        return min((job["end"] for job in self.jobs if job["end"] is not None), default=inf)

    def row(self) -> dict[str, Any]:
        return dict(self.told)
