"""``Recorder``: fills the columns while the simulation runs. One row a client request, written where it has its outcome.

Columns are flat, sized once from the number of requests (``sim.columns``): a million requests cost some 200 MB, or as
much of a disk, and writing a row costs a few hundred nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import pandas as pd

from sim.columns import Column, Columns, let_go, slices
from sim.record.result import OUTCOMES, REQUEST_COLUMNS

GiveUp = Callable[[float, float, float, bool, str, bool], str | None]
"""Told of every finished request (TTFT, TPOT, E2E in seconds, NaN = undefined; answered or not; why not, and whether it was
rejected); a text ends the run."""

_NAN = float("nan")
COMPLETED: Final = 0
ESCALATED: Final = 1
TIMED_OUT: Final = 2
SHED: Final = 3
REJECTED: Final = 4
FAILED: Final = 5
"""Places in ``OUTCOMES``."""


class Handovers:
    """KV caches that came from another server: of the last handover of each request."""

    def __init__(self, columns: Columns) -> None:
        self.transfer_s = columns.of("d", _NAN)
        self.handover_s = columns.of("d", _NAN)
        self.transfer_bytes = columns.of("d")
        self.prefill_replica = columns.of("i", -1)


class Recorder:
    """Rows of ``Result.requests``, by request index, and the events of the run."""

    def __init__(self, columns: Columns, pools: tuple[str, ...], give_up: GiveUp | None = None) -> None:
        self.columns = columns
        self.pools = pools
        self.give_up = give_up
        self.stopped_early: str | None = None
        self.on_outcome: Callable[[int], None] | None = None
        """Told of every request that has its outcome: users who wait send their next one."""
        self.open_requests = columns.rows
        """Requests that have no outcome yet."""
        self.first_token_s = columns.of("d", _NAN)
        self.finish_s = columns.of("d", _NAN)
        self.queue_s = columns.of("d", _NAN)
        self.output_tokens = columns.of("q")
        self.cached_tokens = columns.of("q")
        self.wasted_tokens = columns.of("q")
        self.attempts = columns.of("i", 1)
        self.api_usd = columns.of("d")
        self.preemptions = columns.of("i")
        self.outcome = columns.of("b", -1)
        self.reason = columns.of("h")
        self.pool = columns.of("h", -1)
        self.replica = columns.of("i", -1)
        self.handovers: Handovers | None = None
        """None where there was none at all."""
        self.work: dict[str, Column] = {}
        """Pool of the fleet -> prompt tokens computed there for each request, then tokens sampled for each, all its attempts
        and passes together, answered or not."""
        self._reasons: dict[str, int] = {"": 0}
        self.events: list[dict[str, Any]] = []

    def answered(
        self,
        row: int,
        arrival_s: float,
        first_token_s: float,
        finish_s: float,
        scheduled_s: float,
        output_tokens: int,
        cached_tokens: int,
        preemptions: int,
        pool: int,
        replica: int,
        outcome: int = COMPLETED,
    ) -> None:
        """The client has its whole answer."""
        self.first_token_s[row] = first_token_s
        self.finish_s[row] = finish_s
        self.queue_s[row] = scheduled_s - arrival_s
        self.output_tokens[row] = output_tokens
        self.cached_tokens[row] = cached_tokens
        self.preemptions[row] = preemptions
        self.pool[row] = pool
        self.replica[row] = replica
        self.outcome[row] = outcome
        self.open_requests -= 1
        if self.on_outcome is not None:
            self.on_outcome(row)
        if self.give_up is not None and self.stopped_early is None:
            tpot = (finish_s - first_token_s) / (output_tokens - 1) if output_tokens > 1 else _NAN
            self.stopped_early = self.give_up(first_token_s - arrival_s, tpot, finish_s - arrival_s, True, "", False)

    def lost(self, row: int, finish_s: float, outcome: int, reason: str) -> None:
        """The client has no answer: timed out, shed, rejected or failed."""
        self.finish_s[row] = finish_s
        self.outcome[row] = outcome
        self.reason[row] = self._reasons.setdefault(reason, len(self._reasons))
        self.open_requests -= 1
        if self.on_outcome is not None:
            self.on_outcome(row)
        if self.give_up is not None and self.stopped_early is None:
            self.stopped_early = self.give_up(_NAN, _NAN, _NAN, False, reason, outcome == REJECTED)

    def moved(self, row: int, transfer_s: float, handover_s: float, size_bytes: float, replica: int) -> None:
        """The KV cache of request ``row`` has come from ``replica``: ``transfer_s`` after it could, ``handover_s`` after it
        was computed."""
        if self.handovers is None:
            self.handovers = Handovers(self.columns)
        of = self.handovers
        of.transfer_s[row] = transfer_s
        of.handover_s[row] = handover_s
        of.transfer_bytes[row] = size_bytes
        of.prefill_replica[row] = replica

    def reason_of(self, row: int) -> str:
        """Why request ``row`` has no answer; "" where it has one."""
        return next(text for text, code in self._reasons.items() if code == self.reason[row])

    def worked(self, pool: str, row: int, prompt_tokens: int, sampled: int) -> None:
        """An attempt for request ``row`` has left an engine of ``pool``, which did so much for it."""
        work = self.work.get(pool)
        if work is None:
            work = self.work[pool] = self.columns.of("q", times=2)
        work[row] += prompt_tokens
        work[self.columns.rows + row] += sampled

    def work_by_pool(self) -> dict[str, np.ndarray]:
        """``Result.work``."""
        return {pool: np.frombuffer(work, dtype=np.int64).reshape(2, -1) for pool, work in self.work.items()}

    def event(self, time_s: float, event: str, cause: str, **details: Any) -> None:
        """Something worth a line in ``events.jsonl``."""
        self.events.append({"time_s": time_s, "event": event, "cause": cause, **details})

    def frame(
        self, arrival_s: np.ndarray, input_tokens: np.ndarray, labels: dict[str, np.ndarray], replica_names: list[str]
    ) -> pd.DataFrame:
        """``Result.requests``: rows that have no outcome (a run given up) are left out."""
        outcome = np.frombuffer(self.outcome, dtype=np.int8)
        n = len(outcome)
        first, finish = np.frombuffer(self.first_token_s), np.frombuffer(self.finish_s)
        output = np.frombuffer(self.output_tokens, dtype=np.int64)
        computed, sampled = self._work()
        ttft, tpot, e2e = self._latencies(arrival_s)
        of = self.handovers
        columns: dict[str, Any] = {
            "request_id": np.frombuffer(self.columns.copied("q", np.arange(n)), dtype=np.int64),
            "turn": labels.get("turn", np.broadcast_to(np.int64(-1), n)),
            "arrival_s": arrival_s,
            "first_token_s": first,
            "finish_s": finish,
            "input_tokens": input_tokens,
            "output_tokens": output,
            "cached_tokens": np.frombuffer(self.cached_tokens, dtype=np.int64),
            "wasted_tokens": np.frombuffer(self.wasted_tokens, dtype=np.int64),
            "computed_tokens": computed,
            "sampled_tokens": sampled,
            "attempts": np.frombuffer(self.attempts, dtype=np.int32),
            "preemptions": np.frombuffer(self.preemptions, dtype=np.int32),
            "outcome": _labels(outcome, OUTCOMES),
            "reason": _labels(np.frombuffer(self.reason, dtype=np.int16), self._reasons),
            "pool": _labels(np.frombuffer(self.pool, dtype=np.int16), self.pools),
            "replica": _labels(np.frombuffer(self.replica, dtype=np.int32), replica_names),
            "ttft_s": ttft,
            "tpot_s": tpot,
            "e2e_s": e2e,
            "queue_s": np.frombuffer(self.queue_s),
            "cost_usd": np.broadcast_to(_NAN, n),
            "api_usd": np.frombuffer(self.api_usd),
            "transfer_s": np.broadcast_to(_NAN, n) if of is None else np.frombuffer(of.transfer_s),
            "handover_s": np.broadcast_to(_NAN, n) if of is None else np.frombuffer(of.handover_s),
            "transfer_bytes": np.broadcast_to(0.0, n) if of is None else np.frombuffer(of.transfer_bytes),
            "prefill_replica": _labels(
                np.full(n, -1, np.int8) if of is None else np.frombuffer(of.prefill_replica, np.int32), replica_names
            ),
        }
        for name in ("route", "feature", "tenant", "session_id"):
            values = labels.get(name)
            columns[name] = pd.Categorical(values) if values is not None else _labels(np.zeros(n, dtype=np.int8), ("",))
        frame = pd.DataFrame({name: columns[name] for name in REQUEST_COLUMNS}, copy=False)
        rows = outcome >= 0
        if not rows.all():
            frame = frame[rows].reset_index(drop=True)
        sent = frame["arrival_s"].to_numpy()
        if (sent[1:] < sent[:-1]).any():  # users who wait send in an order of their own
            frame = frame.sort_values("arrival_s", kind="stable").reset_index(drop=True)
        let_go()
        return frame

    def _work(self) -> tuple[np.ndarray, np.ndarray]:
        """Prompt tokens computed and tokens sampled for each request, in all pools together."""
        pools = list(self.work_by_pool().values())
        if len(pools) == 1:
            return pools[0][0], pools[0][1]
        computed, sampled = (np.frombuffer(self.columns.of("q"), dtype=np.int64) for _ in range(2))
        for pool in pools:
            computed += pool[0]
            sampled += pool[1]
        return computed, sampled

    def _latencies(self, arrival_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """TTFT, TPOT and E2E; NaN where undefined."""
        ttft, tpot, e2e = (np.frombuffer(self.columns.of("d")) for _ in range(3))
        for here in slices(len(ttft)):
            outcome = np.frombuffer(self.outcome, dtype=np.int8)[here]
            first, finish = np.frombuffer(self.first_token_s)[here], np.frombuffer(self.finish_s)[here]
            output = np.frombuffer(self.output_tokens, dtype=np.int64)[here]
            answered = (outcome == COMPLETED) | (outcome == ESCALATED)
            with np.errstate(invalid="ignore", divide="ignore"):
                ttft[here] = first - arrival_s[here]
                tpot[here] = np.where(answered & (output > 1), (finish - first) / (output - 1), _NAN)
                e2e[here] = np.where(answered, finish - arrival_s[here], _NAN)
        return ttft, tpot, e2e


def _labels(codes: np.ndarray, names: Iterable[str]) -> pd.Categorical:
    """A categorical column; code -1 is missing."""
    return pd.Categorical.from_codes(codes, pd.Index(list(names), dtype=object))
