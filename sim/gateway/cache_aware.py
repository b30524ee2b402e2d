"""SGLang's cache-aware router: the replica that was sent the longest prefix of the prompt, while the load is balanced.

    matched share of the prompt > cache_threshold: the replica with the longest match
    else: the replica whose index is smallest
    load unbalanced ((max - min) > abs and max > rel x min): the fewest unfinished requests

What a replica's cache holds is guessed (``PrefixTree``). Given a ``Roll``, the router keeps what it knows between requests,
and looks at few servers a request; without one, or asked for some of the roll's servers only, it looks at all.

Source: sgl-router ``src/policies/cache_aware.rs``. Left out: its separate eviction thread (ours evicts at insertion).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sim.fleet.loads import LoadIndex
from sim.fleet.roll import Roll
from sim.gateway.prefix_tree import PrefixIndex, PrefixTree, Way, longest_of
from sim.gateway.request import RequestView
from sim.gateway.signals import ServerView
from sim.spec.gateway.routing import SglangCacheAware

S = TypeVar("S", bound=ServerView)


class SglangCacheAwareRouter:
    """See the module's head."""

    def __init__(self, spec: SglangCacheAware, roll: Roll | None = None) -> None:
        self._spec = spec
        self._roll = roll
        self._ranking = roll.least("requests") if roll is not None else None
        self._version = -1
        self._here: dict[int, ServerView] = {}
        """Of the roll, by number."""
        self._sizes = LoadIndex()
        """Blocks remembered of each of them."""
        self._tree = PrefixTree()
        self._indices: dict[str, PrefixIndex] = {}

    def choose(self, request: RequestView, servers: Sequence[S]) -> S:
        """See ``Router``."""
        way = self._tree.way_of(request)
        if self._roll is not None and servers is self._roll.servers:
            chosen: S = self._of_roll(request, way, self._roll)
        else:
            chosen = self._of(request, way, servers)
        index = self._index(chosen)
        index.insert(way)
        if chosen.index in self._here:
            self._sizes.put(chosen.index, index.blocks)
        return chosen

    def _of(self, request: RequestView, way: Way, servers: Sequence[S]) -> S:
        """The choice among ``servers``, by a look at each."""
        loads = [server.requests_in_flight for server in servers]
        most, least = max(loads), min(loads)
        if self._unbalanced(most, least):
            return servers[loads.index(least)]
        indices = [self._index(server) for server in servers]
        matches = [index.matched_tokens(way) for index in indices]
        longest = max(matches)
        if longest > self._spec.cache_threshold * request.input_tokens:
            return servers[matches.index(longest)]
        sizes = [index.blocks for index in indices]
        return servers[sizes.index(min(sizes))]

    def _of_roll(self, request: RequestView, way: Way, roll: Roll) -> Any:
        """The same among all of the roll's."""
        if roll.version != self._version:
            self._version = roll.version
            for number in self._here:
                self._sizes.remove(number)
            self._here = {server.index: server for server in roll.servers}
            for server in roll.servers:
                self._sizes.put(server.index, self._index(server).blocks)
        assert self._ranking is not None
        idlest = self._ranking.first()
        if self._unbalanced(self._ranking.most(), idlest.requests_in_flight):
            return idlest
        longest, first = longest_of(way, self._spec.block_tokens, self._here)
        return self._here[first if longest > self._spec.cache_threshold * request.input_tokens else self._sizes.least()]

    def _unbalanced(self, most: int, least: int) -> bool:
        spec = self._spec
        return most - least > spec.balance_abs_threshold and most > spec.balance_rel_threshold * least

    def _index(self, server: ServerView) -> PrefixIndex:
        index = self._indices.get(server.name)
        if index is None:
            spec = self._spec
            index = PrefixIndex(spec.block_tokens, spec.max_tree_blocks, server.index)
            self._indices[server.name] = index
        return index
