"""Who an engine tells what happens in it. Plain classes that do nothing: a listener overrides what concerns it. Not
compiled, so that any class may be one."""

from __future__ import annotations

from collections.abc import Sequence

from sim.engine.batch import Batch
from sim.engine.request import EngineRequest
from sim.engine.round import Round
from sim.engine.scheduler import Scheduler


class EngineListener:
    """Told how requests leave an engine: whoever sent them."""

    def first_token(self, request: EngineRequest) -> None:
        """The first token of ``request``, which ``announces`` it, is out (``first_token_at`` is set)."""

    def finished(self, request: EngineRequest) -> None:
        """The last token of ``request`` is out (``finished_at`` is set)."""

    def failed(self, request: EngineRequest) -> None:
        """``request`` ended with an error: KV that was to be loaded for it did not come (``abort_reason`` says so)."""

    def aborted(self, request: EngineRequest) -> None:
        """The engine has dropped ``request`` after an ``abort``."""

    def evicted(self, requests: Sequence[EngineRequest]) -> None:
        """The engine died with ``requests`` in it, or on their way to it; their KV is lost."""


class StepListener:
    """Told of every batch: step records and conformance."""

    def closed(self, name: str, step: int, scheduler: Scheduler, batch: Batch) -> None:
        """``batch`` of engine ``name`` is composed and final; ``step`` is the number of its last step, from 0."""

    def looked(self, scheduler: Scheduler, now: float) -> None:
        """The engine composed nothing at ``now``, but began loads, or is about to take in what was told of them."""

    def heard(self, scheduler: Scheduler) -> None:
        """That was taken in."""

    def returned(self, batch: Batch) -> None:
        """The output of ``batch`` was applied."""


class RoundListener:
    """Told of every forward that ranks make together."""

    def composed(self, one: Round) -> None:
        """``one`` is composed; its times are known."""

    def voted(self, goes_on: bool) -> None:
        """The ranks have voted after the newest round: whether the wave goes on."""
