"""Plays the changes that happen to the fleet. Prices and spot hazards are known beforehand by who needs them; changes of
the arrivals are in the trace already; outages and escalation belong to the gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sim.engine.clock import REPLICA, Moment
from sim.errors import ConfigError
from sim.fleet.outages import Outages
from sim.fleet.pool import Pool
from sim.fleet.rollout import Rollout
from sim.fleet.roster import Roster
from sim.spec.timeline import Change, Deploy, PoolSize, ReplicaLoss, ZoneLoss


class Timeline:
    """Sets a timer for each change; all of them get a line in the records.

    Raises:
        ConfigError: a change names a pool or a zone that does not exist.
    """

    def __init__(
        self, roster: Roster, pools: Mapping[str, Pool], outages: Outages, changes: Sequence[Change]
    ) -> None:
        self._roster = roster
        self._pools = pools
        self._outages = outages
        zones = dict.fromkeys(zone for pool in pools.values() for zone in pool.placement.zones)
        for place, change in enumerate(changes):
            pool = getattr(change, "pool", None)
            if pool is not None and pool not in pools:
                raise ConfigError(f"timeline.{place}.pool: there is no pool {pool!r}; pools are {', '.join(pools)}")
            if isinstance(change, ZoneLoss) and change.zone not in zones:
                raise ConfigError(f"timeline.{place}.zone: no pool stands in {change.zone!r}; zones are {', '.join(zones)}")
            roster.clock.at(change.at_s, REPLICA, self._apply, change)

    def _apply(self, moment: Moment) -> None:
        change: Change = moment.value
        details = {"factor": change.factor} if hasattr(change, "factor") else {}
        self._roster.event("change", change.kind, **details)
        match change:
            case Deploy():
                pool = self._pools[change.pool]
                fresh = pool.coming.blueprint.next_version(change.model, change.engine)
                self._roster.clock.process(Rollout(pool, fresh, change).run())
            case ReplicaLoss():
                pool = self._pools[change.pool]
                up = [server for server in pool.members.alive if server.state == "ready"]
                for server in up[: change.count]:
                    pool.going.lose(server, "gpu failure", change.repair)
            case PoolSize():
                pool = self._pools[change.pool]
                pool.resize(change.replicas + pool.spec.headroom_replicas, "timeline")
            case ZoneLoss():
                self._outages.begin(change.zone, change.until_s, "timeline")
            case _:
                pass
