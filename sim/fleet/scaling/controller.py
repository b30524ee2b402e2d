"""``Controller``: reads a pool every ``scrape_s`` and lets its autoscaler decide every ``interval_s``, on readings that
are at least ``staleness_s`` old."""

from __future__ import annotations

from collections import deque

import numpy as np

from sim.engine.clock import DEADLINE, Moment
from sim.errors import ConfigError
from sim.fleet.pool import Pool
from sim.fleet.scaling.autoscalers import Autoscaler
from sim.fleet.scaling.observations import Observations
from sim.fleet.scaling.signals import FleetWindow, read
from sim.spec.autoscaler import Signals


class Controller:
    """The control loop of one pool: ``policy`` decides, ``spec`` says how often and on what."""

    def __init__(self, pool: Pool, policy: Autoscaler, spec: Signals, observations: Observations) -> None:
        self._pool = pool
        self._members = pool.members
        self._clock = pool.roster.clock
        self._policy = policy
        self._spec = spec
        self._observations = observations
        self._cause = f"autoscaler {spec.kind}"
        self._demand = pool.roster.endpoints.demand[pool.members.index]
        self._arrived = 0.0
        self._readings: deque[FleetWindow] = deque()
        self._clock.at(spec.scrape_s, DEADLINE, self._scrape)
        self._clock.at(spec.interval_s, DEADLINE, self._decide)

    def _scrape(self, _: Moment) -> None:
        now, members, demand = self._clock.now, self._members, self._demand
        arrived = members.attempts() + demand.waited
        rate_per_s = max(0.0, arrived - self._arrived) / self._spec.scrape_s
        self._arrived = arrived
        kv_tokens, latencies = self._pool.coming.blueprint.kv_tokens, self._observations.take(members.index)
        self._readings.append(read(now, members.up(), 0, kv_tokens, demand, rate_per_s, latencies))
        self._clock.at(now + self._spec.scrape_s, DEADLINE, self._scrape)

    def _decide(self, _: Moment) -> None:
        now, spec, members = self._clock.now, self._spec, self._members
        readings = self._readings
        while len(readings) > 1 and readings[1].time_s <= now - spec.staleness_s:
            readings.popleft()
        if readings and readings[0].time_s <= now - spec.staleness_s:
            headroom = self._pool.spec.headroom_replicas
            # what is read may be old; how many replicas it asked for, a controller knows
            window = readings[0]._replace(time_s=now, replicas=max(0, members.wanted - headroom))
            wanted = self._asked(window) + headroom
            if wanted != members.wanted or len(members.live()) != members.wanted:
                self._pool.resize(wanted, self._cause)
        self._clock.at(now + spec.interval_s, DEADLINE, self._decide)

    def _asked(self, window: FleetWindow) -> int:
        wanted = self._policy.desired(window)
        if isinstance(wanted, bool) or not isinstance(wanted, int | np.integer) or wanted < 0:
            raise ConfigError(f"{self._cause} must ask for a whole number of replicas, at least 0, but got {wanted!r}")
        return int(wanted)
