"""``Placement``: market and zone of a pool's next server."""

from __future__ import annotations

import math

from sim.fleet.roster import Members, Roster
from sim.spec import Market, PoolSpec
from sim.spec.spot import SpotSpec

_ROUNDING = 1e-9


class ZoneStock:
    """Spot machines that each zone holds. A zone that is not in it has no limit."""

    def __init__(self) -> None:
        self.machines: dict[str, int] = {}

    def has_room(self, zone: str, held: int) -> bool:
        """Whether one more than ``held`` machines could be had in ``zone`` now."""
        return zone not in self.machines or held < self.machines[zone]


class Placement:
    """Servers are spread evenly over zones; in a spot pool the base share is on demand, and the rest is spot where there
    is some; a zone that is out is avoided."""

    def __init__(self, roster: Roster, members: Members, pool: PoolSpec, market: Market, spot: SpotSpec) -> None:
        self._roster = roster
        self._members = members
        self.market = market
        self.zones = pool.zones or (pool.zone,)
        self.spot = spot
        self.stock = ZoneStock()

    @property
    def on_demand_base(self) -> int:
        """Servers of a spot pool that stay on demand."""
        if self.market != "spot":
            return 0
        return math.ceil(self.spot.on_demand_share * self._members.wanted - _ROUNDING)

    def next(self) -> tuple[Market, str]:
        """Where the next server goes."""
        market, zones = self.market, tuple(zone for zone in self.zones if not self.dark(zone)) or self.zones
        if market == "spot":
            open_zones = tuple(zone for zone in zones if self.has_spot(zone))
            on_demand = sum(s.market == "on_demand" for s in self._members.live())
            if on_demand < self.on_demand_base or (not open_zones and self.spot.fallback == "on_demand"):
                market = "on_demand"
            elif open_zones:
                zones = open_zones
        if len(zones) == 1:
            return market, zones[0]
        return market, min(zones, key=lambda zone: sum(s.zone == zone for s in self._members.alive))

    def dark(self, zone: str) -> bool:
        """Whether ``zone`` is out."""
        return self._roster.dark_zones.get(zone, 0) > 0

    def has_spot(self, zone: str) -> bool:
        """Whether ``zone`` has a spot machine more for this pool."""
        return not self.dark(zone) and self.stock.has_room(zone, self._members.in_zone(zone))
