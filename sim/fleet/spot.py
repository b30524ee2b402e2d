"""``SpotMarket``: when machines are taken, and with what notice.

The moment of the taking is drawn first (a life from the hazard's integral, a zone's end from its runs, a drop in a
recording), the notice is given ``notice_s`` before it, or at once where it comes sooner. So a longer notice changes what
is known, not what happens. A machine is taken with all replicas on it. With ``correlation`` the end of one machine's life is
with that chance the end of each other one's of its zone, in whatever pool, at the same moment and with the notice of
its pool; those that go along take nobody with them.

    life: integral of the hazard over the machine's age = an Exp(1) draw, stepped where a factor changes
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sim.engine.clock import REPLICA, Moment
from sim.fleet.durations import lognormal_of
from sim.fleet.machine import Machine
from sim.fleet.pool import Pool
from sim.fleet.roster import LifeListener
from sim.fleet.server import Server
from sim.fleet.spot_traces import ZoneTrace, read_zone_trace
from sim.rng import stream
from sim.spec import Scenario
from sim.spec.spot import ExponentialHazard, SpotTrace, TimeOfDayHazard, WeibullHazard, ZoneRuns
from sim.spec.timeline import SpotHazardChange
from sim.units import SECONDS_PER_HOUR

_HORIZON_S = 10 * 365 * 86_400.0
_REBALANCE_S = 300.0
_UNLIMITED = 1_000_000
_NEVER = 1e-12
"""A hazard multiplied by less takes nobody."""
OWN_LIFE, SAME_ZONE = "spot market", "spot market, same zone"
"""Causes: a machine's own life has ended, or it goes with one that has."""


