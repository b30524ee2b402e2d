"""Routers that send a request where its prefix or its session already is.

``PrefixIndex`` is the gateway's own guess of a replica's cache: it remembers what it sent there, not what the engine has
kept. It works on segments of prompts instead of blocks (equal leading segments are equal blocks), so a look-up costs the
number of segments.

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

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from hashlib import blake2b
from typing import TypeVar

import numpy as np

from sim.gateway.request import RequestView
from sim.gateway.signals import ScrapedServer, ServerView, Signals, Snapshot
from sim.spec.gateway.routing import AdapterAffinity, SglangCacheAware, WeightedScore

S = TypeVar("S", bound=ServerView)
C = TypeVar("C", bound=ScrapedServer)

Path = list[tuple[Hashable, int]]
"""Segments of a prompt: a key that names segment and everything before it, and where it ends, tokens."""


def path_of(request: RequestView) -> Path:
    """The segments of the prompt of ``request``."""
    if request.content is None:
        return [(("row", request.row), request.input_tokens)]
    path: Path = []
    key: Hashable = request.lora or None
    end = 0
    for name, tokens in request.content:
        key = hash((key, end, name))
        end += tokens
        path.append((key, end))
    return path


class PrefixIndex:
    """What was sent to one replica lately: an LRU of at most ``max_blocks`` blocks of ``block_tokens``."""

    def __init__(self, block_tokens: int, max_blocks: int) -> None:
        self.block_tokens = block_tokens
        self.max_blocks = max_blocks
        self.blocks = 0
        self._ends: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()

    def matched_tokens(self, path: Path) -> int:
        """Tokens of the longest known prefix, whole blocks."""
        matched = 0
        for key, end in path:
            known = self._ends.get(key)
            if known is None:
                break
            matched = min(known[0], end)
            if known[0] < end:
                break
        return matched // self.block_tokens * self.block_tokens

    def insert(self, path: Path) -> None:
        """Remember a prompt that was sent; the deepest segments are the first to be forgotten."""
        start = 0
        spans = []
        for key, end in path:
            spans.append((key, start, end))
            start = end
        for key, start, end in reversed(spans):
            before = self._ends.pop(key, None)
            if before is not None:
                self.blocks -= before[1]
                end = max(end, before[0])
            blocks = end // self.block_tokens - start // self.block_tokens
            self._ends[key] = (end, blocks)
            self.blocks += blocks
        while self.blocks > self.max_blocks:
            self.blocks -= self._ends.popitem(last=False)[1][1]


class SglangCacheAwareRouter:
    """See the module's head."""

    def __init__(self, spec: SglangCacheAware) -> None:
        self._spec = spec
        self._indices: dict[str, PrefixIndex] = {}

    def choose(self, request: RequestView, servers: Sequence[S]) -> S:
        """See ``Router``."""
        spec = self._spec
        path = path_of(request)
        loads = [server.requests_in_flight for server in servers]
        most, least = max(loads), min(loads)
        if most - least > spec.balance_abs_threshold and most > spec.balance_rel_threshold * least:
            chosen = servers[loads.index(least)]
        else:
            indices = [self._index(server) for server in servers]
            matches = [index.matched_tokens(path) for index in indices]
            longest = max(matches)
            if longest > spec.cache_threshold * request.input_tokens:
                chosen = servers[matches.index(longest)]
            else:
                sizes = [index.blocks for index in indices]
                chosen = servers[sizes.index(min(sizes))]
        self._index(chosen).insert(path)
        return chosen

    def _index(self, server: ServerView) -> PrefixIndex:
        index = self._indices.get(server.name)
        if index is None:
            index = self._indices[server.name] = PrefixIndex(self._spec.block_tokens, self._spec.max_tree_blocks)
        return index


class WeightedScoreRouter:
    """See the module's head."""

    def __init__(self, spec: WeightedScore, signals: Signals, rng: np.random.Generator) -> None:
        self._rng = rng
        self._spec = spec
        self._signals = signals
        self._indices: dict[str, PrefixIndex] = {}

    def choose(self, request: RequestView, servers: Sequence[C]) -> C:
        """See ``Router``."""
        spec = self._spec
        path = path_of(request)
        seen = [self._signals.of(server) for server in servers]
        longest = max(snapshot.waiting for snapshot in seen)
        spread = longest - min(snapshot.waiting for snapshot in seen)
        blocks = min(request.input_tokens // spec.block_tokens, spec.max_prefix_blocks)
        best, best_seen, best_score = servers[0], seen[0], float("-inf")
        first = int(self._rng.random() * len(servers))  # equals are taken at random, as llm-d's picker does
        for place in range(len(servers)):
            server, snapshot = servers[place - first], seen[place - first]
            matched = min(self._index(server, snapshot).matched_tokens(path) // spec.block_tokens, blocks)
            score = (
                spec.queue_weight * ((longest - snapshot.waiting) / spread if spread else 1.0)
                + spec.kv_weight * (1 - snapshot.kv_used)
                + spec.prefix_weight * (matched / blocks if blocks else 0.0)
                + (spec.lora_weight * _adapter_score(request.lora, snapshot) if request.lora else 0.0)
            )
            if score > best_score:
                best, best_seen, best_score = server, snapshot, score
        self._index(best, best_seen).insert(path)
        return best

    def _index(self, server: ServerView, seen: Snapshot) -> PrefixIndex:
        index = self._indices.get(server.name)
        if index is None:
            index = PrefixIndex(self._spec.block_tokens, self._spec.lru_blocks_per_replica or seen.kv_blocks)
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

    def choose(self, request: RequestView, servers: Sequence[S]) -> S:
        """See ``Router``."""
        session = request.session_id or f"row{request.row}"
        return max(servers, key=lambda server: _rank(session, server.name))


def _rank(session: str, server: str) -> bytes:
    """64 evenly distributed bits of a pair of names."""
    return blake2b(f"{session}|{server}".encode(), digest_size=8).digest()
