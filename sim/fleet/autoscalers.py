"""Autoscalers: one small class each with one method, ``desired(window)``: how many replicas there should be.

Proportional ones follow HPA's rule (kubernetes.io, "Horizontal Pod Autoscaling", algorithm details):

    desired = ceil(sum of the metric / target), unless sum / (replicas x target) is within 1 +- tolerance

then the stabilisation windows: down only to the highest of the recommendations of the last ``scale_down_window_s``, up
only to the lowest of the last ``scale_up_window_s``.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

from sim.fleet.signals import FleetWindow
from sim.spec.autoscaler import (
    Autoscaler as AutoscalerSpec,
)
from sim.spec.autoscaler import (
    BacklogSeconds,
    HpaV2,
    Keda,
    KnativeKpa,
    KvOccupancy,
    Metric,
    NoAutoscaler,
    Qps,
    QueueLength,
    RequestsInFlight,
    TokensInFlight,
)


class Autoscaler(Protocol):
    """A scaling policy. The caller clips what it says to the pool's limits."""

    def desired(self, window: FleetWindow) -> int:
        """How many replicas there should be, starting ones included."""
        ...


class Stabilised:
    """Recommendations of the last while, and what may be done given them."""

    def __init__(self, up_s: float, down_s: float) -> None:
        self._up_s = up_s
        self._down_s = down_s
        self._past: deque[tuple[float, int]] = deque()

    def steady(self, now: float, wanted: int, current: int) -> int:
        """``wanted``, held back by the windows."""
        past = self._past
        past.append((now, wanted))
        while past[0][0] < now - max(self._up_s, self._down_s):
            past.popleft()
        highest = max(n for time_s, n in past if time_s >= now - self._down_s)
        lowest = min(n for time_s, n in past if time_s >= now - self._up_s)
        return max(min(current, highest), lowest)


def proportional(total: float, target: float, replicas: int, tolerance: float) -> int:
    """HPA's rule; see the module's head."""
    if replicas and abs(total / (replicas * target) - 1) <= tolerance:
        return replicas
    return math.ceil(total / target - 1e-9)


class ProportionalScaler:
    """A metric over its target: tokens or requests in flight, QPS, queue length, KV occupancy, seconds of backlog."""

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
        return self._windows.steady(window.time_s, wanted, window.replicas)


class HpaV2Scaler:
    """HPA v2: the proportional rule with windows, then rate policies over a period."""

    def __init__(self, spec: HpaV2) -> None:
        self._spec = spec
        self._rule = ProportionalScaler(
            spec.metric, spec.target, spec.tolerance, spec.scale_up_window_s, spec.scale_down_window_s, spec.tokens_per_s
        )
        self._sizes: deque[tuple[float, int]] = deque()

    def desired(self, window: FleetWindow) -> int:
        """See ``Autoscaler``."""
        spec, now = self._spec, window.time_s
        wanted = max(1, self._rule.desired(window))  # HPA does not scale to zero
        self._sizes.append((now, window.replicas))
        while len(self._sizes) > 1 and self._sizes[1][0] <= now - spec.period_s:
            self._sizes.popleft()
        before = self._sizes[0][1]  # size one period ago
        most = max(before + spec.up_pods, math.ceil(before * (1 + spec.up_fraction)))
        least = math.floor(before * (1 - spec.down_fraction))
        return max(min(wanted, max(most, window.replicas)), min(least, window.replicas))


class KedaScaler:
    """KEDA: an HPA while there is activity; zero after a cooldown without; one at the first sign of it."""

    def __init__(self, spec: Keda) -> None:
        self._spec = spec
        self._rule = ProportionalScaler(
            spec.metric, spec.target, spec.tolerance, 0.0, spec.scale_down_window_s, spec.tokens_per_s
        )
        self._active_s = 0.0

    def desired(self, window: FleetWindow) -> int:
        """See ``Autoscaler``."""
        spec = self._spec
        if window.total(spec.metric, spec.tokens_per_s) > spec.activation or window.requests_in_flight:
            self._active_s = window.time_s
        elif window.time_s - self._active_s >= spec.cooldown_s:
            return 0
        return max(1, self._rule.desired(window))


class KnativeScaler:
    """Knative's KPA: stable and panic windows over concurrency."""

    def __init__(self, spec: KnativeKpa) -> None:
        self._spec = spec
        self._seen: deque[tuple[float, float]] = deque()
        self._panic_s = -math.inf
        self._panic_size = 0
        self._active_s = 0.0

    def desired(self, window: FleetWindow) -> int:
        """See ``Autoscaler``."""
        spec, now = self._spec, window.time_s
        seen = self._seen
        seen.append((now, window.requests_in_flight))
        while seen[0][0] <= now - spec.stable_window_s:
            seen.popleft()
        panic_s = spec.stable_window_s * spec.panic_window_fraction
        recent = [n for time_s, n in seen if time_s > now - panic_s]
        per_replica = spec.target * spec.target_utilization
        ready = max(window.ready, 1)
        most = math.ceil(spec.max_scale_up_rate * ready)
        least = math.floor(window.ready / spec.max_scale_down_rate)
        stable = min(max(math.ceil(sum(n for _, n in seen) / len(seen) / per_replica), least), most)
        panic = min(max(math.ceil(sum(recent) / len(recent) / per_replica), least), most)
        if panic / ready >= spec.panic_threshold:
            self._panic_s = now
        if now - self._panic_s < spec.stable_window_s:
            self._panic_size = max(self._panic_size, panic, window.replicas)
            return self._panic_size
        self._panic_size = 0
        if any(n for _, n in seen):
            self._active_s = now
        elif now - self._active_s < spec.scale_to_zero_grace_s:
            return max(stable, min(window.replicas, 1))
        return stable


def make_autoscaler(spec: AutoscalerSpec, kv_tokens: int) -> Autoscaler:
    """The policy that ``spec`` names, for replicas whose KV cache holds ``kv_tokens``."""
    match spec:
        case HpaV2():
            return HpaV2Scaler(spec)
        case Keda():
            return KedaScaler(spec)
        case KnativeKpa():
            return KnativeScaler(spec)
        case TokensInFlight() | RequestsInFlight() | Qps() | QueueLength() | KvOccupancy() | BacklogSeconds():
            return ProportionalScaler(
                spec.kind,
                spec.target or kv_tokens / 2,
                spec.tolerance,
                spec.scale_up_window_s,
                spec.scale_down_window_s,
                spec.tokens_per_s if isinstance(spec, BacklogSeconds) else 1.0,
            )
        case NoAutoscaler():
            raise ValueError("`none` is the absence of an autoscaler")