class SpotMarket(LifeListener):
    """The market of one pool; ``markets`` are those of all pools, and it enters itself there."""

    def __init__(self, pool: Pool, scenario: Scenario, markets: list[SpotMarket]) -> None:
        self._markets = markets
        markets.append(self)
        self._pool = pool
        self._members = pool.members
        self._roster = pool.roster
        self._clock = pool.roster.clock
        spec = self._spec = pool.placement.spot
        self._seed = scenario.seed
        self._changes = [change for change in scenario.timeline if isinstance(change, SpotHazardChange)]
        self._rng = stream(scenario.seed, "spot", pool.name)
        self._zones: dict[str, Iterator[tuple[float, int]]] = {}
        self._capacity = pool.placement.stock.machines
        hazard = spec.hazard
        self._takes = True
        self._lives: set[Machine] = set()
        """Machines whose end is drawn."""
        self._noticed: set[Machine] = set()
        """Machines that are known to be taken."""
        if isinstance(hazard, ZoneRuns):
            self._zones = {zone: self._runs(hazard, zone) for zone in pool.placement.zones}
        elif isinstance(hazard, SpotTrace):
            self._takes = hazard.meaning == "preemption"
            traces = {zone: read_zone_trace(path, hazard.gap_s) for zone, path in hazard.paths.items()}
            self._zones = {zone: _steps(trace, hazard.offset_s) for zone, trace in traces.items()}
        for zone, steps in self._zones.items():
            self._capacity[zone] = next(steps)[1]

    def start(self) -> None:
        """The zones begin to change, and on-demand stand-ins are looked after."""
        for zone in self._zones:
            self._plan_zone(zone)
            self._take_excess(zone, at_s=self._clock.now)
        if self._spec.fallback == "on_demand":
            self._clock.at(_REBALANCE_S, REPLICA, self._rebalance)

    # -- independent lives ---------------------------------------------------------------------------------------------

    def machine_runs(self, server: Server) -> None:
        """A spot machine of the pool runs from now on: when will it be taken?"""
        if server.pool != self._pool.name or server.market != "spot":
            return
        hazard = self._spec.hazard
        if isinstance(hazard, ExponentialHazard | WeibullHazard | TimeOfDayHazard):
            if server.machine in self._lives:  # shared with a replica that came before
                return
            self._lives.add(server.machine)
            rng = stream(self._seed, "spot", "life", server.pool, server.index)
            taken_s = self._life_end(hazard, self._clock.now, float(rng.standard_exponential()))
            if taken_s < _HORIZON_S:
                self._announce(server.machine, taken_s, OWN_LIFE)
        elif self._takes and server.zone in self._capacity:
            self._take_excess(server.zone, at_s=self._clock.now)

    def _life_end(
        self, hazard: ExponentialHazard | WeibullHazard | TimeOfDayHazard, born_s: float, wanted: float
    ) -> float:
        scale_h, shape = (
            (hazard.scale_h, hazard.shape) if isinstance(hazard, WeibullHazard) else (hazard.mean_life_h, 1.0)
        )
        scale_s = scale_h * SECONDS_PER_HOUR
        hours = hazard.multipliers if isinstance(hazard, TimeOfDayHazard) else (1.0,)
        edges = sorted({edge for c in self._changes for edge in (c.at_s, c.until_s) if edge is not None})
        now = born_s
        while now < _HORIZON_S:
            factor = hours[int(now // SECONDS_PER_HOUR) % len(hours)]
            for change in self._changes:
                if change.at_s <= now and (change.until_s is None or now < change.until_s):
                    factor *= change.factor
            until = next((edge for edge in edges if edge > now), _HORIZON_S)
            if len(hours) > 1:
                until = min(until, (now // SECONDS_PER_HOUR + 1) * SECONDS_PER_HOUR)
            spent = ((now - born_s) / scale_s) ** shape
            if factor > _NEVER:
                end = float(born_s + scale_s * (spent + wanted / factor) ** (1 / shape))
                if end <= until:
                    return end
                wanted -= factor * (((until - born_s) / scale_s) ** shape - spent)
            now = until
        return math.inf

    # -- zones ---------------------------------------------------------------------------------------------------------

    def _runs(self, hazard: ZoneRuns, zone: str) -> Iterator[tuple[float, int]]:
        rng = stream(self._seed, "spot", "zone", zone)
        up = lognormal_of(hazard.up_mean_h, hazard.up_median_h)
        down = lognormal_of(hazard.down_mean_h, hazard.down_median_h)
        is_up = bool(rng.random() < hazard.up_mean_h / (hazard.up_mean_h + hazard.down_mean_h))
        now = 0.0
        while True:
            yield now, _UNLIMITED if is_up else 0
            mu, sigma = up if is_up else down
            now += SECONDS_PER_HOUR * float(rng.lognormal(mu, sigma))
            is_up = not is_up

    def _plan_zone(self, zone: str) -> None:
        step = next(self._zones[zone], None)
        if step is not None:
            at_s, capacity = step
            warned_s = max(self._clock.now, at_s - self._spec.notice_s) if self._takes else at_s
            falls = capacity < self._capacity[zone]
            self._clock.at(warned_s if falls else at_s, REPLICA, self._on_zone, (zone, at_s, capacity))

    def _on_zone(self, moment: Moment) -> None:
        zone, at_s, capacity = moment.value
        self._capacity[zone] = capacity
        self._roster.event("spot_capacity", "zone", pool=self._pool.name, zone=zone, machines=min(capacity, _UNLIMITED))
        self._take_excess(zone, at_s)
        if at_s > self._clock.now:  # known early: the zone's next change is looked for once this one has happened
            self._clock.at(at_s, REPLICA, lambda _: self._plan_zone(zone))
        else:
            self._plan_zone(zone)

    def _take_excess(self, zone: str, at_s: float) -> None:
        if not self._takes or zone not in self._capacity:
            return
        held = [machine for machine in self._members.spot_machines(zone) if machine not in self._noticed]
        excess = len(held) - self._capacity[zone]
        if excess > 0:
            for place in self._rng.permutation(len(held))[:excess]:
                self._announce(held[int(place)], at_s, "spot zone")

    def _on(self, machine: Machine) -> list[Server]:
        return [server for server in self._members.alive if server.machine is machine and server.state != "dead"]

    # -- notice and taking ---------------------------------------------------------------------------------------------

    def _announce(self, machine: Machine, taken_s: float, cause: str) -> None:
        now = self._clock.now
        if self._spec.notice_s > 0:
            notice_s = max(now, taken_s - self._spec.notice_s)
            self._clock.at(notice_s, REPLICA, self._notice, (machine, taken_s, cause))
        elif taken_s <= now:
            self._noticed.add(machine)
        self._clock.at(max(taken_s, now), REPLICA, self._take, (machine, cause))

    def _notice(self, moment: Moment) -> None:
        machine, taken_s, cause = moment.value
        servers = self._on(machine)
        if not servers or machine in self._noticed:
            return
        self._noticed.add(machine)
        if cause == OWN_LIFE:
            self._take_along(machine, taken_s)
        for server in servers:
            left_s = taken_s - self._clock.now
            self._roster.event("spot_notice", cause, pool=self._pool.name, replica=server.name, left_s=left_s)
        if self._spec.on_notice == "ignore":
            return
        machine.state = "leaving"
        for server in servers:
            server.doomed = True
            if self._spec.on_notice == "hand_back":
                self._pool.going.lose(server, "spot handed back", announced=True)
        if self._spec.on_notice == "drain":
            if self._spec.replace_on_notice:
                self._pool.heal("spot notice")
            for server in servers:
                if server.state == "ready":
                    self._pool.going.retire(server, "spot notice")

    def _take(self, moment: Moment) -> None:
        machine, cause = moment.value
        servers = self._on(machine)
        if not servers:
            return
        warned = self._spec.notice_s > 0
        if not warned and cause == OWN_LIFE:
            self._take_along(machine, self._clock.now)
        for server in servers:
            lost = "spot eviction" if cause != SAME_ZONE else "spot eviction, same zone"
            self._pool.going.lose(server, lost, announced=warned and self._spec.on_notice != "ignore", taken=True)

    def _take_along(self, machine: Machine, taken_s: float) -> None:
        """Machines of the same zone go with ``machine``, whatever pool they are in, each with its own pool's notice."""
        if not self._spec.correlation:
            return
        for market in self._markets:
            others = market._takeable(machine)
            chances = self._rng.random(len(others))
            for one, u in zip(others, chances, strict=True):
                if u < self._spec.correlation:
                    market._announce(one, taken_s, SAME_ZONE)

    def _takeable(self, machine: Machine) -> list[Machine]:
        if self._spec.hazard is None or not self._takes:
            return []
        held = self._members.spot_machines(machine.zone)
        return [one for one in held if one is not machine and one not in self._noticed]

    def _rebalance(self, _: Moment) -> None:
        """On-demand stand-ins give way once spot has capacity again: first the new machine, then the old one goes."""
        live, placement = self._members.live(), self._pool.placement
        stand_ins = sum(s.market == "on_demand" for s in live) - placement.on_demand_base
        coming = sum(s.starting and s.market == "spot" for s in live)
        for zone in placement.zones:
            if stand_ins > coming and placement.has_spot(zone):
                self._pool.succeed("spot is back", ("spot", zone))
                coming += 1
        self._clock.at(self._clock.now + _REBALANCE_S, REPLICA, self._rebalance)


def _steps(trace: ZoneTrace, offset_s: float) -> Iterator[tuple[float, int]]:
    """``(time_s, machines)`` from time 0 of the run on, repeated from the recording's start when it ends."""
    times, counts, length_s = trace
    start = int(np.searchsorted(times, offset_s % length_s, side="right")) - 1
    yield 0.0, int(counts[start])
    base_s = -(offset_s % length_s)
    place = start + 1
    while True:
        if place == len(times):
            place, base_s = 0, base_s + length_s
        yield base_s + float(times[place]), int(counts[place])
        place += 1
