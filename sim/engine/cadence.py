"""``Cadence``: prompts start only at every N-th step (``prefill_schedule_interval``); the scheduler's named point for it.

A step carries prefill when it serves a chunk or admits a request with more than one token to compute. Less than N steps
after the last such step, prompts wait, as long as somebody decodes and the last admission left nobody waiting for want of
seats, budget or blocks. Ranks that step together start prompts in the same rounds instead, those whose number within the
wave is a multiple of N. Source: vLLM 0.33, ``v1/core/sched/scheduler.py``, ``v1/engine/core.py``.
"""

from __future__ import annotations

from sim.engine.batch import Batch
from sim.engine.request import EngineRequest


class Cadence:
    """The prefill cadence of one engine; ``interval`` > 1."""

    __slots__ = ("_full", "_interval", "_last_prefill_step")

    def __init__(self, interval: int) -> None:
        self._interval = interval
        self._last_prefill_step = -interval
        self._full = False

    def holds(self, step: int, someone_decodes: bool) -> bool:
        """Whether prompts wait in step number ``step``."""
        return someone_decodes and not self._full and step - self._last_prefill_step < self._interval

    def admitted(self, left_waiting: bool) -> None:
        """An admission that was not held is over; whether it left somebody waiting who could have come."""
        self._full = left_waiting

    def composed(self, step: int, batch: Batch, prefilling: dict[EngineRequest, None]) -> None:
        """``batch`` is step number ``step``, its chunks not yet booked; ``prefilling`` are in the middle of their prompts
        (whoever it admits among them)."""
        for request, _, before in batch.prefills:
            if request.target - before > 1 if request in batch.admitted else request in prefilling:
                self._last_prefill_step = step
                return


class RankCadence(Cadence):
    """The prefill cadence of one of several ranks."""

    __slots__ = ("round",)

    def __init__(self, interval: int) -> None:
        super().__init__(interval)
        self.round = 0
        """Number of the round being composed, set by whoever leads the ranks."""

    def holds(self, step: int, someone_decodes: bool) -> bool:
        """See ``Cadence``."""
        return someone_decodes and not self._full and self.round % self._interval != 0
