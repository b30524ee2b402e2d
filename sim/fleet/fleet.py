"""``Fleet``: the servers that exist, by pool, and their books.

A fleet whose pools neither scale nor fail starts no process and no timer: all servers are ready from the start and live
to the end.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from sim.engine.batch import Batch
from sim.engine.clock import Clock
from sim.engine.gaps import GapHistogram
from sim.engine.replica import Replica
from sim.engine.request import EngineRequest
from sim.errors import ConfigError
from sim.fleet.background import Background
from sim.fleet.blueprint import Blueprint
from sim.fleet.controller import Controller
from sim.fleet.failures import Failures
from sim.fleet.pool import Pool
from sim.fleet.prices import PriceHistory
from sim.fleet.server import Server
from sim.fleet.spot import SpotMarket
from sim.fleet.timeline import play
from sim.record.result import REPLICA_COLUMNS
from sim.spec import Market, Scenario
from sim.spec.autoscaler import NoAutoscaler

_ROUNDING = 1e-9


class Fleet:
    """Builds servers from pools and keeps their books.

    Args:
        clock: the simulation's clock.
        scenario: what is asked; its fleet, autoscaler, spot and timeline are this room's.
        on_finish: told of attempts that sampled their last token.
        on_abort: told of attempts that an engine dropped at the gateway's wish.
        gaps: collects the gaps between tokens.
        on_step: told of every step (engines then step every token).
        on_evicted: told of a server's open attempts when it dies; their KV is lost.
        on_event: ``(time_s, event, cause, **details)`` for the records.
        demand: arrivals so far, and requests that wait at the gateway for a server.
    """

    def __init__(
        self,
        clock: Clock,
        scenario: Scenario,
        on_finish: Callable[[EngineRequest], None],
        on_abort: Callable[[EngineRequest], None],
        gaps: GapHistogram,
        on_step: Callable[[Replica, Batch], None] | None = None,
        *,
        on_evicted: Callable[[Sequence[EngineRequest]], None] = lambda attempts: None,
        on_event: Callable[..., None] = lambda *args, **details: None,
        demand: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        self.clock = clock
        self.spec = scenario.fleet
        self.cold_start = self.spec.cold_start
        self.billing = self.spec.billing
        self.demand = demand
        self._cost = scenario.cost
        self._check_invariants = scenario.check_invariants
        self._seed = scenario.seed
        self._on_evicted = on_evicted
        self._on_event = on_event
        self._on_step, self._gaps = on_step, gaps
        self.on_ready: list[Callable[[Server], None]] = []
        """Called with every server that becomes ready during the run."""
        self.servers: list[Server] = []
        """Every server that ever existed, by index."""
        self.ready: list[Server] = []
        """Servers that take requests now, in order of creation."""
        self.background = Background(self, self.spec.background, on_finish, on_abort) if self.spec.background else None
        self._on_finish = self.background.finished if self.background else on_finish
        self._on_abort = self.background.aborted if self.background else on_abort
        self.failures = Failures(self, self.spec.failures, scenario.seed)
        self._prices = PriceHistory(scenario)
        self._markets: dict[str, SpotMarket] = {}
        self.pools: dict[str, Pool] = {}
        for index, (name, pool) in enumerate(scenario.fleet.all_pools().items()):
            blueprint = Blueprint(
                name, index, pool.model or scenario.model, pool.gpu or scenario.gpu, pool.engine or scenario.engine
            )
            market = scenario.cost.market or pool.market
            spot = pool.spot or scenario.spot
            if market == "spot" and (spot.hazard is not None or spot.on_demand_share):
                self._markets[name] = SpotMarket(self, name, spot, scenario)
            self.pools[name] = Pool(self, name, pool, blueprint, market, scenario.seed)
        for pool_ in self.pools.values():
            pool_.begin()
        scalers = [pool_.spec.autoscaler or scenario.autoscaler for pool_ in self.pools.values()]
        if not self.ready and all(isinstance(scaler, NoAutoscaler) for scaler in scalers):
            raise ConfigError("fleet.replicas: needs at least one replica, or an autoscaler that starts one, but got 0")
        for spot_market in self._markets.values():
            spot_market.start()
        for pool_, scaler in zip(self.pools.values(), scalers, strict=True):
            if not isinstance(scaler, NoAutoscaler):
                Controller(self, pool_, scaler)
        if self.background is not None:
            self.background.start()
        play(self, scenario.timeline)

    # -- for pools -----------------------------------------------------------------------------------------------------

    def build(self, blueprint: Blueprint, market: Market, zone: str) -> Server:
        """A server of ``blueprint``, in the books from now on."""
        server = blueprint.build(
            self.clock, len(self.servers), market, zone, self._on_finish, self._on_abort, self._on_step, self._gaps,
            self._seed, self._check_invariants,
        )  # fmt: skip
        server.replica.on_late = lambda attempt: self.evict(server, [attempt])
        self.servers.append(server)
        return server

    def add_ready(self, server: Server) -> None:
        """``server`` takes requests from now on."""
        insort(self.ready, server, key=lambda s: s.index)
        for listener in self.on_ready:
            listener(server)

    def remove_ready(self, server: Server) -> None:
        """``server`` takes no more requests."""
        if server in self.ready:
            self.ready.remove(server)

    def evict(self, server: Server, attempts: list[EngineRequest]) -> None:
        """A dead engine's attempts go back to who sent them."""
        if self.background is not None:
            attempts = self.background.take_back(server, attempts)
        if attempts:
            self.event(
                "eviction", "server lost", pool=server.pool, replica=server.name, requests=len(attempts),
                tokens=sum(attempt.sampled for attempt in attempts),
            )  # fmt: skip
            self._on_evicted(attempts)

    def yield_background(self, server: Server) -> None:
        """``server`` is to empty itself: batch work leaves at once."""
        if self.background is not None:
            self.background.leave(server)

    def watch(self, server: Server) -> None:
        """A machine runs: from now on it may fail or be taken."""
        self.failures.watch(server)
        market = self._markets.get(server.pool)
        if market is not None and server.market == "spot":
            market.watch(server)

    def market_of(self, pool: str) -> SpotMarket | None:
        """The spot market that ``pool`` buys on, where it matters."""
        return self._markets.get(pool)

    def within_budget(self, gpus: int) -> bool:
        """Whether ``gpus`` more are allowed."""
        budget = self.spec.gpu_budget
        return budget is None or gpus + sum(s.gpus for pool in self.pools.values() for s in pool.alive) <= budget

    def event(self, event: str, cause: str, **details: Any) -> None:
        """A line for the records."""
        self._on_event(self.clock.now, event, cause, **details)

    # -- for the time series and the bill ------------------------------------------------------------------------------

    def states(self) -> dict[str, int]:
        """How many servers are ready, starting, draining, dead."""
        counts = {"ready": len(self.ready), "starting": 0, "draining": 0, "dead": 0}
        for pool in self.pools.values():
            for server in pool.alive:
                kind = "starting" if server.starting else server.state
                if kind in ("starting", "draining", "dead"):
                    counts[kind] += 1
        return counts

    def usd_per_hour(self) -> float:
        """What runs now costs an hour, at the prices of now."""
        billed = [s for pool in self.pools.values() for s in pool.alive if s.billed_start_s is not None]
        now = self.clock.now
        return sum(s.usd_per_hour * self._prices.factor(s, now) for s in billed)

    def books(self, end_s: float) -> pd.DataFrame:
        """``Result.replicas`` at the end of the run."""
        rows = []
        for server in self.servers:
            if not server.replica.stopped:  # what still runs (batch work, answers that nobody waits for) ends here
                server.wasted_tokens += sum(attempt.sampled for attempt in server.replica.stop())
            server.settle(end_s)
            replica, seconds = server.replica, server.seconds
            scheduler = replica.scheduler
            start_s = end_s if server.billed_start_s is None else server.billed_start_s
            used_until_s = end_s if server.billed_stop_s is None else server.billed_stop_s
            stop_s = used_until_s if used_until_s >= end_s else self._billed_until(start_s, used_until_s)
            rows.append(
                {
                    "pool": server.pool,
                    "replica": server.name,
                    "gpu": server.gpu.name,
                    "gpus": server.gpus,
                    "market": server.market,
                    "zone": server.zone,
                    "requested_s": server.requested_s,
                    "ready_s": server.ready_s,
                    "stopped_s": end_s if server.stopped_s is None else server.stopped_s,
                    "billed_start_s": start_s,
                    "billed_stop_s": stop_s,
                    "busy_s": replica.busy,
                    "idle_s": seconds.get("idle", 0.0),
                    "starting_s": seconds.get("starting", 0.0),
                    "draining_s": seconds.get("draining", 0.0),
                    "dead_s": seconds.get("dead", 0.0),
                    "price_factor": self._prices.mean_factor(server, start_s, stop_s),
                    "seq_s": replica.seq_time,
                    "kv_block_s": replica.block_time,
                    "max_num_seqs": server.engine.max_num_seqs,
                    "kv_blocks": scheduler.pool.usable,
                    "engine_steps": replica.steps,
                    "input_tokens": replica.prefill_tokens,
                    "output_tokens": replica.sampled_tokens,
                    "cached_tokens": scheduler.prefix_hits_tokens,
                    "recomputed_tokens": scheduler.recomputed_tokens,
                    "wasted_tokens": server.wasted_tokens,
                    "background_tokens": server.background_tokens,
                    "preemptions": scheduler.preemptions,
                    "prefix_queries_tokens": scheduler.prefix_queries_tokens,
                    "prefix_hits_tokens": scheduler.prefix_hits_tokens,
                }
            )
        return pd.DataFrame(rows, columns=list(REPLICA_COLUMNS))

    def _billed_until(self, start_s: float, used_until_s: float) -> float:
        """The end of the bill of a machine that was handed back during the run: minimum and increment apply."""
        used_s = used_until_s - start_s
        if used_s <= 0:
            return used_until_s
        billed_s = max(used_s, self.billing.minimum_s)
        step_s = self.billing.increment_s
        if step_s:
            billed_s = math.ceil(billed_s / step_s - _ROUNDING) * step_s
        return start_s + max(billed_s, used_s)
