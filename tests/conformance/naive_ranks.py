"""Naive ranks that step together: the oracle for ``sim.engine.lock_step``, written from the rules alone (vLLM 0.33,
``v1/engine/core.py``, ``DPEngineCoreProc``), round by round. A rank that speculates or serves adapters is a
``NaiveFeatures``: its verifications are rows like others of the round, a rejected draft is a token that was carried."""

from __future__ import annotations

from collections import deque
from typing import Any

from tests.conformance.naive_engine import NaiveEngine, Request
from tests.conformance.naive_features import NaiveFeatures, Req


class NaiveRank(NaiveEngine):
    def receive(self, row: dict[str, Any]) -> None:
        self.waiting.append(Request(row, row["arrival_ns"]))

    def compose(self, number: int, held: bool) -> dict[str, Any] | None:
        self.last_prefill_step = self.executed + 1 if held else -(10**9)
        return self.schedule(number)

    def apply(self, batch: dict[str, Any], end: int) -> list[str]:
        return self.update(batch)

    def left(self) -> int:
        return len(self.free)


class FeatureRank(NaiveFeatures):
    def receive(self, row: dict[str, Any]) -> None:
        self.waiting.append(Req(row, row["arrival_ns"], 1))

    def compose(self, number: int, held: bool) -> dict[str, Any] | None:
        self.last_prefill = self.composed + 1 if held else -(10**9)
        batch = self.schedule()
        return batch if batch["scheduled"] else None

    def apply(self, batch: dict[str, Any], end: int) -> list[str]:
        return self.update(batch, end)["finished"]

    def left(self) -> int:
        return len(self.memory.free)

    def adapters(self) -> set[Any]:
        return {r.lora for r in self.running} - {None}


class NaiveRanks:
    def __init__(self, case: dict[str, Any]) -> None:
        options = case["engine"]
        self.sync = options.get("dp_sync_interval", 16)
        self.interval = options.get("prefill_schedule_interval", 1)
        self.step_time = case["step_time"]
        features = options.get("speculative") or options.get("max_loras")
        kind = FeatureRank if features else NaiveRank
        self.ranks: list[Any] = [kind({**case, "requests": []}) for _ in range(options["data_parallel_size"])]
        self.pending = deque(case["requests"])
        self.finished: dict[str, int] = {}
        self.rows: list[dict[str, Any]] = []

    def take(self, now: int) -> None:
        while self.pending and self.pending[0]["arrival_ns"] <= now:
            row = self.pending.popleft()
            rank = self.ranks[row["rank"]]
            if 0 < sum(length for _, length in row["prompt"]) < rank.o["max_model_len"]:
                rank.receive(row)

    def unfinished(self) -> bool:
        return any(rank.running or rank.waiting for rank in self.ranks)

    def run(self, max_rows: int) -> list[dict[str, Any]]:
        now = wave = counter = 0
        while len(self.rows) < max_rows:
            self.take(now)
            if counter == 0 and not self.unfinished():
                if not self.pending:
                    break
                now = self.pending[0]["arrival_ns"]
                continue
            one = self.round(now, wave, counter)
            now = one["end_ns"]
            counter += 1
            if counter == 1 or counter % self.sync == 0:
                one["sync"] = self.unfinished()
                if not one["sync"]:
                    wave, counter = wave + 1, 0
        return self.rows

    def round(self, now: int, wave: int, counter: int) -> dict[str, Any]:
        held = counter % self.interval != 0
        composed, shown = [], []
        for rank in self.ranks:
            batch = rank.compose(len(self.rows), held)
            composed.append(batch)
            row: dict[str, Any] = {"dummy": batch is None}
            if batch is not None:
                row |= {
                    "scheduled": [[r.id, n, before] for r, (n, before) in batch["scheduled"].items()],
                    "new": [[r.id, hit] for r, hit in batch["new"]], "resumed": [[r.id, hit] for r, hit in batch["resumed"]],
                    "preempted": [r.id for r in batch["preempted"]],
                    "sampled": [r.id for r in batch["scheduled"] if r in batch["sampling"]],
                }  # fmt: skip
            if rank.running or rank.waiting:
                row |= {"running": len(rank.running), "waiting": len(rank.waiting), "free_blocks": rank.left()}
                row["throttled"] = held
            shown.append(row)
        loads = [list(batch["scheduled"].values()) if batch else [] for batch in composed]
        tokens = max(1, *(sum(n for n, _ in load) for load in loads))
        t = self.step_time
        end = (
            now + t["base_ns"] + t["per_new_token_ns"] * tokens
            + t["per_context_token_ns"] * max(sum(before for _, before in load) for load in loads)
            + t["per_seq_ns"] * max(len(load) for load in loads)
        )  # fmt: skip
        for rank, batch, row in zip(self.ranks, composed, shown, strict=True):
            if batch is not None:
                row["finished"] = rank.apply(batch, end)
                self.finished |= dict.fromkeys(row["finished"], end)
        self.rows.append(
            {"wave": wave, "counter": counter, "start_ns": now, "end_ns": end, "padded_tokens": tokens, "ranks": shown}
        )
        return self.rows[-1]
