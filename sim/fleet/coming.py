"""``Coming``: how a pool's servers come up.

    requested -> provisioning -> image -> weights -> engine start -> ready
                                   restart -> weights -> engine start -> ready
                                               asleep -> waking       -> ready

A start is one SimPy process that reads like this line; a ready server needs none.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any, Literal

import simpy

from sim.fleet.blueprint import Blueprint
from sim.fleet.durations import draw_s
from sim.fleet.factory import ServerFactory
from sim.fleet.placement import Placement
from sim.fleet.server import Server
from sim.rng import stream
from sim.spec import Market, Scenario

Start = Literal["cold", "restart", "wake"]


class Coming:
    """Starts servers of ``blueprint``, which a deploy exchanges."""

    def __init__(
        self, factory: ServerFactory, placement: Placement, blueprint: Blueprint, scenario: Scenario
    ) -> None:
        self.roster = factory.roster
        self.placement = placement
        self.blueprint = blueprint
        self._factory = factory
        self._clock = factory.roster.clock
        self._cold = scenario.fleet.cold_start
        self._billing = scenario.fleet.billing
        self._gpu_budget = scenario.fleet.gpu_budget
        self._rng = stream(scenario.seed, "fleet", "cold_start", blueprint.pool)

    def there_already(self, *, asleep: bool = False) -> None:
        """A server that is up when the run begins."""
        server = self._factory.build(self.blueprint, *self.placement.next())
        if asleep:
            server.state = "asleep"
        else:
            self.roster.endpoints.join(server)
        self.roster.machine_runs(server)

    def launch(self, cause: str, start: Start = "cold", where: tuple[Market, str] | None = None) -> Server | None:
        """Ask for one more server; None where the GPU budget does not allow it."""
        roster, budget, pool = self.roster, self._gpu_budget, self.blueprint.pool
        if budget is not None and roster.gpus() + self.blueprint.gpus > budget:
            roster.event("quota", cause, pool=pool, gpus=self.blueprint.gpus)
            return None
        server = self._factory.build(self.blueprint, *(where or self.placement.next()))
        now = self._clock.now
        bills = self._billing.starts == "requested" or start == "restart"
        server.billed_start_s = now if bills else None
        server.requested_s, server.ready_s = now, math.nan
        server.enter("provisioning" if start == "cold" else "weights", now)
        roster.event("requested", cause, pool=pool, replica=server.name, market=server.market, zone=server.zone)
        self._clock.process(self._come_up(server, start))
        return server

    def wake(self, server: Server) -> None:
        """``server``, asleep, is to take requests again."""
        self._clock.process(self._come_up(server, "wake"))

    def _come_up(self, server: Server, start: Start) -> Generator[simpy.Event, Any, None]:
        cold, clock, rng = self._cold, self._clock, self._rng
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
                server.market, server.zone = self.placement.next()
            yield clock.timeout(draw_s(cold.provisioning, rng))
            if server.state == "gone":
                return
            if server.billed_start_s is None and self._billing.starts == "instance":
                server.billed_start_s = clock.now
            self.roster.machine_runs(server)
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
                self.roster.machine_runs(server)
            self._ready(server)

    def _stock_out(self, server: Server) -> bool:
        cold = self._cold
        if server.market == "spot" and not self.placement.has_spot(server.zone):
            cause = "no spot capacity"
        elif cold.stockout_probability and self._rng.random() < cold.stockout_probability:
            cause = "no capacity"
        else:
            return False
        self.roster.event("stock_out", cause, pool=server.pool, replica=server.name, zone=server.zone)
        return True

    def _ready(self, server: Server) -> None:
        now = self._clock.now
        if server.billed_start_s is None:
            server.billed_start_s = now
        server.enter("ready", now)
        server.ready_s = now
        self.roster.event("ready", "started", pool=server.pool, replica=server.name, after_s=now - server.requested_s)
        if server.doomed:
            server.state = "draining"
            return
        self.roster.became_ready(server)
