"""``SpotMarket``: when machines are taken, and with what notice.

The moment of the taking is drawn first (a life from the hazard's integral, a zone's end from its runs, a drop in a
recording), the notice is given ``notice_s`` before it, or at once where it comes sooner. So a longer notice changes what
is known, not what happens.

    life: integral of the hazard over the machine's age = an Exp(1) draw, stepped where a factor changes
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sim.engine.clock import REPLICA, Moment
from sim.fleet.durations import lognormal_of
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


class SpotMarket(LifeListener):
    """The market of one pool."""

    def __init__(self, pool: Pool, scenario: Scenario) -> None:
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
            rng = stream(self._seed, "spot", "life", server.pool, server.index)
            taken_s = self._life_end(hazard, self._clock.now, float(rng.standard_exponential()))
            if taken_s < _HORIZON_S:
                self._announce(server, taken_s)
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
            if factor > 0:
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
        held = [s for s in self._held(zone) if not s.doomed]
        excess = len(held) - self._capacity[zone]
        if excess > 0:
            for place in self._rng.permutation(len(held))[:excess]:
                self._announce(held[int(place)], at_s)

    def _held(self, zone: str) -> list[Server]:
        return [s for s in self._members.alive if s.zone == zone and s.market == "spot" and s.billed_start_s is not None]

    # -- notice and taking ---------------------------------------------------------------------------------------------

    def _announce(self, server: Server, taken_s: float) -> None:
        now = self._clock.now
        notice_s = max(now, taken_s - self._spec.notice_s)
        if self._spec.notice_s > 0:
            self._clock.at(notice_s, REPLICA, self._notice, (server, taken_s))
        else:
            server.doomed = server.doomed or taken_s <= now
        self._clock.at(max(taken_s, now), REPLICA, self._take, server)

    def _notice(self, moment: Moment) -> None:
        server, taken_s = moment.value
        if server not in self._members.alive or server.state == "dead":
            return
        left_s = taken_s - self._clock.now
        self._roster.event("spot_notice", "spot market", pool=self._pool.name, replica=server.name, left_s=left_s)
        if self._spec.on_notice == "ignore":
            return
        server.doomed = True
        if self._spec.on_notice == "hand_back":
            self._pool.going.lose(server, "spot handed back")
            return
        if self._spec.replace_on_notice:
            self._pool.heal("spot notice")
        if server.state == "ready":
            self._pool.going.retire(server, "spot notice")

    def _take(self, moment: Moment) -> None:
        server: Server = moment.value
        if server not in self._members.alive:
            return
        others = [s for s in self._held(server.zone) if s is not server and not s.doomed]
        self._pool.going.lose(server, "spot eviction")
        if self._spec.correlation and not isinstance(self._spec.hazard, ZoneRuns | SpotTrace):
            for other, u in zip(others, self._rng.random(len(others)), strict=True):
                if u < self._spec.correlation:
                    self._pool.going.lose(other, "spot eviction, same zone")

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
