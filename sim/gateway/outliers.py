"""Breakers: replicas that fail are left out for a while. Plain code; time is an argument.

Envoy's outlier detection (consecutive failures, ejection time growing with the number of ejections) and LiteLLM's
cooldown (share of failures within the running minute). A failure here is an attempt that timed out or was evicted.
"""

from __future__ import annotations

from typing import Protocol

from sim.spec.gateway.retrying import EnvoyOutliers, LitellmCooldown, Outliers


class OutlierDetector(Protocol):
    """Who is left out."""

    def ended(self, server: int, now_s: float, *, answered: bool, servers: int) -> float | None:
        """An attempt at ``server`` ended, ``servers`` are ready; seconds for which it is now left out, or None."""
        ...

    def out(self, now_s: float) -> set[int]:
        """Servers left out now."""
        ...


class EnvoyDetector:
    """Ejects after consecutive failures."""

    def __init__(self, spec: EnvoyOutliers) -> None:
        self._spec = spec
        self._failed: dict[int, int] = {}
        self._times: dict[int, int] = {}
        self._until_s: dict[int, float] = {}

    def ended(self, server: int, now_s: float, *, answered: bool, servers: int) -> float | None:
        """See ``OutlierDetector``."""
        spec = self._spec
        if answered:
            self._failed[server] = 0
            return None
        self._failed[server] = self._failed.get(server, 0) + 1
        allowed = max(1, int(spec.max_ejected_share * servers))
        if self._failed[server] < spec.consecutive_failures or len(self.out(now_s)) >= allowed:
            return None
        self._failed[server] = 0
        self._times[server] = self._times.get(server, 0) + 1
        ejected_s = min(spec.base_ejection_s * self._times[server], spec.max_ejection_s)
        self._until_s[server] = now_s + ejected_s
        return ejected_s

    def out(self, now_s: float) -> set[int]:
        """See ``OutlierDetector``."""
        return {server for server, until_s in self._until_s.items() if until_s > now_s}


class LitellmDetector:
    """Cools down when too large a share of the minute's requests failed."""

    def __init__(self, spec: LitellmCooldown) -> None:
        self._spec = spec
        self._counts: dict[int, tuple[int, int, int]] = {}
        self._until_s: dict[int, float] = {}

    def ended(self, server: int, now_s: float, *, answered: bool, servers: int) -> float | None:
        """See ``OutlierDetector``."""
        minute = int(now_s // 60)
        then, total, failed = self._counts.get(server, (minute, 0, 0))
        if then != minute:
            total = failed = 0
        total, failed = total + 1, failed + (not answered)
        self._counts[server] = (minute, total, failed)
        if answered or total < self._spec.min_requests or failed <= self._spec.failed_share * total:
            return None
        self._until_s[server] = now_s + self._spec.cooldown_s
        return self._spec.cooldown_s

    def out(self, now_s: float) -> set[int]:
        """See ``OutlierDetector``."""
        return {server for server, until_s in self._until_s.items() if until_s > now_s}


def make_outliers(spec: Outliers) -> OutlierDetector:
    """The detector that ``spec`` names."""
    match spec:
        case EnvoyOutliers():
            return EnvoyDetector(spec)
        case LitellmCooldown():
            return LitellmDetector(spec)
