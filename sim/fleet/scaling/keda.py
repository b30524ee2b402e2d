"""KEDA: an HPA between one and many, and a poll between none and one.

Every ``polling_s`` the trigger is looked at: active is a metric above ``activation``. A pool of none that is active gets one
replica; one that has not been active for longer than ``cooldown_s`` gets none. In between KEDA only feeds the HPA, whose
windows and rates hold, every ``interval_s``.

Source: kedacore/keda pkg/scaling/executor/scale_scaledobjects.go (``RequestScale``, ``scaleFromZero``, ``scaleToZero``: the
last activity plus the cooldown must lie before now); the HPA that it makes carries Kubernetes' default behaviour; read
2026-11-26. As there, requests that run do not keep a pool up when the trigger does not count them: it drains.
"""

from __future__ import annotations

import math

from sim.fleet.scaling.hpa import HpaV2Scaler
from sim.fleet.scaling.signals import FleetWindow
from sim.spec.autoscaler import HpaV2, Keda


class KedaScaler:
    """See the module's head."""

    def __init__(self, spec: Keda) -> None:
        self._spec = spec
        self._hpa = HpaV2Scaler(
            HpaV2(
                metric=spec.metric, target=spec.target, tokens_per_s=spec.tokens_per_s, tolerance=spec.tolerance,
                scale_down_window_s=spec.scale_down_window_s,
            )
        )  # fmt: skip
        self._poll_s = -math.inf
        self._active_s = -math.inf

    def desired(self, window: FleetWindow) -> int:
        """See ``Autoscaler``."""
        spec, now = self._spec, window.time_s
        if now - self._poll_s >= spec.polling_s:
            self._poll_s = now
            if window.total(spec.metric, spec.tokens_per_s) > spec.activation:
                self._active_s = now
                if not window.replicas:
                    return 1
            elif self._active_s == -math.inf:
                self._active_s = now  # the cooldown of a pool that was up at the start begins with the first look
            elif self._active_s + spec.cooldown_s < now:
                return 0
        return self._hpa.desired(window) if window.replicas else 0
