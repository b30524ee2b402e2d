"""``Controller``: reads a pool every ``scrape_s`` and lets its autoscaler decide every ``interval_s``, on readings that
are at least ``staleness_s`` old."""

from __future__ import annotations

from collections import deque

from sim.engine.clock import DEADLINE, Moment
from sim.fleet.autoscalers import make_autoscaler
from sim.fleet.pool import Pool
from sim.fleet.signals import FleetWindow, read
from sim.spec.autoscaler import Autoscaler, NoAutoscaler


class Controller:
    """The control loop of one pool."""

    def __init__(self, pool: Pool, spec: Autoscaler) -> None:
        assert not isinstance(spec, NoAutoscaler)
        self._pool = pool
        self._members = pool.members
        self._clock = pool.roster.clock
        self._spec = spec
        self._policy = make_autoscaler(spec, pool.coming.blueprint.kv_tokens)
        self._cause = f"autoscaler {spec.kind}"
        self._demand = pool.roster.endpoints.demand[pool.members.index]
        self._arrived = 0.0
        self._readings: deque[FleetWindow] = deque()
        self._clock.at(spec.scrape_s, DEADLINE, self._scrape)
        self._clock.at(spec.interval_s, DEADLINE, self._decide)

    def _scrape(self, _: Moment) -> None:
        now, spec, members, demand = self._clock.now, self._spec, self._members, self._demand
        arrived = members.attempts() + demand.waited
        rate_per_s = max(0.0, arrived - self._arrived) / spec.scrape_s
        self._arrived = arrived
        self._readings.append(read(now, members.ready, len(members.live()), rate_per_s, demand))
        self._clock.at(now + spec.scrape_s, DEADLINE, self._scrape)

    def _decide(self, _: Moment) -> None:
        now, spec, members = self._clock.now, self._spec, self._members
        readings = self._readings
        while len(readings) > 1 and readings[1].time_s <= now - spec.staleness_s:
            readings.popleft()
        if readings and readings[0].time_s <= now - spec.staleness_s:
            # what is read may be old; how many replicas it asked for, a controller knows
            window = readings[0]._replace(time_s=now, replicas=len(members.live()))
            wanted = self._policy.desired(window) + self._pool.spec.headroom_replicas
            if wanted != members.wanted or wanted != window.replicas:
                self._pool.resize(wanted, self._cause)
        self._clock.at(now + spec.interval_s, DEADLINE, self._decide)
