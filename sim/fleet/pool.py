"""``Pool``: the servers of one kind, and every way in which one comes or goes.

    requested -> provisioning -> image -> weights -> engine start -> ready -> draining -> gone | asleep
                                                                     ready -> dead -> gone

A start is one SimPy process that reads like this line; a ready server needs none. What is asked for and what exists are
two things: ``resize`` states how many are wanted, ``heal`` asks for what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Literal

import simpy

from sim.engine.clock import REPLICA, Moment
from sim.fleet.blueprint import Blueprint
from sim.fleet.durations import draw_s
from sim.fleet.server import Server
from sim.rng import stream
from sim.spec import Market, PoolSpec

if TYPE_CHECKING:
    from sim.fleet.fleet import Fleet

Start = Literal["cold", "restart", "wake"]
Life = Generator[simpy.Event, Any, None]

_DRAIN_CHECK_S = 1.0
"""A draining server is looked at so often; its end is up to this late."""


class Pool:
    """Servers of one blueprint; ``alive`` are those that are neither dead nor gone."""

    def __init__(self, fleet: Fleet, name: str, spec: PoolSpec, blueprint: Blueprint, market: Market, seed: int) -> None:
        self.fleet = fleet
        self.clock = fleet.clock
        self.name = name
        self.spec = spec
        self.blueprint = blueprint
        self.market = market
        self.zones = spec.zones or (spec.zone,)
        self.alive: list[Server] = []
        self.wanted = spec.replicas
        self._successors: set[Server] = set()
        """Servers that are coming to take another's place: until they are ready they are beside what is wanted."""
        self._rng = stream(seed, "fleet", "cold_start", name)

    # -- what exists ---------------------------------------------------------------------------------------------------

    def live(self) -> list[Server]:
        """Servers that count as capacity, now or soon: starting or ready, and not about to be taken."""
        return [s for s in self.alive if not s.doomed and (s.starting or s.state == "ready")]

    def begin(self) -> None:
        """The servers of the start: all ready, warm ones asleep beside them."""
        for number in range(self.spec.replicas + self.spec.warm_replicas):
            server = self._new(*self._place())
            if number < self.spec.replicas:
                self.fleet.add_ready(server)
            else:
                server.state = "asleep"
            self.fleet.watch(server)

    def _new(self, market: Market, zone: str) -> Server:
        server = self.fleet.build(self.blueprint, market, zone)
        self.alive.append(server)
        return server

    def _place(self) -> tuple[Market, str]:
        """Market and zone of the next server: the base share on demand, then spot where there is some."""
        market = self.market
        zones = self.zones
        spot = self.fleet.market_of(self.name)
        if market == "spot" and spot is not None:
            open_zones = tuple(zone for zone in zones if spot.has_capacity(zone, self._in_zone(zone)))
            on_demand = sum(s.market == "on_demand" for s in self.live())
            if on_demand < self.on_demand_base or (not open_zones and spot.spec.fallback == "on_demand"):
                market = "on_demand"
            elif open_zones:
                zones = open_zones
        return market, min(zones, key=lambda zone: sum(s.zone == zone for s in self.alive))

    @property
    def on_demand_base(self) -> int:
        """Servers of a spot pool that stay on demand."""
        spot = self.fleet.market_of(self.name)
        return 0 if spot is None else math.ceil(spot.spec.on_demand_share * self.wanted - 1e-9)

    def _in_zone(self, zone: str) -> int:
        return sum(s.zone == zone and s.market == "spot" and s.billed_start_s is not None for s in self.alive)

    # -- coming --------------------------------------------------------------------------------------------------------

    def resize(self, wanted: int, cause: str) -> None:
        """Bring the pool to ``wanted`` servers, within its limits."""
        wanted = max(self.spec.min_replicas, min(wanted, self.spec.max_replicas))
        if wanted != self.wanted:
            self.fleet.event("scale", cause, pool=self.name, replicas=wanted, before=self.wanted)
            self.wanted = wanted
        self.heal(cause)

    def heal(self, cause: str) -> None:
        """Launch what is missing, or retire what is too much."""
        live = [server for server in self.live() if server not in self._successors]
        for _ in range(self.wanted - len(live)):
            asleep = next((s for s in self.alive if s.state == "asleep"), None)
            if asleep is not None:
                self.clock.process(self._come_up(asleep, "wake"))
            elif self.launch(cause) is None:
                break
        for server in sorted(live, key=self._retire_key)[: max(0, len(live) - self.wanted)]:
            self.retire(server, cause)

    def launch(self, cause: str, start: Start = "cold", where: tuple[Market, str] | None = None) -> Server | None:
        """Ask for one more server; None where the GPU budget does not allow it."""
        if not self.fleet.within_budget(self.blueprint.gpus):
            self.fleet.event("quota", cause, pool=self.name, gpus=self.blueprint.gpus)
            return None
        server = self._new(*(where or self._place()))
        now = self.clock.now
        bills = self.fleet.billing.starts == "requested" or start == "restart"
        server.billed_start_s = now if bills else None
        server.requested_s, server.ready_s = now, math.nan
        server.enter("provisioning" if start == "cold" else "weights", now)
        self.fleet.event("requested", cause, pool=self.name, replica=server.name, market=server.market, zone=server.zone)
        self.clock.process(self._come_up(server, start))
        return server

    def _come_up(self, server: Server, start: Start) -> Life:
        cold, clock, rng = self.fleet.cold_start, self.clock, self._rng
        if start == "wake":
            server.enter("waking", clock.now)
            yield clock.timeout(draw_s(cold.wake, rng))
            if server.state == "waking":
                self._ready(server)
            return
        if start == "cold":
            while self._stock_out(server):
                yield clock.timeout(cold.stockout_retry_s)
                if server.state == "gone":
                    return
                server.market, server.zone = self._place()
            yield clock.timeout(draw_s(cold.provisioning, rng))
            if server.state == "gone":
                return
            if server.billed_start_s is None and self.fleet.billing.starts == "instance":
                server.billed_start_s = clock.now
            self.fleet.watch(server)
            server.enter("image", clock.now)
            yield clock.timeout(draw_s(cold.image, rng))
        for state, seconds in (
            ("weights", self.blueprint.weights_gib / cold.weights_gib_per_s),
            ("engine_start", draw_s(cold.engine_start, rng)),
        ):
            if server.state in ("gone", "dead"):
                return
            server.enter(state, clock.now)  # type: ignore[arg-type]
            yield clock.timeout(seconds)
        if server.state == "engine_start":
            if start == "restart":
                self.fleet.watch(server)
            self._ready(server)

    def _stock_out(self, server: Server) -> bool:
        cold = self.fleet.cold_start
        spot = self.fleet.market_of(self.name)
        if server.market == "spot" and spot is not None and not spot.has_capacity(server.zone, self._in_zone(server.zone)):
            cause = "no spot capacity"
        elif cold.stockout_probability and self._rng.random() < cold.stockout_probability:
            cause = "no capacity"
        else:
            return False
        self.fleet.event("stock_out", cause, pool=self.name, replica=server.name, zone=server.zone)
        return True

    def _ready(self, server: Server) -> None:
        now = self.clock.now
        if server.billed_start_s is None:
            server.billed_start_s = now
        self._successors.discard(server)
        server.enter("ready", now)
        server.ready_s = now
        self.fleet.event("ready", "started", pool=self.name, replica=server.name, after_s=now - server.requested_s)
        if server.doomed:
            server.state = "draining"
            return
        self.fleet.add_ready(server)
        self.heal("more than wanted")

    # -- going ---------------------------------------------------------------------------------------------------------

    def _retire_key(self, server: Server) -> tuple[int, bool, bool, int, int]:
        """Who goes first: an old version, what is not up yet, on demand in a spot pool, the least loaded, the newest."""
        surplus = self.market == "spot" and server.market == "on_demand" and not self.on_demand_base
        return (server.version, not server.starting, not surplus, server.tokens_in_flight, -server.index)

    def retire(self, server: Server, cause: str) -> None:
        """No new requests; it goes (or goes to sleep) when it has finished what it holds."""
        if server.state != "ready":
            self.bury(server, "cancelled" if server.starting else cause)
            return
        self.fleet.remove_ready(server)
        self.fleet.yield_background(server)
        server.enter("draining", self.clock.now)
        self.fleet.event("drain", cause, pool=self.name, replica=server.name, requests=server.requests_in_flight)
        self.clock.process(self._drain(server))

    def _drain(self, server: Server) -> Life:
        deadline_s = self.clock.now + self.fleet.spec.drain_timeout_s
        while server.requests_in_flight and self.clock.now < deadline_s and server.state == "draining":
            yield self.clock.timeout(_DRAIN_CHECK_S)
        if server.state != "draining":
            return
        asleep = sum(s.state == "asleep" for s in self.alive)
        if asleep < self.spec.warm_replicas and not server.doomed and not server.requests_in_flight:
            server.enter("asleep", self.clock.now)
            server.replica.scheduler.pool.clear()  # vLLM's sleep level 1 keeps the weights (in host memory), not the KV
        else:
            self.bury(server, "drained" if not server.requests_in_flight else "drain timeout")

    def lose(self, server: Server, cause: str, repair: str = "replace", detect_s: float = 0.0) -> None:
        """The server dies now with all it holds. ``detect_s`` later (billed) it is given up and repaired."""
        if server.state in ("dead", "gone"):
            return
        self.fleet.event("lost", cause, pool=self.name, replica=server.name, requests=server.requests_in_flight)
        self._stop(server)
        server.doomed = True
        if detect_s <= 0:
            self._give_up(server, cause, repair)
            return
        server.enter("dead", self.clock.now)
        self.clock.at(self.clock.now + detect_s, REPLICA, self._detected, (server, cause, repair))

    def _detected(self, moment: Moment) -> None:
        self._give_up(*moment.value)

    def _give_up(self, server: Server, cause: str, repair: str) -> None:
        self.bury(server, cause)
        if repair == "restart":
            self.launch(cause, "restart", (server.market, server.zone))
        elif repair == "replace":
            self.heal(cause)
        else:
            self.wanted = min(self.wanted, len(self.live()))

    def _stop(self, server: Server) -> None:
        self.fleet.remove_ready(server)
        self.fleet.evict(server, server.replica.stop())

    def bury(self, server: Server, cause: str) -> None:
        """The end: the machine is handed back and its bill stops."""
        if server.state == "gone":
            return
        now = self.clock.now
        if not server.replica.stopped:
            self._stop(server)
        server.enter("gone", now)
        server.stopped_s = now
        if server.billed_start_s is None:
            server.billed_start_s = now  # a request that was cancelled before it cost anything
        server.billed_stop_s = now
        self.alive.remove(server)
        self._successors.discard(server)
        self.fleet.event("gone", cause, pool=self.name, replica=server.name)

    # -- a new version -------------------------------------------------------------------------------------------------

    def deploy(self, blueprint: Blueprint, max_surge: int) -> Life:
        """Replace every server by one of ``blueprint``, ``max_surge`` at a time: first the new one, then the old."""
        self.blueprint = blueprint
        while old := [s for s in self.live() if s.version < blueprint.version]:
            fresh = [self.succeed("deploy") for _ in range(min(max_surge, len(old)))]
            yield self.clock.timeout(_DRAIN_CHECK_S)  # where the GPU budget has no room: until it has
            while any(s is not None and s.starting for s in fresh):
                yield self.clock.timeout(_DRAIN_CHECK_S)

    def succeed(self, cause: str, where: tuple[Market, str] | None = None) -> Server | None:
        """Launch a server that takes another's place once it is ready."""
        server = self.launch(cause, where=where)
        if server is not None:
            self._successors.add(server)
        return server
