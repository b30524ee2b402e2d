"""Static weights: each pool gets its share of the requests, and within it each replica its own.

    smooth weighted round robin, at each choice: every candidate's credit grows by its weight; the largest credit is chosen
    (the first of equals) and pays the sum of the weights

so that over any time each gets weight / sum of the weights, as evenly spread as can be: weights 5, 1, 1 give a a b a c a a.
Shares are among those that may take the request now; a weight of 0 gets one only where nobody else can.

Source: nginx ``ngx_http_upstream_round_robin.c`` (``ngx_http_upstream_get_peer``); Envoy's ``weighted_clusters`` and
LiteLLM's ``weight`` draw by chance instead, with the same shares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sim.gateway.request import RequestView
from sim.gateway.signals import ServerView
from sim.spec.gateway.routing import StaticWeights

S = TypeVar("S", bound=ServerView)


class StaticWeightsRouter:
    """See the module's head."""

    def __init__(self, spec: StaticWeights) -> None:
        self._spec = spec
        self._pool_credit: dict[str, float] = {}
        self._server_credit: dict[str, float] = {}

    def choose(self, request: RequestView, servers: Sequence[S]) -> S:
        """See ``Router``."""
        pools = dict.fromkeys(server.pool for server in servers)
        pool = _next(list(pools), self._weight_of_pool, self._pool_credit)
        there = {server.name: server for server in servers if server.pool == pool}
        return there[_next(list(there), self._weight_of_replica, self._server_credit)]

    def _weight_of_pool(self, name: str) -> float:
        return self._spec.pools.get(name, 1.0)

    def _weight_of_replica(self, name: str) -> float:
        return self._spec.replicas.get(name, 1.0)


def _next(names: list[str], weight_of: Callable[[str], float], credit: dict[str, float]) -> str:
    """One turn of smooth weighted round robin over ``names``."""
    weights = {name: weight_of(name) for name in names}
    if not any(weights.values()):
        weights = dict.fromkeys(names, 1.0)
    for name, weight in weights.items():
        credit[name] = credit.get(name, 0.0) + weight
    chosen = max((name for name, weight in weights.items() if weight), key=credit.__getitem__)
    credit[chosen] -= sum(weights.values())
    return chosen
