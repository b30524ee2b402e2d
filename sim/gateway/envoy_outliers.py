"""Envoy's outlier detection: consecutive failures, or a success rate far below the mean, eject a replica.

    eject while (ejected + 1) / replicas <= max_ejected_share, or nobody is out and always_eject_one
    out for min(base x multiplier, max); multiplier + 1 at an ejection, while multiplier x base < max + base
    success rate: ejected below mean - success_rate_stdevs x standard deviation, over the replicas with enough requests

At every multiple of ``interval_s``, in this order: whose time is over comes back (its failures forgotten), the success rates
of the interval are judged, and the multiplier of each replica that has been in for an interval falls by one. Failures are
what Envoy sees as 5xx: timeouts, resets, 503; a refusal (429) is an answer. Left out: gateway failures, local-origin errors
and failure percentage (all off by default), the jitter of the ejection time (0 by default).

Source: envoy ``source/common/upstream/outlier_detection_impl.cc`` (``ejectHost``, ``checkHostForUneject``,
``processSuccessRateEjections``, ``onIntervalTimer``); panic mode as ``load_balancer_impl.cc`` has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sim.fleet.endpoints import Endpoints
from sim.gateway.ejection import Ejection, T, Target
from sim.gateway.request import Failure
from sim.spec.gateway.retrying import EnvoyOutliers


class _Host:
    """What is known of one replica."""

    __slots__ = ("answered", "back_s", "ended", "failed", "multiplier", "name", "out_s")

    def __init__(self, name: str) -> None:
        self.name = name
        self.failed = 0
        """Consecutive failures."""
        self.ended = 0
        """Attempts that ended in this interval, and of these the answered."""
        self.answered = 0
        self.multiplier = 0
        self.out_s: float | None = None
        """When it was ejected; None = it is in."""
        self.back_s: float | None = None
        """When it last came back."""


class EnvoyDetector:
    """See the module's head. Lists that ``endpoints`` keeps are known by their changes; others by themselves."""

    def __init__(self, spec: EnvoyOutliers, endpoints: Endpoints | None = None) -> None:
        self._spec = spec
        self._endpoints = endpoints
        self._version = -1
        self._interval_s = spec.interval_s
        self._hosts: dict[int, _Host] = {}
        self._out = 0
        """How many of them are ejected."""
        self._members: Sequence[Target] = ()
        self._cluster: frozenset[int] = frozenset()
        self._usable: Sequence[Target] | None = None
        """Of the members; None: it is not known since somebody came, went, was ejected or came back."""
        self._tick = 1
        """Number of the next interval's end."""
        self._news: list[Ejection] = []

    def usable(self, targets: Sequence[T], now_s: float) -> Sequence[T]:
        """See ``OutlierDetector``; all of ``targets`` while too few are in."""
        self._advance(targets, now_s)
        if not self._out:
            return targets
        if self._usable is None:
            hosts = self._hosts
            usable = [target for target in targets if target.index not in hosts or hosts[target.index].out_s is None]
            self._usable = targets if len(usable) < self._spec.panic_share * len(targets) else usable
        known: Any = self._usable
        return known  # type: ignore[no-any-return]

    def sent(self, target: Target, now_s: float) -> None:
        """See ``OutlierDetector``."""

    def ended(self, target: Target, failure: Failure | None, targets: Sequence[Target], now_s: float) -> None:
        """See ``OutlierDetector``."""
        self._advance(targets, now_s)
        host = self._hosts.get(target.index)
        if host is None:
            host = self._hosts[target.index] = _Host(target.name)
        host.ended += 1
        if failure is None or failure.kind == "shed":
            host.answered += 1
            host.failed = 0
            return
        host.failed += 1
        if host.failed >= self._spec.consecutive_failures:
            if host.out_s is None:
                self._eject(host, now_s, "consecutive failures")
            host.failed = 0

    def called_off(self, target: Target) -> None:
        """See ``OutlierDetector``."""

    def news(self) -> list[Ejection]:
        """See ``OutlierDetector``."""
        news, self._news = self._news, []
        return news

    def _eject(self, host: _Host, now_s: float, cause: str) -> None:
        spec = self._spec
        out = sum(host.out_s is not None for index, host in self._hosts.items() if index in self._cluster)
        within = out + 1 <= spec.max_ejected_share * max(len(self._cluster), 1)
        if not within and not (spec.always_eject_one and not out):
            return
        host.out_s = now_s
        self._out += 1
        self._usable = None
        if host.multiplier * spec.base_ejection_s < spec.max_ejection_s + spec.base_ejection_s:
            host.multiplier += 1
        self._news.append(Ejection(host.name, self._time_out_s(host), cause))

    def _time_out_s(self, host: _Host) -> float:
        return min(self._spec.base_ejection_s * host.multiplier, self._spec.max_ejection_s)

    # -- interval by interval ------------------------------------------------------------------------------------------

    def _advance(self, targets: Sequence[Target], now_s: float) -> None:
        """Do what was due at the ends of intervals up to now, for the cluster as it was before."""
        interval_s = self._interval_s
        while self._tick * interval_s <= now_s:
            hosts = self._hosts.values()
            if not any(host.ended or (host.multiplier and host.out_s is None) for host in hosts):
                # Nothing happens before the first comes back.
                back_s = (host.out_s + self._time_out_s(host) for host in hosts if host.out_s is not None)
                next_tick = math.ceil(min(*back_s, now_s + interval_s, math.inf) / interval_s)
                if next_tick > self._tick:
                    self._tick = next_tick
                    continue
            self._end_interval(self._tick * interval_s)
            self._tick += 1
        version = self._endpoints.version if self._endpoints is not None else 0
        if self._members is not targets or version != self._version:
            self._members, self._version, self._usable = targets, version, None
            self._cluster = frozenset([target.index for target in targets])

    def _end_interval(self, at_s: float) -> None:
        for host in self._hosts.values():
            if host.out_s is not None and self._time_out_s(host) <= at_s - host.out_s:
                host.out_s, host.back_s, host.failed = None, at_s, 0
                self._out -= 1
                self._usable = None
        self._judge_success_rates(at_s)
        for host in self._hosts.values():
            host.ended = host.answered = 0
            if host.out_s is None and host.back_s is not None and at_s - host.back_s >= self._spec.interval_s:
                host.multiplier = max(0, host.multiplier - 1)

    def _judge_success_rates(self, at_s: float) -> None:
        spec = self._spec
        rates = {
            index: host.answered / host.ended
            for index, host in self._hosts.items()
            if host.out_s is None and index in self._cluster and host.ended >= spec.success_rate_min_requests
        }
        if len(rates) < spec.success_rate_min_replicas:
            return
        mean = math.fsum(rates.values()) / len(rates)
        deviation = math.sqrt(math.fsum((rate - mean) ** 2 for rate in rates.values()) / len(rates))
        for index, rate in rates.items():
            if rate < mean - spec.success_rate_stdevs * deviation:
                self._eject(self._hosts[index], at_s, "success rate")
