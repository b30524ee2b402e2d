"""A client's request on its way through the gateway."""

from __future__ import annotations

from typing import Protocol

from sim.engine.request import EngineRequest


class RequestView(Protocol):
    """What a policy may know of a request: everything a real gateway sees, and nothing of the answer's length."""

    row: int
    arrival_s: float
    input_tokens: int
    route: str
    tenant: str
    session_id: str


class ClientRequest:
    """One client request and the attempt that serves it now."""

    __slots__ = ("arrival_s", "attempt", "input_tokens", "priority", "route", "row", "server", "session_id", "tenant")

    def __init__(self, row: int, arrival_s: float, input_tokens: int) -> None:
        self.row = row
        self.arrival_s = arrival_s
        self.input_tokens = input_tokens
        self.priority = 0
        self.route = ""
        self.tenant = ""
        self.session_id = ""
        self.attempt: EngineRequest | None = None
        """None once the request has its outcome."""
        self.server: object = None
