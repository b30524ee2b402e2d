"""``Coming``: how a pool's servers come up.

    requested -> provisioning -> image -> weights -> engine start -> ready
                                   restart -> weights -> engine start -> ready
                                               asleep -> waking       -> ready

A start is one SimPy process that reads like this line; a ready server needs none. A machine is provisioned once for all
replicas that share it, and the image is pulled once; a replica that comes later begins at the weights.

    weights: bytes of all GPUs over the machine's storage, shared with other loads of the moment (``sim.links``);
             once read, bytes of a GPU / page_cache_gib_per_s, every GPU for itself, where that is sooner
    engine start: engine_start; engine_restart, where that is less, once this engine has run on the machine
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import simpy

from sim.engine.traffic import Traffic
from sim.fleet.blueprint import Blueprint
from sim.fleet.durations import draw_s
from sim.fleet.factory import ServerFactory
from sim.fleet.machine import Machine, Machines
from sim.fleet.placement import Placement
from sim.fleet.roster import LifeListener
from sim.fleet.server import Server
from sim.links.transfers import Transfer
from sim.rng import stream
from sim.spec import Market, Scenario
from sim.units import GIB

Life = Generator[simpy.Event, Any, None]


class Coming(LifeListener):
    """Starts servers of ``blueprint``, which a deploy exchanges."""

    def __init__(
        self, factory: ServerFactory, placement: Placement, blueprint: Blueprint, traffic: Traffic, scenario: Scenario
    ) -> None:
        self.roster = factory.roster
        self.placement = placement
        self.blueprint = blueprint
        self._factory = factory
        self._clock = factory.roster.clock
        self._traffic = traffic
        self._cold = scenario.fleet.cold_start
        self._billing = scenario.fleet.billing
        self._gpu_budget = scenario.fleet.gpu_budget
        self._machines = Machines(self._clock, self._cold.weights_gib_per_s)
        self.refused = False
        """The GPU budget did not allow the server that was asked for last."""
        self._loads: dict[Server, Transfer] = {}
        self._rng = stream(scenario.seed, "fleet", "cold_start", blueprint.pool)

    def there_already(self, *, asleep: bool = False) -> None:
        """A server that is up when the run begins, and was loaded before."""
        machine = self._machine(*self.placement.next())
        machine.state = "up"
        machine.known |= {self.blueprint.weights_name, self.blueprint.engine_name}
        if not machine.pulled.triggered:
            machine.pulled.succeed()
        server = self._factory.build(self.blueprint, machine)
        if asleep:
            server.state = "asleep"
        else:
            self.roster.endpoints.join(server)
        self.roster.machine_runs(server)

    def launch(self, cause: str, where: tuple[Market, str] | None = None) -> Server | None:
        """Ask for one more server; None where the GPU budget does not allow it."""
        if not self._within_budget(cause):
            return None
        machine = self._machine(*(where or self.placement.next()))
        paid = machine.state == "up" and self._billing.starts == "instance"
        server = self._requested(machine, cause, paid=paid or self._billing.starts == "requested")
        server.enter("provisioning", self._clock.now)
        self._clock.process(self._come_up(server, self.blueprint))
        return server

    def restart(self, dead: Server, cause: str) -> None:
        """Another one comes up at once on the machine of ``dead``, which has just gone."""
        if self._within_budget(cause):
            self._machines.take_again(dead.machine, dead.gpus)
            server = self._requested(dead.machine, cause, paid=True)
            server.enter("weights", self._clock.now)
            self._clock.process(self._load_and_start(server, self.blueprint, restarted=True))

    def wake(self, server: Server) -> None:
        """``server``, asleep, is to take requests again."""
        server.enter("waking", self._clock.now)
        self._clock.process(self._wake(server))

    def gone(self, server: Server) -> None:
        """See ``LifeListener``: its GPUs are free, and what it was loading is loaded no further."""
        if server.pool == self.blueprint.pool:
            self._machines.release(server.machine, server.gpus, broken=server.broken)
            load = self._loads.pop(server, None)
            if load is not None:
                self._traffic.cancel(load)

    def has_room(self) -> bool:
        """Whether the GPU budget allows one more server."""
        return self._gpu_budget is None or self.roster.gpus() + self.blueprint.gpus <= self._gpu_budget

    def _within_budget(self, cause: str) -> bool:
        """Likewise; a refusal is noted, once until the next success."""
        room = self.has_room()
        if not room and not self.refused:
            self.roster.event("quota", cause, pool=self.blueprint.pool, gpus=self.blueprint.gpus)
        self.refused = not room
        return room

    def _machine(self, market: Market, zone: str) -> Machine:
        return self._machines.take(self.blueprint.gpu, self.blueprint.gpus, market, zone)

    def _requested(self, machine: Machine, cause: str, *, paid: bool) -> Server:
        server = self._factory.build(self.blueprint, machine)
        now = self._clock.now
        server.billed_start_s = now if paid else None
        server.requested_s, server.ready_s = now, math.nan
        self.roster.event(
            "requested", cause, pool=server.pool, replica=server.name, market=server.market, zone=server.zone
        )
        return server

    # -- the phases of a start -----------------------------------------------------------------------------------------

    def _come_up(self, server: Server, blueprint: Blueprint) -> Life:
        machine, clock = server.machine, self._clock
        if not server.starting:  # cancelled before it began
            return
        if machine.state == "asked for":
            machine.state = "coming"
            clock.process(self._provision(machine))
        if machine.state == "coming":
            yield machine.up
            if not server.starting:
                return
            if server.billed_start_s is None and self._billing.starts == "instance":
                server.billed_start_s = clock.now
        self.roster.machine_runs(server)
        if not machine.pulled.triggered:
            server.enter("image", clock.now)
            yield machine.pulled
        yield from self._load_and_start(server, blueprint)

    def _provision(self, machine: Machine) -> Life:
        """The machine comes up and pulls the image, unless all who wanted it have gone before."""
        clock, cold = self._clock, self._cold
        came = False
        while not came:
            while self._stock_out(machine):
                yield clock.timeout(cold.stockout_retry_s)
                if not machine.held_gpus:
                    return
                machine.market, machine.zone = self.placement.next()
            yield clock.timeout(draw_s(cold.provisioning, self._rng))
            came = not self.placement.dark(machine.zone)  # if its zone went out meanwhile it is asked for again
        if machine.held_gpus:
            machine.state = "up"
            machine.up.succeed()
            yield clock.timeout(draw_s(cold.image, self._rng))
            machine.pulled.succeed()

    def _stock_out(self, machine: Machine) -> bool:
        cold = self._cold
        if self.placement.dark(machine.zone):
            cause = "zone outage"
        elif machine.market == "spot" and not self.placement.has_spot(machine.zone):
            cause = "no spot capacity"
        elif cold.stockout_probability and self._rng.random() < cold.stockout_probability:
            cause = "no capacity"
        else:
            return False
        for server in self.roster.pools[self.blueprint.pool].alive:
            if server.machine is machine:
                self.roster.event("stock_out", cause, pool=server.pool, replica=server.name, zone=machine.zone)
        return True

    def _load_and_start(self, server: Server, blueprint: Blueprint, *, restarted: bool = False) -> Life:
        if not server.starting:
            return
        clock, machine = self._clock, server.machine
        start_s = self._engine_start_s(machine, blueprint)
        server.enter("weights", clock.now)
        yield from self._load(server, blueprint)
        if not server.starting:
            return
        machine.known.add(blueprint.weights_name)
        server.enter("engine_start", clock.now)
        yield clock.timeout(start_s)
        if not server.starting:
            return
        machine.known.add(blueprint.engine_name)
        if restarted:
            self.roster.machine_runs(server)
        self._ready(server)

    def _load(self, server: Server, blueprint: Blueprint) -> Life:
        machine = server.machine
        cached_s = blueprint.weights_bytes / blueprint.gpus / (self._cold.page_cache_gib_per_s * GIB)
        if blueprint.weights_name in machine.known:
            yield self._clock.timeout(min(cached_s, blueprint.weights_bytes / machine.storage.bytes_per_s))
            return
        load = self._loads[server] = self._traffic.carry(blueprint.weights_bytes, [machine.storage])
        yield load.owner
        self._loads.pop(server, None)

    def _engine_start_s(self, machine: Machine, blueprint: Blueprint) -> float:
        cold_s = draw_s(self._cold.engine_start, self._rng)
        if blueprint.engine_name not in machine.known:
            return cold_s
        return min(cold_s, draw_s(self._cold.engine_restart, self._rng))

    def _wake(self, server: Server) -> Life:
        yield self._clock.timeout(draw_s(self._cold.wake, self._rng))
        if server.state == "waking":
            self._ready(server)

    def _ready(self, server: Server) -> None:
        now = self._clock.now
        if server.billed_start_s is None:
            server.billed_start_s = now
        server.enter("ready", now)
        if math.isnan(server.ready_s):  # who wakes was ready before
            server.ready_s = now
        self.roster.event("ready", "started", pool=server.pool, replica=server.name, after_s=now - server.requested_s)
        if server.doomed:
            server.state = "draining"
            return
        self.roster.became_ready(server)
