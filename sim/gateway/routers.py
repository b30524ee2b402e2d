"""Routers: which replica gets the request. A router sees what a gateway sees, never an answer's true length.

One small class each with one method, ``choose(request, servers)``. ``servers`` are the replicas that may take it now, in
a fixed order and not none; the answer is one of them. Loads come from the gateway's own books, or from scraped
``Signals`` when the router has a staleness. Those that follow sessions and adapters are in ``sim.gateway.affinity``, those
that follow prefixes in ``cache_aware`` and ``weighted_score``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from sim.fleet.least_loaded import LeastLoaded
from sim.fleet.roll import Roll
from sim.gateway.affinity import AdapterAffinityRouter, SessionAffinityRouter
from sim.gateway.cache_aware import SglangCacheAwareRouter
from sim.gateway.request import RequestView
from sim.gateway.signals import ScrapedServer, ServerView, Signals
from sim.gateway.static_weights import StaticWeightsRouter
from sim.gateway.weighted_score import WeightedScoreRouter
from sim.plugins import ROUTERS, Plugins
from sim.rng import Uniforms
from sim.spec.gateway.routing import (
    AdapterAffinity,
    LeastKv,
    LeastRequests,
    LeastTokensInFlight,
    PluginRouter,
    PowerOfTwo,
    RandomRouter,
    RoundRobin,
    SessionAffinity,
    SglangCacheAware,
    StaticWeights,
    WeightedScore,
)
from sim.spec.gateway.routing import Router as RouterSpec

S = TypeVar("S", bound=ServerView)
C = TypeVar("C", bound=ScrapedServer)


class Router(Protocol):
    """A routing policy."""

    def choose(self, request: RequestView, servers: Sequence[Any]) -> Any:
        """The one of ``servers`` (``ServerView``; ``ScrapedServer`` for its ``Signals``) that gets ``request``."""
        ...


class RoundRobinRouter:
    """Servers in turn (nginx's and Kubernetes' default)."""

    def __init__(self) -> None:
        self._next = 0

    def choose(self, request: RequestView, servers: Sequence[S]) -> S:
        """See ``Router``."""
        server = servers[self._next % len(servers)]
        self._next += 1
        return server


class RandomChoiceRouter:
    """Any server with equal chance."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._uniforms = Uniforms(rng)

    def choose(self, request: RequestView, servers: Sequence[S]) -> S:
        """See ``Router``."""
        return servers[int(self._uniforms.next() * len(servers))]


class LeastLoadRouter:
    """The server with the least ``load``; first of equals. ``ranking`` knows it for its own list of servers."""

    def __init__(self, load: Callable[[Any], float], ranking: LeastLoaded | None = None) -> None:
        self._load = load
        self._ranking = ranking

    def choose(self, request: RequestView, servers: Sequence[Any]) -> Any:
        """See ``Router``."""
        if self._ranking is not None and servers is self._ranking.servers:
            return self._ranking.first()
        return min(servers, key=self._load)


class LeastScrapedRouter:
    """The server with the least ``load`` among ``signals``; first of equals. Between two scrapes it is the same, of the
    ``roll``'s servers."""

    def __init__(self, load: Callable[[Any], float], signals: Signals, roll: Roll | None) -> None:
        self._load = load
        self._signals = signals
        self._roll = roll
        self._version = self._scrapes = -1
        self._least: Any = None

    def choose(self, request: RequestView, servers: Sequence[Any]) -> Any:
        """See ``Router``."""
        roll, signals = self._roll, self._signals
        if roll is None or servers is not roll.servers:
            return min(servers, key=self._load)
        if roll.version != self._version or not signals.unchanged_since(self._scrapes):
            self._least = min(servers, key=self._load)
            self._version, self._scrapes = roll.version, signals.scrapes
        return self._least


class PowerOfTwoRouter:
    """The less loaded of ``choices`` servers drawn at random with replacement (Mitzenmacher; Envoy's LEAST_REQUEST)."""

    def __init__(self, choices: int, load: Callable[[Any], float], rng: np.random.Generator) -> None:
        self._choices = choices
        self._load = load
        self._uniforms = Uniforms(rng)

    def choose(self, request: RequestView, servers: Sequence[C]) -> C:
        """See ``Router``."""
        n = len(servers)
        chosen = servers[int(self._uniforms.next() * n)]
        least = self._load(chosen)
        for _ in range(self._choices - 1):
            other = servers[int(self._uniforms.next() * n)]
            load = self._load(other)
            if load < least:
                chosen, least = other, load
        return chosen


def _load_of(signal: str, signals: Signals) -> Callable[[Any], float]:
    if signal == "requests":
        if not signals.staleness_s:
            return lambda server: float(server.requests_in_flight)
        return lambda server: float(signals.of(server).requests)
    if signal == "tokens":
        if not signals.staleness_s:
            return lambda server: float(server.tokens_in_flight)
        return lambda server: float(signals.of(server).tokens)
    return lambda server: signals.of(server).kv_used


def make_router(
    spec: RouterSpec,
    signals: Callable[[float], Signals],
    rng: np.random.Generator,
    plugins: Plugins,
    roll: Roll | None = None,
) -> Router:
    """The router that ``spec`` names; ``signals(staleness_s)`` makes what it may read of the replicas, ``roll`` has those
    that it is mostly asked about."""
    match spec:
        case RoundRobin():
            return RoundRobinRouter()
        case RandomRouter():
            return RandomChoiceRouter(rng)
        case LeastTokensInFlight():
            return LeastLoadRouter(_load_of("tokens", signals(0.0)), roll.least("tokens") if roll is not None else None)
        case LeastRequests() if not spec.staleness_s:
            return LeastLoadRouter(_load_of("requests", signals(0.0)), roll.least("requests") if roll is not None else None)
        case LeastRequests() | LeastKv():
            signal = "requests" if isinstance(spec, LeastRequests) else "kv_used"
            return LeastScrapedRouter(_load_of(signal, signals(spec.staleness_s)), signals(spec.staleness_s), roll)
        case PowerOfTwo():
            return PowerOfTwoRouter(spec.choices, _load_of(spec.signal, signals(spec.staleness_s)), rng)
        case SessionAffinity():
            return SessionAffinityRouter(roll)
        case AdapterAffinity():
            return AdapterAffinityRouter(spec, roll)
        case SglangCacheAware():
            return SglangCacheAwareRouter(spec, roll)
        case StaticWeights():
            return StaticWeightsRouter(spec, roll)
        case WeightedScore():
            return WeightedScoreRouter(spec, signals(spec.staleness_s), rng, roll)
        case PluginRouter():
            plugin: Router = plugins.make(ROUTERS, spec.name, spec.options)
            return plugin


def ranks(router: Router) -> bool:
    """Whether ``router`` takes the highest of an order that no server has a say in but for itself: its choice among all is
    its choice among some, if it is one of them."""
    return isinstance(router, LeastLoadRouter | LeastScrapedRouter | SessionAffinityRouter)
