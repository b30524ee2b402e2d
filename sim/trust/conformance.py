"""``servecap conformance``: the project's own engine against recordings of the real scheduler, step for step.

A case folder holds ``case.json`` (engine options under vLLM's names, an integer-affine step time in nanoseconds, requests
whose prompts are ``[segment, tokens]`` pieces) and ``steps.jsonl`` (or ``.gz``), one row a step of the real scheduler. The
case is driven through ``sim.engine`` on a clock of whole numbers, the code that simulations use, and every field of every
row must agree, and what ``requests.jsonl`` (or ``.gz``) says became of each request. Requests may name ``arrival_step``
(number of non-empty steps composed so far) instead of ``arrival_ns``.
"""

from __future__ import annotations

import argparse
import gzip
import json
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from sim.engine.acceptance import AcceptancePath
from sim.engine.adapters import Adapters
from sim.engine.batch import Batch
from sim.engine.books import Books
from sim.engine.cache_groups import GroupedBlockPool
from sim.engine.clock import ARRIVAL, Clock, Moment
from sim.engine.drafts import Drafts
from sim.engine.invariants import WatchedScheduler
from sim.engine.listener import EngineListener, StepListener
from sim.engine.replica import Replica
from sim.engine.request import EngineRequest
from sim.engine.scheduler import Scheduler
from sim.errors import TraceError, reading
from sim.perf.kv_groups import CacheGroup, Kind
from sim.perf.step_time import AffineStepTime
from sim.spec import EngineSpec
from sim.spec.kv_connector import KvConnectorSpec
from sim.trust import rank_recording, recorded_requests
from sim.trust.scripted_source import RecordedOffload, ScriptedSource
from sim.watch import watch_of_this_job

_DEFAULTS: dict[str, Any] = {
    "max_num_seqs": 128, "max_num_batched_tokens": 2048, "max_model_len": 8192, "block_size": 16, "async_scheduling": False,
}  # fmt: skip
_COMPARED = (
    "sched_ns", "arrived", "preempted", "new", "resumed", "scheduled", "start_ns", "end_ns", "sampled", "finished",
    "new_tokens", "context_tokens", "running", "waiting", "free_blocks", "free_blocks_end", "held", "drafts", "padded",
    "tokens", "loras", "loads", "loaded", "failed", "pinned", "released",
    "stores", "flushed", "jobs_done", "ask_later", "cpu_used", "cpu_evicted", "store_dropped",
)  # fmt: skip


