"""``Counts``: what a gateway counts while it works; the records and the fleet's observers read it."""

from __future__ import annotations

from sim.gateway.request import ClientRequest
from sim.record.recorder import Recorder


class Counts:
    """All from the start of the run, but ``under_way`` and ``out``, which are of now."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.arrived = 0
        """Requests of clients."""
        self.under_way = 0
        """Requests in a process of their own, without an outcome."""
        self.out = 0
        """Attempts sent to engines and not back."""
        self.retries = 0
        self.hedges = 0
        self.ejections = 0
        self.pass_tokens = 0
        """Tokens that engines sampled for safety and rewriting passes."""

    def retry(self, request: ClientRequest) -> None:
        """``request`` is tried once more."""
        self._attempt(request)
        self.retries += 1

    def hedge(self, request: ClientRequest) -> None:
        """``request`` is tried once more before the last try has failed."""
        self._attempt(request)
        self.hedges += 1

    def _attempt(self, request: ClientRequest) -> None:
        """In the records at once: a request that a run gives up on has its attempts there."""
        request.attempts += 1
        self._recorder.attempts[request.row] = request.attempts

    @property
    def active(self) -> bool:
        """Whether anything is under way that needs fresh signals."""
        return self.out > 0 or self.under_way > 0
