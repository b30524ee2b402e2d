"""``Relay``: an engine listener that hands on what it is told; subclasses take their part of it."""

from __future__ import annotations

from collections.abc import Sequence

from sim.engine.listener import EngineListener
from sim.engine.request import EngineRequest


class Relay(EngineListener):
    """Tells ``others`` all that engines say."""

    def __init__(self, others: EngineListener) -> None:
        self._others = others

    def first_token(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        self._others.first_token(request)

    def finished(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        self._others.finished(request)

    def failed(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        self._others.failed(request)

    def aborted(self, request: EngineRequest) -> None:
        """See ``EngineListener``."""
        self._others.aborted(request)

    def evicted(self, requests: Sequence[EngineRequest]) -> None:
        """See ``EngineListener``."""
        self._others.evicted(requests)
