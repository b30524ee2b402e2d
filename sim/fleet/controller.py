"""``Controller``: reads a pool every ``scrape_s`` and lets its autoscaler decide every ``interval_s``, on readings that
are at least ``staleness_s`` old."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sim.engine.clock import DEADLINE, Moment
from sim.fleet.autoscalers import make_autoscaler
from sim.fleet.pool import Pool
from sim.fleet.signals import FleetWindow, read
from sim.spec.autoscaler import Autoscaler, NoAutoscaler

if TYPE_CHECKING:
    from sim.fleet.fleet import Fleet


class Controller:
    """The control loop of one pool."""

    def __init__(self, fleet: Fleet, pool: Pool, spec: Autoscaler) -> None:
        assert not isinstance(spec, NoAutoscaler)
        self._fleet = fleet
        self._clock = fleet.clock
        self._pool = pool
        self._spec = spec
        self._policy = make_autoscaler(spec, pool.blueprint.kv_tokens)
        self._cause = f"autoscaler {spec.kind}"
        self._arrived = 0
        self._readings: deque[FleetWindow] = deque()
        self._clock.at(spec.scrape_s, DEADLINE, self._scrape)
        self._clock.at(spec.interval_s, DEADLINE, self._decide)

    def _scrape(self, _: Moment) -> None:
        now, spec, fleet = self._clock.now, self._spec, self._fleet
        arrived, queued = fleet.demand()
        rate_per_s = (arrived - self._arrived) / spec.scrape_s
        self._arrived = arrived
        mine = fleet.ready if len(fleet.pools) == 1 else [s for s in fleet.ready if s.pool == self._pool.name]
        self._readings.append(read(now, mine, len(self._pool.live()), rate_per_s, queued, 0))
        self._clock.at(now + spec.scrape_s, DEADLINE, self._scrape)

    def _decide(self, _: Moment) -> None:
        now, spec = self._clock.now, self._spec
        readings = self._readings
        while len(readings) > 1 and readings[1].time_s <= now - spec.staleness_s:
            readings.popleft()
        if readings and readings[0].time_s <= now - spec.staleness_s:
            # what is read may be old; how many replicas it asked for, a controller knows
            window = readings[0]._replace(time_s=now, replicas=len(self._pool.live()))
            wanted = self._policy.desired(window) + self._pool.spec.headroom_replicas
            if wanted != self._pool.wanted or wanted != window.replicas:
                self._pool.resize(wanted, self._cause)
        self._clock.at(now + spec.interval_s, DEADLINE, self._decide)