def read_case(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """``case.json`` and the recorded rows of a case folder."""
    case_file = folder / "case.json"
    if not case_file.is_file():
        raise TraceError(f"{folder}: no case.json there; a conformance case is a folder with case.json and steps.jsonl[.gz]")
    plain, packed = folder / "steps.jsonl", folder / "steps.jsonl.gz"
    rows_file = plain if plain.is_file() else packed
    if not rows_file.is_file():
        raise TraceError(f"{folder}: neither steps.jsonl nor steps.jsonl.gz is there")
    with reading(rows_file, "the steps of a conformance case", TraceError):
        text = plain.read_text("utf-8") if rows_file == plain else gzip.decompress(packed.read_bytes()).decode("utf-8")
        rows = [_json(line, f"{rows_file}, line {n}") for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    with reading(case_file, "a conformance case", TraceError):
        return _json(case_file.read_text("utf-8"), str(case_file)), rows


def _json(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise TraceError(f"{where}: is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise TraceError(f"{where}: expected a JSON object, but got {text[:40]!r}")
    return found


def engine_of(options: dict[str, Any]) -> tuple[EngineSpec, int]:
    """The engine that a case's options describe, and its number of GPU blocks."""
    options = {**_DEFAULTS, **{name: value for name, value in options.items() if value is not None}}
    blocks = int(options.pop("num_gpu_blocks", 1000))
    options.pop("kv_groups", None)
    options.pop("prefix_cache_retention_interval", None)
    connector = options.pop("kv_connector", None)
    if options.pop("kv_offload", None) is not None:
        connector = {"kv_role": "kv_consumer"}
    if connector is not None:
        options["kv_connector"] = KvConnectorSpec(
            role=connector["kv_role"], load_failure_policy=connector.get("kv_load_failure_policy", "fail")
        )
    if "policy" in options:
        options["scheduling_policy"] = options.pop("policy")
    return EngineSpec(**options), blocks


def _grouped(options: dict[str, Any], spec: EngineSpec, blocks: int) -> GroupedBlockPool | None:
    """The pool of a case with ``kv_groups``."""
    groups = options.get("kv_groups")
    if groups is None:
        return None
    kinds: dict[str, Kind] = {"full": "full", "sliding": "sliding", "mamba": "state"}
    layout = [
        CacheGroup(kinds[group["type"]], 1, group.get("block_size", spec.block_size), group.get("window", 0))
        for group in groups
    ]
    return GroupedBlockPool(blocks, spec, layout, options.get("prefix_cache_retention_interval", 0))


class Recording(EngineListener, StepListener):
    """Drives one case and collects rows in the recordings' own form."""

    def __init__(self, case: dict[str, Any], skip_decode: bool = False, check_invariants: bool = False) -> None:
        spec, blocks = engine_of(case["engine"])
        grouped = _grouped(case["engine"], spec, blocks)
        affine = case["step_time"]
        time = AffineStepTime(
            affine["base_ns"], affine["per_new_token_ns"], affine["per_context_token_ns"], affine["per_seq_ns"]
        )
        drafts = Drafts(spec, time) if spec.speculative.drafts else None
        adapters = Adapters(spec.max_loras, spec.max_loras, time) if spec.max_loras else None
        self.clock = Clock(initial_time=0)
        self.source: ScriptedSource | RecordedOffload | None = None
        if case["engine"].get("kv_offload") is not None:
            self.source = RecordedOffload(self.clock, case["engine"]["kv_offload"])
        elif spec.kv_connector.role != "none":
            self.source = ScriptedSource(self.clock, {row["id"]: row for row in case["requests"]})
        self.scheduler = (
            WatchedScheduler(
                spec, blocks, "the case's engine", lambda: self.clock.now, grouped, None, drafts, adapters, self.source
            )
            if check_invariants
            else Scheduler(spec, blocks, grouped, None, None, drafts, adapters, self.source)
        )
        self.scheduler.skip_decode = skip_decode
        self.scheduler.record_order = not skip_decode
        self.replica = Replica(
            self.clock,
            self.scheduler,
            time,
            spec.async_scheduling,
            listener=self,
            steps=self,
        )
        if self.source is not None:
            self.source.attach(self.replica)
        self.rows: list[dict[str, Any]] = []
        self.n_steps = 0
        self._row_of: dict[int, dict[str, Any]] = {}
        self._arrived: list[str] = []
        self.submitted: list[EngineRequest] = []
        self._by_id: dict[str, EngineRequest] = {}
        self.answered: dict[str, EngineRequest] = {}
        self.failed_at: dict[str, float] = {}
        self.rejected: list[str] = []
        self._by_step: list[tuple[int, dict[str, Any]]] = []
        for row in case["requests"]:
            if "arrival_step" in row:
                self._by_step.append((row["arrival_step"], row))
            else:
                self.clock.at(row["arrival_ns"], ARRIVAL, self._arrives, row)
        if self._by_step:
            self._by_step.sort(key=lambda pair: pair[0])
            self._arrivals_by_step()

    def run(self, max_steps: float = inf) -> list[dict[str, Any]]:
        """The rows, once nothing more can happen or ``max_steps`` are there (a request that cannot fit may be preempted
        and admitted again for ever)."""
        while len(self.rows) < max_steps:
            if self.clock.peek() < inf:
                self.clock.step()
            elif self._by_step:
                self._arrive(self._by_step.pop(0)[1])  # an idle engine waits for the next arrival
            else:
                break
        return self.rows

    @property
    def stalled(self) -> bool:
        """Requests are left that can never be scheduled."""
        return bool(self.scheduler.books.n_waiting or self.scheduler.books.running)

    def drafts(self) -> dict[str, dict[str, int]]:
        """Request -> drafts that were verified and accepted, of those that had some."""
        states = {r.request_id: r.drafts for r in self.submitted if r.drafts is not None}
        return {name: {"drafted": state.drafted, "accepted": state.accepted} for name, state in states.items()}

    def _arrivals_by_step(self) -> None:
        while self._by_step and self._by_step[0][0] <= self.n_steps:
            self._arrive(self._by_step.pop(0)[1])

    def _arrives(self, moment: Moment) -> None:
        self._arrive(moment.value)

    def _arrive(self, row: dict[str, Any]) -> None:
        prompt_len = sum(tokens for _, tokens in row["prompt"])
        if not 0 < prompt_len < self.scheduler.limits.max_model_len:
            self.rejected.append(row["id"])
            return
        self._arrived.append(row["id"])
        request = EngineRequest(
            row["id"],
            prompt_len,
            row["output_len"],
            self.clock.now,
            row.get("priority", 0),
            tuple((name, tokens) for name, tokens in row["prompt"]),
            f"out:{row['id']}",
        )
        request.lora = row.get("lora") or None
        request.accept = AcceptancePath(row.get("accept", (0,)), proposals=row.get("draft_len", ()))
        self.submitted.append(request)
        self._by_id[request.request_id] = request
        self.replica.submit(request)

    def closed(self, name: str, step: int, scheduler: Scheduler, batch: Batch) -> None:
        """See ``StepListener``."""
        order = batch.order or []
        row = {
            "step": self.n_steps,
            "sched_ns": batch.sched_at,
            "start_ns": batch.start,
            "end_ns": batch.end,
            "arrived": self._arrived,
            "scheduled": [[r.request_id, n, before] for r, n, before in order],
            "new": [[r.request_id, r.cached_tokens] for r in batch.admitted if not r.preemptions],
            "resumed": [
                [r.request_id, before] for r, _, before in batch.prefills if r.preemptions and r in batch.admitted
            ],
            "preempted": [r.request_id for r in batch.preempted],
            "sampled": [],
            "new_tokens": sum(n for _, n, _ in order),
            "context_tokens": sum(before for _, _, before in order),
            "running": len(scheduler.books.running),
            "waiting": scheduler.books.n_waiting,
            "free_blocks": scheduler.pool.free,
            "finished": [],
            "free_blocks_end": None,
        }
        self._features(row, batch, scheduler.books)
        if scheduler.books.grouped is not None:
            row["held"] = [[r.request_id, *scheduler.books.grouped.held(r)] for r, _, _ in order]
        sampled = set(map(id, batch.sampled))
        chunks = {id(r) for r, _, _ in batch.prefills}
        row["sampled"] = [r.request_id for r, _, _ in order if id(r) in sampled or id(r) not in chunks]
        self._arrived = []
        self._row_of[id(batch)] = row
        if self.source is not None:
            row["loads"] = self._begun(scheduler)
            row |= self.source.of_the_call()
        self.n_steps += 1
        self.rows.append(row)
        self._arrivals_by_step()

    @staticmethod
    def _features(row: dict[str, Any], batch: Batch, books: Books) -> None:
        """The fields of speculation and adapters."""
        speculation = batch.speculation
        row["drafts"] = [[r.request_id, drafts] for r, drafts in speculation.drafts.items()] if speculation else []
        row["padded"] = [r.request_id for r in speculation.padded] if speculation else []
        row["tokens"] = [] if speculation else None
        row["loras"] = sorted(books.adapters.running) if books.adapters is not None else []

    def _begun(self, scheduler: Scheduler) -> list[list[Any]]:
        external = scheduler.books.external
        assert external is not None
        assert self.source is not None
        return [[r.request_id, local, tokens, self.source.done_at(r)] for r, local, tokens in external.begun]

    def looked(self, scheduler: Scheduler, now: float) -> None:
        """See ``StepListener``."""
        books = scheduler.books
        idle = books.composed == books.returned
        start = max(now, self.source.start) if self.source is not None and idle else now
        row: dict[str, Any] = {"step": None, "sched_ns": now, "start_ns": start, "end_ns": start, "arrived": self._arrived}
        for field in ("scheduled", "new", "resumed", "sampled", "finished"):
            row[field] = []
        row["preempted"] = [r.request_id for r in scheduler.in_vain]
        row |= {"new_tokens": 0, "context_tokens": 0, "running": len(books.running), "loads": self._begun(scheduler)}
        row |= {"free_blocks": scheduler.pool.free, "waiting": books.n_waiting, "free_blocks_end": scheduler.pool.free}
        row |= {field: [] for field in ("loaded", "failed", "released", "pinned", "drafts", "padded", "tokens", "loras")}
        row["loras"] = sorted(books.adapters.running) if books.adapters is not None else []
        if self.source is not None:
            row |= self.source.of_the_call() | self.source.of_the_output()
        if row["loads"] or row.get("stores") or row.get("flushed"):
            self._arrived = []  # else the recordings show here, too, who arrives before the next row
        self.rows.append(row)

    def heard(self, scheduler: Scheduler) -> None:
        """See ``StepListener``."""
        self._note_reports(self.rows[-1], scheduler)

    def _note_reports(self, row: dict[str, Any], scheduler: Scheduler) -> None:
        external = scheduler.books.external
        assert external is not None
        assert self.source is not None
        row["finished"].extend([r.request_id for r in external.ended])
        row["loaded"] = [r.request_id for r in external.loaded]
        row["failed"] = [r.request_id for r in external.failed]
        row["released"] = [r.request_id for r in external.released]
        row["free_blocks_end"] = scheduler.pool.free
        row |= self.source.of_the_output()

    def finished(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        self.answered[request.request_id] = request

    def failed(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        self.failed_at[request.request_id] = self.replica.output_time

    def returned(self, batch: Batch) -> None:
        """See ``StepListener``."""
        row = self._row_of.pop(id(batch), None)
        if row is not None:
            row["finished"] = [r.request_id for r in batch.finishing]
            row["free_blocks_end"] = self.scheduler.pool.free
            if batch.speculation is not None:
                row["tokens"] = [[r.request_id, n] for r, n in batch.speculation.delivered]
            row["lost"] = [r for r in row["sampled"] if self._by_id[r].dropped_until >= batch.number]
            if self.source is not None:
                self._note_reports(row, self.scheduler)


def first_difference(recorded: list[dict[str, Any]], ours: list[dict[str, Any]]) -> str | None:
    """What differs first, in words, or None."""
    for index, (theirs, mine) in enumerate(zip(recorded, ours, strict=False)):
        for field in _COMPARED:
            if field in theirs and theirs[field] != mine[field]:
                return f"step {index}, {field}: recorded {theirs[field]!r}, ours {mine[field]!r}"
    if len(recorded) != len(ours):
        return f"{len(recorded)} steps recorded, ours has {len(ours)}"
    return None


class Verdict(NamedTuple):
    """What came out of one case: the first difference (None = identical), and whether requests were left for ever."""

    difference: str | None
    stalled: bool


def check_case(folder: Path) -> Verdict:
    """Drive the case in ``folder`` and compare every step."""
    case, recorded = read_case(folder)
    meta_file = folder / "meta.json"
    with reading(meta_file, "what a recording says of itself", TraceError):
        meta = _json(meta_file.read_text("utf-8"), str(meta_file)) if meta_file.is_file() else {}
    if case.get("engine", {}).get("data_parallel_size", 1) > 1:
        return Verdict(_of_ranks(folder, case, recorded), False)
    with reading(folder / "case.json", "a conformance case", TraceError):
        recording = Recording(case)
        ours = recording.run(len(recorded) + 1)
    if meta.get("stalled"):
        ours = ours[: len(recorded)]  # a recording of an endless run was stopped somewhere
    with reading(folder, "a conformance case", TraceError):
        difference = first_difference(recorded, ours)
    if difference is None:
        difference = recorded_requests.first_difference(recorded_requests.read_requests(folder), ours, recording.drafts())
    if difference is None and meta.get("stalled", recording.stalled) != recording.stalled:
        difference = f"recorded stalled={str(meta['stalled']).lower()}, ours {str(recording.stalled).lower()}"
    return Verdict(difference, recording.stalled)


def _of_ranks(folder: Path, case: dict[str, Any], recorded: list[dict[str, Any]]) -> str | None:
    """The first difference of a case of ranks that step together."""
    with reading(folder / "case.json", "a conformance case", TraceError):
        spec, blocks = engine_of(case["engine"])
        ours = rank_recording.RankRecording(case, spec, blocks).run(len(recorded) + 1)
    with reading(folder, "a conformance case", TraceError):
        difference = rank_recording.first_difference(recorded, ours)
    requests = recorded_requests.read_requests(folder)
    for number, steps in enumerate(rank_recording.steps_of_ranks(ours, spec.data_parallel_size)):
        mine = [row for row in requests if row.get("rank") == number]
        difference = difference or recorded_requests.first_difference(mine, steps)
    return difference


def main(argv: list[str]) -> int:
    """The verb: check each case, print the first differences, last line ``N of M identical``."""
    parser = argparse.ArgumentParser(prog="servecap conformance", description="Replay recorded scheduler cases.")
    parser.add_argument("cases", nargs="+", type=Path, metavar="CASE", help="folder with case.json and steps.jsonl[.gz]")
    parser.add_argument("--json", action="store_true", help="one JSON object: the cases, how many are identical")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress on standard error")
    options = parser.parse_args(list(argv))
    folders: list[Path] = options.cases
    identical, told = 0, []
    for number, folder in enumerate(folders, start=1):
        watch_of_this_job().part = f"case {number} of {len(folders)}, {folder.name}"
        difference, stalled = check_case(folder)
        identical += difference is None
        told.append({"case": folder.name, "identical": difference is None, "difference": difference, "stalled": stalled})
        if not options.json:
            note = "; stalled: a request that can never fit blocks the queue" if stalled else ""
            print(f"{folder.name}: {difference or 'identical'}{note}")
    if options.json:
        print(json.dumps({"cases": told, "identical": identical, "of": len(folders)}, indent=1))
    else:
        print(f"{identical} of {len(folders)} identical")
    return 0 if identical == len(folders) else 1
