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
from heapq import heapify, heapreplace
from typing import Any, TypeVar

from sim.fleet.roll import Roll
from sim.gateway.request import RequestView
from sim.gateway.signals import ServerView
from sim.spec.gateway.routing import StaticWeights

S = TypeVar("S", bound=ServerView)


class Turns:
    """Smooth weighted round robin among servers that stay: those of one weight keep their order while their credits grow
    alike, so that a turn costs a heap's top for each weight, not a look at each server. Weights are whole numbers: sums of
    fractions would depend on how they were added.

    Args:
        weights: of each server, by place.
        credit_of: theirs, likewise.
    """

    def __init__(self, weights: Sequence[float], credit_of: Sequence[float]) -> None:
        self._credits = list(credit_of)
        self._total = sum(weights)
        self._turn = 0.0
        self._heaps: dict[float, list[tuple[float, int]]] = {}
        """Weight -> (what its turns have brought it - credit, place), the largest credit first."""
        for place, weight in enumerate(weights):
            if weight:
                self._heaps.setdefault(weight, []).append((-credit_of[place], place))
        for heap in self._heaps.values():
            heapify(heap)

    def next(self) -> int:
        """The place of the next."""
        self._turn += 1.0
        chosen, most, of = -1, 0.0, 0.0
        for weight, heap in self._heaps.items():
            credit, place = weight * self._turn - heap[0][0], heap[0][1]
            if chosen < 0 or credit > most or (credit == most and place < chosen):
                chosen, most, of = place, credit, weight
        heap = self._heaps[of]
        heapreplace(heap, (heap[0][0] + self._total, chosen))
        return chosen

    def credits(self) -> list[float]:
        """Of each server, by place."""
        for weight, heap in self._heaps.items():
            for lacking, place in heap:
                self._credits[place] = weight * self._turn - lacking
        return self._credits


class StaticWeightsRouter:
    """See the module's head."""

    def __init__(self, spec: StaticWeights, roll: Roll | None = None) -> None:
        self._spec = spec
        self._roll = roll if all(weight == int(weight) for weight in spec.replicas.values()) else None
        self._version = -1
        self._of_pool: dict[str, list[Any]] = {}
        """The roll's servers."""
        self._turns: dict[str, Turns] = {}
        """Pool -> whose turn it is there, as far as it was asked for."""
        self._pool_credit: dict[str, float] = {}
        self._server_credit: dict[str, float] = {}

    def choose(self, request: RequestView, servers: Sequence[S]) -> S:
        """See ``Router``."""
        roll = self._roll
        if roll is None or servers is not roll.servers:
            self._settle()
            pools = dict.fromkeys(server.pool for server in servers)
            pool = _next(list(pools), self._weight_of_pool, self._pool_credit)
            there = {server.name: server for server in servers if server.pool == pool}
            return there[_next(list(there), self._weight_of_replica, self._server_credit)]
        if roll.version != self._version:
            self._settle()
            self._version = roll.version
            self._of_pool = {}
            for server in servers:
                self._of_pool.setdefault(server.pool, []).append(server)
        pool = _next(list(self._of_pool), self._weight_of_pool, self._pool_credit)
        if pool not in self._turns:
            names = [server.name for server in self._of_pool[pool]]
            weights = _weights(names, self._weight_of_replica)
            self._turns[pool] = Turns(list(weights.values()), [self._server_credit.get(name, 0.0) for name in names])
        chosen: S = self._of_pool[pool][self._turns[pool].next()]
        return chosen

    def _settle(self) -> None:
        """Put the credits of the turns where the next walk finds them."""
        for pool, turns in self._turns.items():
            for server, credit in zip(self._of_pool[pool], turns.credits(), strict=True):
                self._server_credit[server.name] = credit
        self._turns = {}

    def _weight_of_pool(self, name: str) -> float:
        return self._spec.pools.get(name, 1.0)

    def _weight_of_replica(self, name: str) -> float:
        return self._spec.replicas.get(name, 1.0)


def _next(names: list[str], weight_of: Callable[[str], float], credit: dict[str, float]) -> str:
    """One turn of smooth weighted round robin over ``names``."""
    weights = _weights(names, weight_of)
    for name, weight in weights.items():
        credit[name] = credit.get(name, 0.0) + weight
    chosen = max((name for name, weight in weights.items() if weight), key=credit.__getitem__)
    credit[chosen] -= sum(weights.values())
    return chosen


def _weights(names: list[str], weight_of: Callable[[str], float]) -> dict[str, float]:
    """Of each of ``names``; all alike where none has any."""
    weights = {name: weight_of(name) for name in names}
    return weights if any(weights.values()) else dict.fromkeys(names, 1.0)
