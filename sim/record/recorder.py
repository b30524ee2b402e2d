"""``Recorder``: fills the columns while the simulation runs. One row a client request, written where it has its outcome.

Columns are flat arrays sized once from the number of requests, so a million requests cost some 150 MB and writing a row
costs a few hundred nanoseconds.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import pandas as pd

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


class Recorder:
    """Rows of ``Result.requests``, by request index, and the events of the run."""

    def __init__(self, requests: int, pools: tuple[str, ...], give_up: GiveUp | None = None) -> None:
        self.pools = pools
        self.give_up = give_up
        self.stopped_early: str | None = None
        self.on_outcome: Callable[[int], None] | None = None
        """Told of every request that has its outcome: users who wait send their next one."""
        self.open_requests = requests
        """Requests that have no outcome yet."""
        self.first_token_s = array("d", [_NAN]) * requests
        self.finish_s = array("d", [_NAN]) * requests
        self.queue_s = array("d", [_NAN]) * requests
        self.output_tokens = array("q", [0]) * requests
        self.cached_tokens = array("q", [0]) * requests
        self.wasted_tokens = array("q", [0]) * requests
        self.attempts = array("i", [1]) * requests
        self.api_usd = array("d", [0.0]) * requests
        self.preemptions = array("i", [0]) * requests
        self.outcome = array("b", [-1]) * requests
        self.reason = array("h", [0]) * requests
        self.pool = array("h", [-1]) * requests
        self.replica = array("i", [-1]) * requests
        self.transfer_s = array("d")
        self.handover_s = array("d")
        self.transfer_bytes = array("d")
        self.prefill_replica = array("i")
        """Of the last handover of each request; empty where there was none at all."""
        self.work: dict[str, tuple[array[int], array[int]]] = {}
        """Pool of the fleet -> prompt tokens computed and tokens sampled there for each request, all its attempts and passes
        together, answered or not."""
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
        if not self.transfer_s:
            requests = len(self.outcome)
            self.transfer_s = array("d", [_NAN]) * requests
            self.handover_s = array("d", [_NAN]) * requests
            self.transfer_bytes = array("d", [0.0]) * requests
            self.prefill_replica = array("i", [-1]) * requests
        self.transfer_s[row] = transfer_s
        self.handover_s[row] = handover_s
        self.transfer_bytes[row] = size_bytes
        self.prefill_replica[row] = replica

    def reason_of(self, row: int) -> str:
        """Why request ``row`` has no answer; "" where it has one."""
        return next(text for text, code in self._reasons.items() if code == self.reason[row])

    def worked(self, pool: str, row: int, prompt_tokens: int, sampled: int) -> None:
        """An attempt for request ``row`` has left an engine of ``pool``, which did so much for it."""
        work = self.work.get(pool)
        if work is None:
            requests = len(self.outcome)
            work = self.work[pool] = (array("q", [0]) * requests, array("q", [0]) * requests)
        work[0][row] += prompt_tokens
        work[1][row] += sampled

    def work_by_pool(self) -> dict[str, np.ndarray]:
        """``Result.work``."""
        return {
            pool: np.stack([np.frombuffer(part, dtype=np.int64) for part in parts]) for pool, parts in self.work.items()
        }

    def event(self, time_s: float, event: str, cause: str, **details: Any) -> None:
        """Something worth a line in ``events.jsonl``."""
        self.events.append({"time_s": time_s, "event": event, "cause": cause, **details})

    def frame(
        self, arrival_s: np.ndarray, input_tokens: np.ndarray, labels: dict[str, np.ndarray], replica_names: list[str]
    ) -> pd.DataFrame:
        """``Result.requests``: rows that have no outcome (a run given up) are left out."""
        outcome = np.frombuffer(self.outcome, dtype=np.int8)
        rows = outcome >= 0
        n = len(outcome)
        first = np.frombuffer(self.first_token_s)
        finish = np.frombuffer(self.finish_s)
        output = np.frombuffer(self.output_tokens, dtype=np.int64)
        answered = (outcome == COMPLETED) | (outcome == ESCALATED)
        with np.errstate(invalid="ignore", divide="ignore"):
            tpot = np.where(answered & (output > 1), (finish - first) / (output - 1), _NAN)
        e2e = np.where(answered, finish - arrival_s, _NAN)
        computed, sampled = sum(self.work_by_pool().values(), np.zeros((2, n), dtype=np.int64))
        columns: dict[str, Any] = {
            "request_id": np.arange(n),
            "turn": labels.get("turn", np.full(n, -1)),
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
            "ttft_s": first - arrival_s,
            "tpot_s": tpot,
            "e2e_s": e2e,
            "queue_s": np.frombuffer(self.queue_s),
            "cost_usd": np.full(n, _NAN),
            "api_usd": np.frombuffer(self.api_usd),
            "transfer_s": np.frombuffer(self.transfer_s) if self.transfer_s else np.full(n, _NAN),
            "handover_s": np.frombuffer(self.handover_s) if self.handover_s else np.full(n, _NAN),
            "transfer_bytes": np.frombuffer(self.transfer_bytes) if self.transfer_bytes else np.zeros(n),
            "prefill_replica": _labels(
                np.frombuffer(self.prefill_replica or array("i", [-1]) * n, dtype=np.int32), replica_names
            ),
        }
        for name in ("route", "feature", "tenant", "session_id"):
            values = labels.get(name)
            columns[name] = pd.Categorical(values) if values is not None else _labels(np.zeros(n, dtype=np.int8), ("",))
        frame = pd.DataFrame({name: columns[name] for name in REQUEST_COLUMNS})
        if not rows.all():
            frame = frame[rows].reset_index(drop=True)
        if (np.diff(frame["arrival_s"].to_numpy()) < 0).any():  # users who wait send in an order of their own
            frame = frame.sort_values("arrival_s", kind="stable").reset_index(drop=True)
        return frame


def _labels(codes: np.ndarray, names: Iterable[str]) -> pd.Categorical:
    """A categorical column; code -1 is missing."""
    return pd.Categorical.from_codes(codes, pd.Index(list(names), dtype=object))
