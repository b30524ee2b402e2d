"""``CertainMiss``: tells, while a run goes on, that it cannot meet its objective any more.

The q-quantile of n values by linear interpolation lies above a limit for certain when the value at index
``floor(q (n - 1))`` of the sorted values does, i.e. when more than ``n - 1 - floor(q (n - 1))`` values exceed it.
That number grows with n, so taking all requests offered for n can only be late, never wrong. The same holds for
requests that fail, time out or are shed against ``max_failed_fraction``. Targets of routes and tenants and of ITL are left
to the end of the run.
"""

from __future__ import annotations

import math

from sim.spec import Slo


class CertainMiss:
    """Counts the misses of each target; called once a finished request."""

    def __init__(self, slo: Slo, offered: int) -> None:
        self._slo = slo
        self._limits: list[tuple[int, float, int, str]] = []  # which latency, limit, misses allowed, name
        for name, limit in slo.targets().items():
            metric, quantile = name.split("_")[0], float("0." + name.split("_")[1][1:])
            if metric in _METRICS:
                allowed = offered - 1 - math.floor(quantile * (offered - 1))
                self._limits.append((_METRICS.index(metric), limit, allowed, name))
        self._missed = [0] * len(self._limits)
        self._failed = 0
        self._may_fail = slo.max_failed_fraction * offered

    def __call__(
        self, ttft_s: float, tpot_s: float, e2e_s: float, answered: bool = True, reason: str = "", rejected: bool = False
    ) -> str | None:
        """Take note of a finished request (NaN = undefined); the reason once a miss is certain, else None."""
        if not answered:
            if rejected and not self._slo.rejection_is_miss(reason):
                return None
            self._failed += 1
            return "max_failed_fraction" if self._failed > self._may_fail else None
        latencies = (ttft_s, tpot_s, e2e_s)
        for number, (metric, limit, allowed, name) in enumerate(self._limits):
            if latencies[metric] > limit:
                self._missed[number] += 1
                if self._missed[number] > allowed:
                    return name
        return None


_METRICS = ("ttft", "tpot", "e2e")
