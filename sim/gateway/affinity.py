"""Routers that send a request where its prefix or its session already is.

What a replica's cache holds is guessed (``PrefixTree``). Given a ``Roll``, a router keeps what it knows between requests,
and looks at few servers a request; without one, or asked for some of the roll's servers only, it looks at all.

    SGLang      matched share of the prompt > cache_threshold: the replica with the longest match
                else: the replica whose index is smallest
                load unbalanced ((max - min) > abs and max > rel x min): the fewest unfinished requests
    weighted    argmax of queue_weight x (max waiting - waiting) / (max waiting - min waiting)
                + kv_weight x (1 - KV used) + prefix_weight x blocks matched / blocks of the prompt (at most 256)
                + lora_weight x (1 if the adapter runs there, 0.8 if it has room for one more, else 0)
    adapter     the first replica in the adapter's own order (rendezvous hashing) that has at most ``balance`` x the mean of
                unfinished requests; the base model: the fewest

Sources: sgl-router ``src/policies/cache_aware.rs``; gateway-api-inference-extension
``pkg/epp/framework/plugins/scheduling/scorer`` (``queuedepth/queue.go``: 1 for all where queues are equal;
``kvcacheutilization``; ``loraaffinity``; ``prefix/plugin.go``, the approximate index: an LRU a replica), picker: a random
one of the best; consistent hashing with bounded loads, Mirrokni, Thorup and Zadimoghaddam 2016.
Left out: SGLang's separate eviction thread (ours evicts at insertion).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np

from sim.fleet.loads import LoadIndex
from sim.fleet.roll import Roll
from sim.gateway.prefix_tree import PrefixIndex, PrefixTree, Way, longest_of, matched_by
from sim.gateway.request import RequestView
from sim.gateway.signals import ScrapedServer, ServerView, Signals, Snapshot
from sim.spec.gateway.routing import AdapterAffinity, SglangCacheAware, WeightedScore

S = TypeVar("S", bound=ServerView)
C = TypeVar("C", bound=ScrapedServer)


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


class WeightedScoreRouter:
    """See the module's head."""

    def __init__(self, spec: WeightedScore, signals: Signals, rng: np.random.Generator, roll: Roll | None = None) -> None:
        self._rng = rng
        self._spec = spec
        self._signals = signals
        self._roll = roll if roll is not None and signals.staleness_s else None
        self._version = self._scrapes = -1
        self._seen: list[Snapshot] = []
        """Of the roll's servers, as of the last scrape."""
        self._bare: list[float] = []
        """Their scores without a prefix."""
        self._best: list[int] = []
        """Places of the highest of these."""
        self._place: dict[int, int] = {}
        """Number of a server -> its place."""
        self._tree = PrefixTree()
        self._indices: dict[str, PrefixIndex] = {}

    def choose(self, request: RequestView, servers: Sequence[C]) -> C:
        """See ``Router``."""
        way = self._tree.way_of(request)
        first = int(self._rng.random() * len(servers))  # equals are taken at random, as llm-d's picker does
        if self._roll is not None and servers is self._roll.servers and not request.lora:
            place = self._of_roll(request, way, first, self._roll)
            best: C = servers[place]
            seen = self._seen[place]
        else:
            best, seen = self._of(request, way, first, servers)
        self._index(best, seen).insert(way)
        return best

    def _of(self, request: RequestView, way: Way, first: int, servers: Sequence[C]) -> tuple[C, Snapshot]:
        """The choice among ``servers``, by a look at each, equals in order behind ``first``."""
        spec = self._spec
        seen = [self._signals.of(server) for server in servers]
        bare = self._scores(seen)
        blocks = self._blocks(request)
        best, best_score = 0, float("-inf")
        for place in range(-first, len(servers) - first):
            matched = self._index(servers[place], seen[place]).matched_tokens(way)
            score = bare[place] + self._prefix_score(matched, blocks)
            if request.lora:
                score += spec.lora_weight * _adapter_score(request.lora, seen[place])
            if score > best_score:
                best, best_score = place, score
        return servers[best], seen[best]

    def _of_roll(self, request: RequestView, way: Way, first: int, roll: Roll) -> int:
        """The place of the same among all of the roll's: who has seen something of the prompt, and the first of those that
        are best without."""
        self._signals.of(roll.servers[0])
        if roll.version != self._version or self._scrapes != self._signals.scrapes:
            self._look(roll)
        n = len(roll.servers)
        behind = bisect_left(self._best, n - first)
        best = self._best[behind] if behind < len(self._best) else self._best[0]
        best_score = self._bare[best]
        blocks = self._blocks(request)
        for number, matched in matched_by(way, self._spec.block_tokens).items():
            place = self._place.get(number, -1)
            if place < 0:
                continue
            score = self._bare[place] + self._prefix_score(matched, blocks)
            if score > best_score or (score == best_score and (place + first) % n < (best + first) % n):
                best, best_score = place, score
        return best

    def _look(self, roll: Roll) -> None:
        """What the last scrape says of each of the roll's servers."""
        self._seen = [self._signals.of(server) for server in roll.servers]
        self._bare = self._scores(self._seen)
        highest = max(self._bare)
        self._best = [place for place, score in enumerate(self._bare) if score == highest]
        self._place = {server.index: place for place, server in enumerate(roll.servers)}
        self._version, self._scrapes = roll.version, self._signals.scrapes

    def _scores(self, seen: Sequence[Snapshot]) -> list[float]:
        """Of queue and cache."""
        spec = self._spec
        longest = max(snapshot.waiting for snapshot in seen)
        spread = longest - min(snapshot.waiting for snapshot in seen)
        return [
            spec.queue_weight * ((longest - snapshot.waiting) / spread if spread else 1.0)
            + spec.kv_weight * (1 - snapshot.kv_used)
            for snapshot in seen
        ]

    def _blocks(self, request: RequestView) -> int:
        """Of the prompt, that are looked at."""
        return min(request.input_tokens // self._spec.block_tokens, self._spec.max_prefix_blocks)

    def _prefix_score(self, matched_tokens: int, blocks: int) -> float:
        matched = min(matched_tokens // self._spec.block_tokens, blocks)
        return self._spec.prefix_weight * (matched / blocks if blocks else 0.0)

    def _index(self, server: ServerView, seen: Snapshot) -> PrefixIndex:
        index = self._indices.get(server.name)
        if index is None:
            most = self._spec.lru_blocks_per_replica or seen.kv_blocks
            index = PrefixIndex(self._spec.block_tokens, most, server.index)
            self._indices[server.name] = index
        return index


def _adapter_score(lora: str, seen: Snapshot) -> float:
    """llm-d's lora-affinity score of a replica."""
    if lora in seen.adapters:
        return 1.0
    return 0.8 if len(seen.adapters) < seen.max_loras else 0.0


class AdapterAffinityRouter:
    """See the module's head: an adapter stays where it is loaded, and goes on to its next replica where that one is full."""

    def __init__(self, spec: AdapterAffinity) -> None:
        self._balance = spec.balance

    def choose(self, request: RequestView, servers: Sequence[S]) -> S:
        """See ``Router``."""
        if not request.lora:
            return min(servers, key=lambda server: server.requests_in_flight)
        total = 1
        for server in servers:
            total += server.requests_in_flight
        most = self._balance * total / len(servers)
        lora = request.lora
        order = sorted(servers, key=lambda server: _rank(lora, server.name), reverse=True)
        return next((server for server in order if server.requests_in_flight + 1 <= most), order[0])


class SessionAffinityRouter:
    """Highest-random-weight (rendezvous) hashing of the session over the servers; requests without one by their number.

    Every server gets a share of 1 / n, and only the sessions of a server that goes move (Thaler and Ravishankar 1998). Both
    ask for a hash whose bits depend on all of the input: a CRC is linear, so that names which differ in one digit order
    alike for every session. Gateways take xxHash (Envoy's and gRPC's ring hash); BLAKE2 stands here for such a hash, equal
    on every machine and under every ``PYTHONHASHSEED``.
    """

    def __init__(self, roll: Roll | None = None) -> None:
        self._roll = roll
        self._version = -1
        self._homes: dict[str, Any] = {}
        """Where the sessions seen since the roll changed are."""

    def choose(self, request: RequestView, servers: Sequence[S]) -> S:
        """See ``Router``; of all of the roll's servers, a session's first request looks for its home."""
        session, roll = request.session_id, self._roll
        if not session or roll is None or servers is not roll.servers:
            name = session or f"row{request.row}"
            return max(servers, key=lambda server: _rank(name, server.name))
        if roll.version != self._version:
            self._version = roll.version
            self._homes.clear()
        home: S | None = self._homes.get(session)
        if home is None:
            home = self._homes[session] = max(servers, key=lambda server: _rank(session, server.name))
        return home


def _rank(session: str, server: str) -> bytes:
    """64 evenly distributed bits of a pair of names."""
    return blake2b(f"{session}|{server}".encode(), digest_size=8).digest()
