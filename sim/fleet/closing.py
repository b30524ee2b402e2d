"""``Closing``: notices a pool that has no server and will never have one again, so that nobody waits for it.

A pool is over when it has no server (starting, sleeping and dead ones under repair count as such), no autoscaler looks after
it, and nothing on the timeline will give it another size; and, whoever looks after it, once all its zones are out for good:
machines that are asked for there will never come. A server that comes after all (the budget of another pool is
free) opens it again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sim.engine.clock import DEADLINE, Moment
from sim.fleet.pool import Pool
from sim.fleet.roster import LifeListener, Roster
from sim.fleet.server import Server
from sim.spec.timeline import Change, PoolSize, ZoneLoss


class Closing(LifeListener):
    """Watches ``pools``; those that are ``scaled`` are over only with their zones."""

    def __init__(
        self, roster: Roster, pools: Mapping[str, Pool], scaled: Collection[str], changes: Sequence[Change]
    ) -> None:
        self._roster = roster
        self._pools = pools
        self._scaled = scaled
        self._clock = roster.clock
        self._over: set[str] = set()
        self._last_change_s: dict[str, float] = {}
        for change in changes:
            if isinstance(change, PoolSize):
                self._last_change_s[change.pool] = max(change.at_s, self._last_change_s.get(change.pool, 0.0))
            elif isinstance(change, ZoneLoss) and change.until_s is None:
                for pool in pools:
                    self._look_at(change.at_s, pool)
        for pool in pools:
            if pool in self._last_change_s or not roster.pools[pool].alive:
                self._look_at(self._last_change_s.get(pool, 0.0), pool)

    def became_ready(self, server: Server) -> None:
        """See ``LifeListener``."""
        self._over.discard(server.pool)

    def gone(self, server: Server) -> None:
        """See ``LifeListener``."""
        self._look_at(self._clock.now, server.pool)

    def _look_at(self, at_s: float, pool: str) -> None:
        """Once what happens at that moment has happened."""
        self._clock.at(at_s, DEADLINE, self._look, pool)

    def _look(self, moment: Moment) -> None:
        pool: str = moment.value
        if pool not in self._over and (self._lost(pool) or self._empty(pool)):
            self._over.add(pool)
            self._roster.event("pool_over", "no server, and none will come", pool=pool)
            self._roster.endpoints.close(pool)

    def _empty(self, pool: str) -> bool:
        changes_later = self._last_change_s.get(pool, -1.0) > self._clock.now
        return pool not in self._scaled and not self._roster.pools[pool].alive and not changes_later

    def _lost(self, pool: str) -> bool:
        zones = self._pools[pool].placement.zones
        waiting = all(server.state == "provisioning" for server in self._roster.pools[pool].alive)
        return waiting and self._roster.lost_zones.issuperset(zones)
