"""Outages of whole zones: every machine there dies, whatever it was bought as, and none comes up until the zone is back."""

from __future__ import annotations

from sim.engine.clock import REPLICA, Moment
from sim.fleet.going import Going
from sim.rng import stream
from sim.spec import FleetSpec
from sim.units import SECONDS_PER_HOUR


class Outages:
    """Puts zones out and brings them back."""

    def __init__(self, going: Going) -> None:
        self._going = going
        self._roster = going.roster
        self.clock = going.roster.clock

    def begin(self, zone: str, until_s: float | None, cause: str) -> None:
        """``zone`` is out from now on, until ``until_s`` (None = to the end)."""
        dark = self._roster.dark_zones
        dark[zone] = dark.get(zone, 0) + 1
        self._roster.event("zone_outage", cause, zone=zone)
        for pool in self._roster.pools.values():
            for server in [server for server in pool.alive if server.zone == zone]:
                if server.machine.state in ("up", "leaving"):
                    self._going.lose(server, "zone outage", taken=True)
        if until_s is None:
            self._roster.lost_zones.add(zone)
        else:
            self.clock.at(until_s, REPLICA, self._end, zone)

    def _end(self, moment: Moment) -> None:
        zone: str = moment.value
        self._roster.dark_zones[zone] -= 1
        self._roster.event("zone_back", "zone outage over", zone=zone)


class RandomOutages:
    """Zones that go out after exponential times, each for a fixed one; nothing where ``zone_mtbf_h`` is None."""

    def __init__(self, outages: Outages, spec: FleetSpec, seed: int) -> None:
        self._outages = outages
        self._clock = outages.clock
        self._mean_s = (spec.failures.zone_mtbf_h or 0.0) * SECONDS_PER_HOUR
        self._outage_s = spec.failures.zone_outage_s
        pools = spec.all_pools().values()
        zones = dict.fromkeys(zone for pool in pools for zone in pool.zones or (pool.zone,))
        self._rng = {zone: stream(seed, "fleet", "zone outage", zone) for zone in zones}
        if self._mean_s:
            for zone in zones:
                self._plan(zone)

    def _plan(self, zone: str) -> None:
        after_s = float(self._rng[zone].exponential(self._mean_s))
        self._clock.at(self._clock.now + after_s, REPLICA, self._begin, zone)

    def _begin(self, moment: Moment) -> None:
        zone: str = moment.value
        back_s = self._clock.now + self._outage_s
        self._outages.begin(zone, back_s, "zone failure")
        self._clock.at(back_s, REPLICA, lambda _: self._plan(zone))
