"""Routers: which replica gets the request. A router sees what a gateway sees, never an answer's true length.

One small class each with one method, ``choose(request, servers)``. ``servers`` are the replicas that may take it now, in
a fixed order and not none; the answer is one of them. Loads come from the gateway's own books, or from scraped
``Signals`` when the router has a staleness. Prefix and session affinity are in ``sim.gateway.affinity``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from sim.fleet.least_loaded import LeastLoaded, Load
from sim.gateway.affinity import AdapterAffinityRouter, SessionAffinityRouter, SglangCacheAwareRouter, WeightedScoreRouter
from sim.gateway.request import RequestView
from sim.gateway.signals import ScrapedServer, ServerView, Signals
from sim.gateway.static_weights import StaticWeightsRouter
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


class PowerOfTwoRouter:
    """The less loaded of ``choices`` servers drawn at random with replacement (Mitzenmacher; Envoy's LEAST_REQUEST)."""

    def __init__(self, choices: int, load: Callable[[Any], float], rng: np.random.Generator) -> None:
        self._choices = choices
        self._load = load
        self._uniforms = Uniforms(rng)

    def choose(self, request: RequestView, servers: Sequence[C]) -> C:
        """See ``Router``."""
        n = len(servers)
        drawn = [servers[int(self._uniforms.next() * n)] for _ in range(self._choices)]
        return min(drawn, key=self._load)


def _load_of(signal: str, signals: Signals) -> Callable[[Any], float]:
    if not signals.staleness_s and signal in ("requests", "tokens"):
        name = f"{signal}_in_flight"
        return lambda server: float(getattr(server, name))
    return lambda server: float(getattr(signals.of(server), signal))


def make_router(
    spec: RouterSpec,
    signals: Callable[[float], Signals],
    rng: np.random.Generator,
    plugins: Plugins,
    ranking: Callable[[Load], LeastLoaded] | None = None,
) -> Router:
    """The router that ``spec`` names; ``signals(staleness_s)`` makes what it may read of the replicas, ``ranking(load)``
    what knows the least loaded of them."""
    match spec:
        case RoundRobin():
            return RoundRobinRouter()
        case RandomRouter():
            return RandomChoiceRouter(rng)
        case LeastTokensInFlight():
            return LeastLoadRouter(_load_of("tokens", signals(0.0)), ranking("tokens") if ranking is not None else None)
        case LeastRequests():
            ranked = ranking("requests") if ranking is not None and not spec.staleness_s else None
            return LeastLoadRouter(_load_of("requests", signals(spec.staleness_s)), ranked)
        case LeastKv():
            return LeastLoadRouter(_load_of("kv_used", signals(spec.staleness_s)))
        case PowerOfTwo():
            return PowerOfTwoRouter(spec.choices, _load_of(spec.signal, signals(spec.staleness_s)), rng)
        case SessionAffinity():
            return SessionAffinityRouter()
        case AdapterAffinity():
            return AdapterAffinityRouter(spec)
        case SglangCacheAware():
            return SglangCacheAwareRouter(spec)
        case StaticWeights():
            return StaticWeightsRouter(spec)
        case WeightedScore():
            return WeightedScoreRouter(spec, signals(spec.staleness_s), rng)
        case PluginRouter():
            plugin: Router = plugins.make(ROUTERS, spec.name, spec.options)
            return plugin
