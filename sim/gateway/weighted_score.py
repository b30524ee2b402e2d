"""llm-d's weighted score of queue, cache, prefix and adapter.

    argmax of queue_weight x (max waiting - waiting) / (max waiting - min waiting)
            + kv_weight x (1 - KV used) + prefix_weight x blocks matched / blocks of the prompt (at most 256)
            + lora_weight x (1 if the adapter runs there, 0.8 if it has room for one more, else 0)

What a replica's cache holds is guessed (``PrefixTree``). Given a ``Roll`` and signals that hold for a while, the router
keeps what a scrape says: a request then looks at those that know its prompt or run its adapter, and at the best of the
others. Signals that are read when they are asked for change at every step of every engine, so that all are looked at.

Source: gateway-api-inference-extension ``pkg/epp/framework/plugins/scheduling/scorer`` (``queuedepth/queue.go``: 1 for all
where queues are equal; ``kvcacheutilization``; ``loraaffinity``; ``prefix/plugin.go``, the approximate index: an LRU a
replica), picker: a random one of the best.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from sim.fleet.roll import Roll
from sim.gateway.prefix_tree import PrefixIndex, PrefixNode, PrefixTree, Way
from sim.gateway.request import RequestView
from sim.gateway.signals import ScrapedServer, ServerView, Signals, Snapshot
from sim.spec.gateway.routing import WeightedScore

C = TypeVar("C", bound=ScrapedServer)

_FEW = 8
"""So many that know a prompt are looked at one by one; of more, first those that are best without it."""


class WeightedScoreRouter:
    """See the module's head."""

    def __init__(self, spec: WeightedScore, signals: Signals, rng: np.random.Generator, roll: Roll | None = None) -> None:
        self._rng = rng
        self._spec = spec
        self._signals = signals
        self._roll = roll if roll is not None and signals.staleness_s else None
        self._version = self._scrapes = -1
        self._seen: list[Snapshot] = []
        """Of the roll's servers, as of the last scrape; the rest follows from it."""
        self._bare: list[float] = []
        """Their scores without a prefix."""
        self._best: list[int] = []
        """Places of the highest of these."""
        self._second = 0.0
        """The highest that is lower."""
        self._with_room: list[int] = []
        """Places of the highest scores among those that have room for one more adapter, and among those that have none."""
        self._without: list[int] = []
        self._running: dict[str, list[int]] = {}
        """Adapter -> places of those where it runs."""
        self._numbers: list[int] = []
        self._place: dict[int, int] = {}
        """Number of a server -> its place."""
        self._tree = PrefixTree()
        self._indices: dict[str, PrefixIndex] = {}

    def choose(self, request: RequestView, servers: Sequence[C]) -> C:
        """See ``Router``."""
        way = self._tree.way_of(request)
        first = int(self._rng.random() * len(servers))  # equals are taken at random, as llm-d's picker does
        if self._roll is not None and servers is self._roll.servers:
            place = self._of_roll(request, way, first, self._roll)
            best: C = servers[place]
            seen = self._seen[place]
        else:
            best, seen = self._of(request, way, first, servers)
        self._index(best, seen).insert(way)
        return best

    def _of(self, request: RequestView, way: Way, first: int, servers: Sequence[C]) -> tuple[C, Snapshot]:
        """The choice among ``servers``, by a look at each, equals in order behind ``first``."""
        seen = [self._signals.of(server) for server in servers]
        bare = self._scores(seen)
        blocks = self._blocks(request)
        best, best_score = 0, float("-inf")
        for place in range(-first, len(servers) - first):
            matched = self._index(servers[place], seen[place]).matched_tokens(way)
            score = self._score(bare[place], seen[place], matched, blocks, request.lora)
            if score > best_score:
                best, best_score = place, score
        return servers[best], seen[best]

    def _of_roll(self, request: RequestView, way: Way, first: int, roll: Roll) -> int:
        """The place of the same among all of the roll's."""
        self._signals.of(roll.servers[0])
        if roll.version != self._version or self._scrapes != self._signals.scrapes:
            self._look(roll)
        n, lora = len(roll.servers), request.lora
        blocks = self._blocks(request)
        matched = self._worth_a_look(way, first, blocks, lora)
        best, best_score = 0, float("-inf")
        for place, tokens in matched.items():
            score = self._score(self._bare[place], self._seen[place], tokens, blocks, lora)
            if score > best_score or (score == best_score and (place + first) % n < (best + first) % n):
                best, best_score = place, score
        return best

    def _worth_a_look(self, way: Way, first: int, blocks: int, lora: str) -> dict[int, int]:
        """Places among which the highest score is, with the tokens of the prompt that each knows: where the adapter runs,
        who knows something of the prompt, and the first of those that are best without either."""
        matched = dict.fromkeys(self._running.get(lora, []), 0)
        for best in (self._with_room, self._without) if lora else (self._best,):
            if best:
                matched[best[self._behind(best, first) % len(best)]] = 0
        block_tokens = self._spec.block_tokens
        found: set[int] = set()
        for node, agreed in reversed(way.steps):
            if len(node.knowing) > _FEW and not lora:
                place = self._best_that_knows(node, agreed, first, blocks)
                if place >= 0:
                    if place not in found:
                        found.add(place)
                        matched[place] = agreed // block_tokens * block_tokens
                    continue
            for number, known in node.knowing.items():
                place = self._place.get(number, -1)
                if place >= 0 and place not in found:
                    found.add(place)
                    matched[place] = min(known.end, agreed) // block_tokens * block_tokens
        return matched

    def _behind(self, places: list[int], first: int) -> int:
        """Where in ``places`` those begin that equals are taken from first; behind the last come those at the head."""
        return bisect_left(places, len(self._bare) - first)

    def _best_that_knows(self, node: PrefixNode, agreed: int, first: int, blocks: int) -> int:
        """The first place behind ``first`` of the highest bare score that knows ``node`` as far as the prompt does: no other
        that knows no more scores higher, or as high and comes before. -1 = it is not found so."""
        best = self._best
        block_tokens = self._spec.block_tokens
        enough, prefix = min(agreed // block_tokens, blocks), self._prefix_score(agreed, blocks)
        if self._second + prefix >= self._bare[best[0]] + prefix:
            return -1  # rounding makes the lower ones equal
        behind = self._behind(best, first)
        for turn in range(min(len(best), len(node.knowing))):
            place = best[(behind + turn) % len(best)]
            known = node.knowing.get(self._numbers[place])
            if known is not None and known.end // block_tokens >= enough:
                return place
        return -1

    def _look(self, roll: Roll) -> None:
        """What the last scrape says of each of the roll's servers."""
        seen = self._seen = [self._signals.of(server) for server in roll.servers]
        self._bare = self._scores(seen)
        highest = max(self._bare)
        self._best = [place for place, score in enumerate(self._bare) if score == highest]
        self._second = max((score for score in self._bare if score < highest), default=float("-inf"))
        self._with_room = self._highest([place for place, one in enumerate(seen) if len(one.adapters) < one.max_loras])
        self._without = self._highest([place for place, one in enumerate(seen) if len(one.adapters) >= one.max_loras])
        self._running = {}
        for place, one in enumerate(seen):
            for adapter in one.adapters:
                self._running.setdefault(str(adapter), []).append(place)
        self._numbers = [server.index for server in roll.servers]
        self._place = {number: place for place, number in enumerate(self._numbers)}
        self._version, self._scrapes = roll.version, self._signals.scrapes

    def _highest(self, places: Sequence[int]) -> list[int]:
        """Those of ``places`` whose score for an adapter that does not run there is the highest."""
        scores = [self._score(self._bare[place], self._seen[place], 0, 0, _NOWHERE) for place in places]
        highest = max(scores, default=0.0)
        return [place for place, score in zip(places, scores, strict=True) if score == highest]

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

    def _score(self, bare: float, seen: Snapshot, matched_tokens: int, blocks: int, lora: str) -> float:
        score = bare + self._prefix_score(matched_tokens, blocks)
        return score + self._spec.lora_weight * _adapter_score(lora, seen) if lora else score

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


_NOWHERE = "\0"
"""The name of no adapter."""


def _adapter_score(lora: str, seen: Snapshot) -> float:
    """llm-d's lora-affinity score of a replica."""
    if lora in seen.adapters:
        return 1.0
    return 0.8 if len(seen.adapters) < seen.max_loras else 0.0
