"""``Splitting``: whether a prefill replica computes the prompt of a request whose decode replica was chosen, and which."""

from __future__ import annotations

from sim.fleet.server import Server
from sim.gateway.counts import Counts
from sim.gateway.deciders import Pair, make_decider
from sim.gateway.prefix_tree import PrefixIndex, PrefixTree
from sim.gateway.request import ClientRequest
from sim.gateway.routers import Router
from sim.spec.gateway.disaggregation import Disaggregation


class Splitting:
    """The decider of one gateway and what it knows: ``prefill`` are the ready prefill replicas, ``router`` chooses among
    them. What a decode replica has cached is guessed from what was sent there."""

    def __init__(self, spec: Disaggregation, router: Router, prefill: list[Server], counts: Counts) -> None:
        self.spec = spec
        self._decider = make_decider(spec)
        self._router = router
        self._prefill = prefill
        self._counts = counts
        self._tree = PrefixTree()
        self._sent: dict[str, PrefixIndex] = {}

    def source(self, request: ClientRequest, server: Server, prompt_tokens: int) -> Server | None:
        """Who computes the prompt of ``request`` for ``server``; None = that one itself: it takes whole requests, the
        decider says so, or no prefill replica can."""
        if server.role != "decode":
            return None
        decider = self._decider
        cached = self._cached_tokens(request, server) if decider is not None and decider.uses_cache else 0
        if not self._prefill:
            self._counts.without_prefill += 1
            return None
        source: Server = self._router.choose(request, self._prefill)
        if decider is not None:
            load = source.tokens_in_flight / (source.engine.max_num_batched_tokens or 1)
            held = (server.tokens_in_flight + prompt_tokens) / (server.num_gpu_blocks * server.engine.block_size)
            if not decider.remote(Pair(prompt_tokens, cached, load, held)):
                self._counts.kept_whole += 1
                return None
        if source.replica.scheduler.refusal(prompt_tokens, 1) is not None:
            self._counts.without_prefill += 1
            return None
        return source

    def _cached_tokens(self, request: ClientRequest, server: Server) -> int:
        """Tokens of the prompt that ``server`` has seen before; from now on it has seen all of them."""
        if request.content is None:
            return 0
        index = self._sent.get(server.name)
        if index is None:
            index = self._sent[server.name] = PrefixIndex(server.engine.block_size, server.num_gpu_blocks, server.index)
        way = self._tree.way_of(request)
        matched = index.matched_tokens(way)
        index.insert(way)
        return matched
