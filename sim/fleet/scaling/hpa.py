"""The Kubernetes HorizontalPodAutoscaler: a metric over its target, tolerance, windows, rates.

    desired = ceil(sum of the metric / target), unless sum / (replicas x target) is within 1 +- tolerance

then the stabilisation windows: down only to the highest of the recommendations of the last ``scale_down_window_s``, up
only to the lowest of the last ``scale_up_window_s``. The size at the first look is the first recommendation, so a warm
fleet is not cut before a whole window has said so. Then the rates: within a period the size may grow by the larger of so
many pods and such a part of what it was at the period's start, and shrink by such a part.

A recommendation or an event that is exactly a window or a period old is over (``timestamp.After(cutoff)``).

Source: kubernetes/kubernetes pkg/controller/podautoscaler/horizontal.go (``recordInitialRecommendation``,
``stabilizeRecommendationWithBehaviors``, ``calculateScaleUpLimitWithScalingRules``,
``calculateScaleDownLimitWithBehaviors``, ``getReplicasChangePerPeriod``) and replica_calculator.go
(``GetExternalPerPodMetricReplicas``), read 2026-11-26. Left out: pods that are not ready in a per-pod metric's mean, several
metrics, the ``Min`` and ``Disabled`` policies.
"""

from __future__ import annotations

import math
from collections import deque

from sim.fleet.scaling.signals import FleetWindow
from sim.spec.autoscaler import HpaV2, Metric

_ROUNDING = 1e-9


class Stabilised:
    """Recommendations of the last while, and what may be done given them."""

    def __init__(self, up_s: float, down_s: float) -> None:
        self._up_s = up_s
        self._down_s = down_s
        self._past: deque[tuple[float, int]] = deque()

    def steady(self, now: float, wanted: int, current: int) -> int:
        """``wanted``, held back by the windows."""
        past = self._past
        if not past:
            past.append((now, current))
        while past and past[0][0] <= now - max(self._up_s, self._down_s):
            past.popleft()
        highest = max((n for time_s, n in past if time_s > now - self._down_s), default=wanted)
        lowest = min((n for time_s, n in past if time_s > now - self._up_s), default=wanted)
        past.append((now, wanted))
        return max(min(current, max(highest, wanted)), min(lowest, wanted))


def proportional(total: float, target: float, replicas: int, tolerance: float) -> int:
    """HPA's rule; see the module's head."""
    if replicas and 1 - tolerance <= total / (replicas * target) <= 1 + tolerance:
        return replicas
    return math.ceil(total / target - _ROUNDING)


class ProportionalScaler:
    """A metric over its target with tolerance and windows, and no rates: tokens or requests in flight, QPS, queue length, KV
    occupancy, seconds of backlog. While something waits there is at least one replica, whatever the metric says."""

    def __init__(
        self, metric: Metric, target: float, tolerance: float, up_s: float, down_s: float, tokens_per_s: float = 1.0
    ) -> None:
        self._metric = metric
        self._target = target
        self._tolerance = tolerance
        self._tokens_per_s = tokens_per_s
        self._windows = Stabilised(up_s, down_s)

    def desired(self, window: FleetWindow) -> int:
        """See ``Autoscaler``."""
        total = window.total(self._metric, self._tokens_per_s)
        wanted = proportional(total, self._target, window.replicas, self._tolerance)
        if window.waiting > 0:
            wanted = max(wanted, 1)
        return self._windows.steady(window.time_s, wanted, window.replicas)


class HpaV2Scaler:
    """HPA v2: the proportional rule with windows, then rates. It never scales to zero."""

    def __init__(self, spec: HpaV2) -> None:
        self._spec = spec
        self._rule = ProportionalScaler(
            spec.metric, spec.target, spec.tolerance, spec.scale_up_window_s, spec.scale_down_window_s, spec.tokens_per_s
        )
        self._changes: deque[tuple[float, int]] = deque()
        """When it changed the size, and by how many."""

    def desired(self, window: FleetWindow) -> int:
        """See ``Autoscaler``."""
        spec, now, current = self._spec, window.time_s, window.replicas
        wanted = max(1, self._rule.desired(window))
        changes = self._changes
        while changes and changes[0][0] <= now - spec.period_s:
            changes.popleft()
        before = current - sum(change for _, change in changes)
        if wanted > current:
            most = max(before + spec.up_pods, math.ceil(before * (1 + spec.up_fraction) - _ROUNDING))
            wanted = min(wanted, max(most, current))
        elif wanted < current:
            least = math.floor(before * (1 - spec.down_fraction) + _ROUNDING)
            wanted = max(wanted, min(least, current))
        if wanted != current:
            changes.append((now, wanted - current))
        return wanted
