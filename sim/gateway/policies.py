"""``Policies``: everything a gateway decides with, built from its spec. No request's state is kept here but the queue's."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sim.engine.clock import Clock
from sim.fleet.endpoints import Endpoints
from sim.fleet.roll import Roll
from sim.fleet.server import Server
from sim.gateway.admission import make_admission
from sim.gateway.counts import Counts
from sim.gateway.draws import uniforms
from sim.gateway.hybrid import HybridRule
from sim.gateway.outliers import make_outliers
from sim.gateway.request import ClientRequest, Failure
from sim.gateway.response_cache import ResponseCache, Twins
from sim.gateway.retries import make_retries
from sim.gateway.retry_budgets import make_budget
from sim.gateway.routers import make_router, ranks
from sim.gateway.signals import Signals
from sim.gateway.splitting import Splitting
from sim.gateway.waiting import WaitingRoom
from sim.plugins import Plugins
from sim.record.recorder import Recorder
from sim.rng import stream
from sim.spec import GatewaySpec
from sim.spec.gateway.disaggregation import AlwaysSplit
from sim.spec.gateway.retrying import BackoffRetries

_SHARED_ANSWERS = ("cache", "dedupe")
"""Names in the column ``pool`` of answers that nobody generated anew."""


def needs_process(spec: GatewaySpec) -> bool:
    """Whether any policy of ``spec`` asks for more than routing, a timeout and a bounded queue."""
    return bool(
        spec.retries or spec.hedging or spec.outliers or spec.admission or spec.cache or spec.dedupe or spec.passes
        or spec.hybrid or spec.queue.max_in_flight or spec.routes
    )  # fmt: skip


def answering_pools(spec: GatewaySpec) -> tuple[str, ...]:
    """Who can answer besides the fleet's pools; names in the column ``pool``."""
    return (*spec.apis, *(("cache",) if spec.cache is not None else ()), *(("dedupe",) if spec.dedupe else ()))


