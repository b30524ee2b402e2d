"""Plays the changes that happen to the fleet. Prices and spot hazards are known beforehand by who needs them; changes of
the arrivals are in the trace already; outages and escalation belong to the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.engine.clock import REPLICA, Moment
from sim.errors import ConfigError
from sim.fleet.blueprint import Blueprint
from sim.spec.timeline import Change, Deploy, PoolSize, ReplicaLoss

if TYPE_CHECKING:
    from sim.fleet.fleet import Fleet


def play(fleet: Fleet, timeline: Sequence[Change]) -> None:
    """Set a timer for each change; all of them get a line in the records.

    Raises:
        ConfigError: a change names a pool that does not exist.
    """
    for place, change in enumerate(timeline):
        pool = getattr(change, "pool", None)
        if pool is not None and pool not in fleet.pools:
            raise ConfigError(f"timeline.{place}.pool: there is no pool {pool!r}; pools are {', '.join(fleet.pools)}")
        fleet.clock.at(change.at_s, REPLICA, lambda moment: _apply(fleet, moment), change)


def _apply(fleet: Fleet, moment: Moment) -> None:
    change: Change = moment.value
    details = {"factor": change.factor} if hasattr(change, "factor") else {}
    fleet.event("change", change.kind, **details)
    match change:
        case Deploy():
            pool = fleet.pools[change.pool]
            old = pool.blueprint
            fresh = Blueprint(
                old.pool, old.pool_index, change.model or old.model, old.gpu, change.engine or old.stated, old.version + 1
            )
            fleet.clock.process(pool.deploy(fresh, change.max_surge))
        case ReplicaLoss():
            pool = fleet.pools[change.pool]
            up = [server for server in pool.alive if server.state == "ready"]
            for server in up[: change.count]:
                pool.lose(server, "gpu failure", change.repair, fleet.spec.failures.detect_s)
        case PoolSize():
            fleet.pools[change.pool].resize(change.replicas, "timeline")
        case _:
            pass
