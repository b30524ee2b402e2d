"""``Counts``: what a gateway counts while it works; the records and the fleet's observers read it."""

from __future__ import annotations

from sim.gateway.request import ClientRequest


class Counts:
    """All from the start of the run, but ``under_way`` and ``out``, which are of now."""

    def __init__(self) -> None:
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
        request.attempts += 1
        self.retries += 1

    @property
    def active(self) -> bool:
        """Whether anything is under way that needs fresh signals."""
        return self.out > 0 or self.under_way > 0
