"""Routers that know their servers between requests choose as a walk over all of them does, and look at few."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.fleet.endpoints import Endpoints
from sim.fleet.roll import Roll
from sim.gateway.request import ClientRequest
from sim.gateway.routers import make_router
from sim.gateway.signals import Snapshot
from sim.plugins import Plugins
from sim.spec.gateway.routing import (
    AdapterAffinity,
    LeastKv,
    LeastRequests,
    LeastTokensInFlight,
    PowerOfTwo,
    RandomRouter,
    RoundRobin,
    SessionAffinity,
    SglangCacheAware,
    StaticWeights,
    WeightedScore,
)


class Counted:
    """A server that counts how often somebody looks at one."""

    looks = 0

    def __init__(self, index: int, pool: str = "main") -> None:
        self.index = index
        self.pool = pool
        self._name = f"{pool}-{index}"
        self.requests = self.tokens = 0
        self.request_index: Any = None
        self.token_index: Any = None

    @property
    def name(self) -> str:
        Counted.looks += 1
        return self._name

    @property
    def requests_in_flight(self) -> int:
        Counted.looks += 1
        return self.requests

    @property
    def tokens_in_flight(self) -> int:
        Counted.looks += 1
        return self.tokens

    def book(self, tokens: int, requests: int) -> None:
        self.requests += requests
        self.tokens += tokens
        if self.request_index is not None:
            self.request_index.put(self.index, self.requests)
        if self.token_index is not None:
            self.token_index.put(self.index, self.tokens)


class Scraped:
    """Signals of a scrape that is made by hand."""

    def __init__(self, staleness_s: float) -> None:
        self.staleness_s = staleness_s
        self.scrapes = 0
        self._known: dict[int, Snapshot] = {}

    def scrape(self) -> None:
        self.scrapes += 1
        self._known.clear()

    def unchanged_since(self, scrapes: int) -> bool:
        return self.staleness_s > 0 and scrapes == self.scrapes

    def of(self, server: Counted) -> Snapshot:
        known = self._known.get(server.index) if self.staleness_s else None
        if known is None:
            kv_used = (server.tokens % 997) / 1000
            adapters = tuple(f"a{number}" for number in (1, 2, 3) if (server.index + server.requests) % (3 * number) == 1)
            known = Snapshot(server.requests_in_flight, server.tokens, server.requests // 2, kv_used, 40, adapters, 2)
            self._known[server.index] = known
        return known


SPECS = [
    RoundRobin(), RandomRouter(), PowerOfTwo(), LeastRequests(), LeastRequests(staleness_s=0.2), LeastTokensInFlight(),
    LeastKv(), WeightedScore(), WeightedScore(block_tokens=4), SessionAffinity(), AdapterAffinity(), SglangCacheAware(balance_abs_threshold=3),
    SglangCacheAware(max_tree_blocks=30, block_tokens=4, cache_threshold=0.0), StaticWeights(),
    StaticWeights(pools={"main": 3.0}, replicas={"main-1": 5.0, "main-2": 0.0, "far-4": 2.0}),
]  # fmt: skip


class Side:
    """One router, with its signals."""

    def __init__(self, spec: Any, roll: Roll | None) -> None:
        self.made: dict[float, Scraped] = {}
        self.router = make_router(spec, self._signals, np.random.default_rng(3), Plugins(), roll)  # type: ignore[arg-type]

    def _signals(self, staleness_s: float) -> Scraped:
        return self.made.setdefault(staleness_s, Scraped(staleness_s))

    def scrape(self) -> None:
        for signals in self.made.values():
            signals.scrape()


def asked(row: int, session: int, tokens: int) -> ClientRequest:
    request = ClientRequest(row, 0.0, tokens)
    request.session_id = f"s{session}" if session else ""
    request.lora = f"a{session // 2}" if session % 2 and row % 2 else ""
    if session % 3:
        turns = tuple(((session, turn), 8 + turn) for turn in range(row % 5))
        request.content = (("system", 16), *turns, (("row", row), 3))
        request.input_tokens = sum(tokens for _, tokens in request.content)
    return request


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7), st.integers(1, 300)), min_size=20, max_size=120))
@settings(max_examples=25, deadline=None)
def test_the_choice_is_that_of_a_walk(spec: Any, story: list[tuple[int, int, int]]) -> None:
    """Requests come, answers leave, servers join and leave, scrapes happen; both sides see the same."""
    endpoints = Endpoints(("main", "far"))
    roll = Roll(endpoints, ("main", "far"))
    knows, walks = Side(spec, roll), Side(spec, None)
    made: list[Any] = [Counted(index, "main" if index % 3 else "far") for index in range(12)]
    for server in made:
        endpoints.join(server)
        for side in (knows, walks):  # all know the prompt's beginning
            side.router.choose(asked(0, 1, 16), [server])
    for row, (what, session, tokens) in enumerate(story):
        servers: list[Any] = endpoints.ready
        if what == 0 and len(servers) > 2:
            endpoints.leave(servers[tokens % len(servers)])
        elif what == 1:
            made.append(Counted(len(made), "main" if session else "far"))
            endpoints.join(made[-1])
        elif what == 2:
            knows.scrape()
            walks.scrape()
        elif what == 3 and session % 2 and len(servers) > 2:  # some are left out for once
            some = [server for server in servers if server.index % 2 == session // 4] or servers[:1]
            assert knows.router.choose(asked(row, session, tokens), some) is walks.router.choose(
                asked(row, session, tokens), some
            )
        elif what == 4:
            for server in made:
                if server.requests:
                    server.book(-server.tokens // server.requests, -1)
        else:
            request = asked(row, session, tokens)
            chosen = knows.router.choose(request, servers)
            assert chosen is walks.router.choose(request, list(servers))
            chosen.book(tokens, 1)


@pytest.mark.parametrize("spec", [spec for spec in SPECS if not getattr(spec, "replicas", None)], ids=lambda spec: spec.kind)
def test_few_servers_are_looked_at(spec: Any) -> None:
    """At 1,000 servers fewer than ten a request, where a scrape holds for a hundred and sessions have eight turns."""
    endpoints = Endpoints(("main",))
    roll = Roll(endpoints, ("main",))
    side = Side(spec, roll)
    servers: list[Any] = [Counted(index) for index in range(1000)]
    for server in servers:
        endpoints.join(server)
    side.router.choose(asked(0, 1, 100), endpoints.ready)  # whoever wants to know them all does so now
    for session in range(1, 26):  # and so does a session's first turn
        side.router.choose(asked(session, session, 100), endpoints.ready)
    Counted.looks = 0
    requests = 2000
    for row in range(requests):
        chosen: Any = side.router.choose(asked(row, 1 + row % 25, 100), endpoints.ready)
        chosen.book(100, 1)
        if row % 5 == 0:
            chosen.book(-100, -1)
    assert Counted.looks < 10 * requests
