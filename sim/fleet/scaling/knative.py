"""Knative's pod autoscaler (KPA): concurrency averaged over a stable and a panic window.

    desired = ceil(mean concurrency / (target x utilization)), between ready / max_scale_down_rate and
              ready x max_scale_up_rate

Panic begins when the panic window alone would ask for ``panic_threshold`` times what is ready, lasts until the stable
window has passed without that, takes the larger of the two windows' answers and never goes down. A revision that has more
than one pod when the autoscaler starts is in panic at first: nothing shrinks before a stable window of data.

Source: knative/serving pkg/autoscaler/scaling/autoscaler.go (``newAutoscaler``, ``Scale``), config/core/configmaps/
autoscaler.yaml for the numbers (60 s stable, 10 % of it = 6 s panic, 200 %, rates 1000 and 2, utilization 70 %, zero after a
grace of 30 s), read 2026-11-26. Left out: the activator's burst capacity, a scale-down delay (0 there).
"""

from __future__ import annotations

import math
from collections import deque

from sim.fleet.scaling.signals import FleetWindow
from sim.spec.autoscaler import KnativeKpa

_ROUNDING = 1e-9


class KnativeScaler:
    """See the module's head."""

    def __init__(self, spec: KnativeKpa) -> None:
        self._spec = spec
        self._seen: deque[tuple[float, float]] = deque()
        self._panic_s: float | None = None
        self._panic_size = 0
        self._started = False
        self._active_s = 0.0

    def desired(self, window: FleetWindow) -> int:
        """See ``Autoscaler``."""
        spec, now = self._spec, window.time_s
        if not self._started:
            self._started, self._active_s = True, now
            if window.ready > 1:
                self._panic_s, self._panic_size = now, window.ready
        seen = self._seen
        seen.append((now, window.requests_in_flight))
        while seen[0][0] <= now - spec.stable_window_s:
            seen.popleft()
        if any(n for _, n in seen):
            self._active_s = now
        return self._in_panic(window) or self._kept(self._stable(window), window)

    def _stable(self, window: FleetWindow) -> int:
        return self._within_rates(self._pods([n for _, n in self._seen]), window)

    def _in_panic(self, window: FleetWindow) -> int:
        """What panic asks for; 0 when there is none."""
        spec, now = self._spec, window.time_s
        panic_window_s = spec.stable_window_s * spec.panic_window_fraction
        asked = self._pods([n for time_s, n in self._seen if time_s > now - panic_window_s])
        if asked / max(window.ready, 1) >= spec.panic_threshold:
            self._panic_s = now
        elif self._panic_s is not None and self._panic_s + spec.stable_window_s < now:
            self._panic_s, self._panic_size = None, 0
        if self._panic_s is None:
            return 0
        self._panic_size = max(self._panic_size, self._within_rates(asked, window), self._stable(window))
        return self._panic_size

    def _pods(self, concurrency: list[float]) -> int:
        mean = sum(concurrency) / len(concurrency)
        return math.ceil(mean / (self._spec.target * self._spec.target_utilization) - _ROUNDING)

    def _within_rates(self, pods: int, window: FleetWindow) -> int:
        ready = max(window.ready, 1)
        most = math.ceil(self._spec.max_scale_up_rate * ready)
        least = math.floor(ready / self._spec.max_scale_down_rate)
        return min(max(pods, least), most)

    def _kept(self, stable: int, window: FleetWindow) -> int:
        """The last pod stays for the grace after the stable window has gone empty."""
        graced = window.time_s - self._active_s < self._spec.scale_to_zero_grace_s
        return max(stable, min(window.replicas, 1)) if graced else stable
