"""Routers: which replica gets the request. A router sees the servers as a gateway does, never an answer's true length.

One small class each with one method, ``choose(request, servers)``. ``servers`` are the ready replicas of the pool, in a
fixed order; the answer is one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sim.fleet.server import Server
from sim.gateway.request import RequestView
from sim.spec.gateway import LeastTokensInFlight, RoundRobin
from sim.spec.gateway import Router as RouterSpec


class Router(Protocol):
    """A routing policy."""

    def choose(self, request: RequestView, servers: Sequence[Server]) -> Server:
        """The server that gets ``request``; ``servers`` is not empty."""
        ...


class RoundRobinRouter:
    """Servers in turn (nginx's and Kubernetes' default)."""

    def __init__(self) -> None:
        self._next = 0

    def choose(self, request: RequestView, servers: Sequence[Server]) -> Server:
        """See ``Router``."""
        server = servers[self._next % len(servers)]
        self._next += 1
        return server


class LeastTokensInFlightRouter:
    """The server with the fewest prompt tokens of unfinished requests; first of equals."""

    def choose(self, request: RequestView, servers: Sequence[Server]) -> Server:
        """See ``Router``."""
        best = servers[0]
        least = best.tokens_in_flight
        for server in servers:
            if server.tokens_in_flight < least:
                best, least = server, server.tokens_in_flight
        return best


def make_router(spec: RouterSpec) -> Router:
    """The router that ``spec`` names."""
    match spec:
        case RoundRobin():
            return RoundRobinRouter()
        case LeastTokensInFlight():
            return LeastTokensInFlightRouter()