class Policies:
    """The policies of one gateway."""

    def __init__(
        self,
        spec: GatewaySpec,
        clock: Clock,
        endpoints: Endpoints,
        recorder: Recorder,
        counts: Counts,
        plugins: Plugins,
        seed: int,
        prefill_pools: Collection[str] = (),
    ) -> None:
        self._spec = spec
        self._max_in_flight = spec.queue.max_in_flight
        self._prefill_pools = frozenset(prefill_pools)
        self._clock = clock
        self._endpoints = endpoints
        self._recorder = recorder
        self._counts = counts
        requests = len(recorder.outcome)
        ordinary = self._ordinary_pools()
        self._ordinary = endpoints.among(ordinary)
        self._only = next(iter(ordinary)) if len(ordinary) == 1 else None
        """The pool that ordinary requests go to, where it is one: its servers are these."""
        self.waits_for = tuple(index for index, pool in enumerate(endpoints.pools) if pool in ordinary)
        """Indices of the pools whose servers a request in the queue waits for."""
        made: dict[float, Signals] = {}

        def signals(staleness_s: float) -> Signals:
            if staleness_s not in made:
                made[staleness_s] = Signals(clock, staleness_s, endpoints.ready, counts)
            return made[staleness_s]

        roll = self._roll = Roll(endpoints, ordinary)
        self.router = make_router(spec.router, signals, stream(seed, "gateway", "router"), plugins, roll)
        self._ranks = ranks(self.router)
        self.splitting: Splitting | None = None
        if prefill_pools:
            split = spec.disaggregation or AlwaysSplit()
            rng = stream(seed, "gateway", "prefill_router")
            chooser = make_router(split.prefill_router, signals, rng, plugins, Roll(endpoints, prefill_pools))
            self.splitting = Splitting(split, chooser, endpoints.among(prefill_pools), counts)
        retries = spec.retries
        self._retries = self._budget = None
        if retries is not None:
            self._retries = make_retries(retries, stream(seed, "gateway", "retries"), self._healthy, plugins)
            kinds = retries.on if isinstance(retries, BackoffRetries) else None
            self._budget = make_budget(retries.budget, kinds) if retries.budget is not None else None
        self._backing_off = 0
        """Requests that wait for their next try."""
        self._outliers = make_outliers(spec.outliers, endpoints) if spec.outliers is not None else None
        self._admission = [make_admission(policy, self.ready, signals, plugins) for policy in spec.admission]
        self.room = WaitingRoom(spec.queue.fair, spec.queue.weights)
        self.cache = ResponseCache(spec.cache) if spec.cache is not None else None
        self.twins = Twins() if spec.dedupe else None
        self.hybrid = HybridRule(spec.hybrid, uniforms(seed, "uncertain", requests)) if spec.hybrid is not None else None

    # -- who may take a request ----------------------------------------------------------------------------------------

    def _ordinary_pools(self) -> frozenset[str]:
        spec, everybody = self._spec, frozenset(self._endpoints.pools) - self._prefill_pools
        if spec.pools:
            return frozenset(spec.pools)
        special = {p.pool for p in spec.passes if p.pool is not None} | set(spec.routes.values())
        if spec.hybrid is not None and spec.hybrid.larger_pool is not None:
            special.add(spec.hybrid.larger_pool)
        return everybody - special or everybody

    def ready(self) -> list[Server]:
        """Ready servers that ordinary requests go to."""
        return self._ordinary

    def _usable(self, pool: str | None) -> Sequence[Server]:
        """Ready servers that are not left out."""
        servers = self._ordinary if pool is None or pool == self._only else self._endpoints.of(pool)
        if self._outliers is not None:
            usable = self._outliers.usable(servers, self._clock.now)
            self._tell_ejections()
            return usable
        return servers

    def _healthy(self) -> tuple[int, int]:
        """How many servers may be tried now, and how many there are."""
        return len(self._usable(None)), len(self.ready())

    def candidates(self, pool: str | None, avoid: Collection[Server] = ()) -> Sequence[Server]:
        """Servers that may take an attempt now: not left out, with room, not among ``avoid``."""
        servers = self._usable(pool)
        limit = self._max_in_flight
        if limit is not None and pool is None:
            servers = [server for server in servers if server.requests_in_flight < limit]
        if avoid:
            servers = [server for server in servers if server not in avoid]
        return servers

    def chosen(self, request: ClientRequest, pool: str | None, avoid: Collection[Server] = ()) -> Server | None:
        """The candidate that gets an attempt of ``request``; None = there is none."""
        limit = self._max_in_flight if pool is None else None
        if self._ranks and (avoid or limit is not None):
            everybody = self._usable(pool)
            if everybody and everybody is self._ordinary:
                first: Server = self.router.choose(request, everybody)
                if first not in avoid and (limit is None or first.requests_in_flight < limit):
                    return first
        servers = self.candidates(pool, avoid)
        if not servers:
            return None
        chosen: Server = self.router.choose(request, servers)
        return chosen

    def nobody(self, pool: str | None) -> Failure:
        """Why there is no candidate."""
        there = self.ready() if pool is None else self._endpoints.of(pool)
        return Failure("unavailable", "all_left_out" if there and not self._usable(pool) else "no_replica")

    def must_queue(self) -> bool:
        """Whether the gateway's queue is where an ordinary request goes first."""
        return len(self.room) > 0 or not self.has_room()

    def has_room(self) -> bool:
        """Whether a request need not wait: a replica may take one more, or all that are there are left out and it fails."""
        limit = self._max_in_flight
        if limit is None:
            return bool(self._ordinary)
        usable = self._usable(None)
        if usable is self._ordinary:
            return bool(usable) and self._roll.least("requests").first().requests_in_flight < limit
        return bool(self._ordinary) and (not usable or any(server.requests_in_flight < limit for server in usable))

    def least_waiting(self) -> int:
        """Requests waiting in the emptiest ready replica; if none is, in the gateway's line, which wakes a fleet."""
        return min((server.replica.n_waiting for server in self.ready()), default=len(self.room))

    # -- admission, retries, breakers ----------------------------------------------------------------------------------

    def refusal(self, request: ClientRequest, now_s: float) -> Failure | None:
        """Why ``request`` is not let in, or None."""
        for policy in self._admission:
            refused = policy.refuse(request, now_s)
            if refused is not None:
                return Failure("shed", refused.reason, refused.retry_after_s)
        return None

    def may_share(self, request: ClientRequest) -> bool:
        """Whether an equal request's answer would do for it."""
        return bool(request.prompt_id) and (self.cache is not None or self.twins is not None)

    def answered(self, request: ClientRequest, pool: str, output_tokens: int, now_s: float) -> None:
        """Tell admission and cache of a whole answer; a shared one was neither generated nor paid again."""
        if pool in _SHARED_ANSWERS:
            return
        for policy in self._admission:
            policy.answered(request, output_tokens, now_s)
        if self.cache is not None and request.prompt_id:
            self.cache.keep(request.prompt_id, output_tokens, now_s)

    def retry_wait_s(self, request: ClientRequest, failure: Failure, under_way: int) -> float | None:
        """Seconds until the next try, or None for none; ``under_way``: requests without an outcome."""
        if self._retries is None or failure.kind == "rejected":
            return None
        wait_s = self._retries.wait_s(request, failure)
        if wait_s is not None and self._budget is not None:
            request.withdrawn = self._budget.withdraw(failure, under_way - self._backing_off)
            if request.withdrawn is None:
                return None
        self._backing_off += wait_s is not None
        return wait_s

    def next_try(self) -> None:
        """A request that waited for its next try does so no longer."""
        self._backing_off -= 1

    def ended(self, request: ClientRequest, failure: Failure | None) -> None:
        """A client's try is over."""
        if self._budget is not None:
            self._budget.ended(failure, request.withdrawn)
            request.withdrawn = None

    def attempt_sent(self, server: Server) -> None:
        """``server`` gets an attempt."""
        if self._outliers is not None:
            self._outliers.sent(server, self._clock.now)

    def attempt_ended(self, server: Server, failure: Failure | None) -> None:
        """``server`` has answered an attempt, or failed or refused it."""
        if self._outliers is not None:
            cluster = self._ordinary if server.pool_index in self.waits_for else self._endpoints.of(server.pool)
            self._outliers.ended(server, failure, cluster, self._clock.now)
            self._tell_ejections()

    def refused(self, server: Server) -> Failure:
        """``server``'s queue is full."""
        failure = Failure("shed", "queue_full", None, server.index)
        self.attempt_ended(server, failure)
        return failure

    def called_off(self, server: Server) -> None:
        """Nobody waits any more for an attempt that ``server`` did not fail."""
        if self._outliers is not None:
            self._outliers.called_off(server)

    def _tell_ejections(self) -> None:
        assert self._outliers is not None
        for ejection in self._outliers.news():
            self._counts.ejections += 1
            now, name = self._clock.now, ejection.target
            self._recorder.event(now, "breaker", ejection.cause, replica=name, ejected_s=ejection.for_s)
