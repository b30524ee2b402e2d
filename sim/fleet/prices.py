"""Prices that move: the mean price factor of a bill, relative to the GPU preset's price of its market.

    factor = integral of price(t) / list price over the billed interval / its length
"""

from __future__ import annotations

import math
from itertools import pairwise

from sim.cost import usd_per_gpu_hour
from sim.fleet.server import Server
from sim.spec import Scenario
from sim.spec.timeline import PriceChange


class PriceHistory:
    """Spot price series and price changes of a scenario; 1.0 everywhere when there are none."""

    def __init__(self, scenario: Scenario) -> None:
        self._changes = [change for change in scenario.timeline if isinstance(change, PriceChange)]
        self._scenario = scenario
        self._pools = scenario.fleet.all_pools()

    def mean_factor(self, server: Server, start_s: float, stop_s: float) -> float:
        """Mean over the bill of ``server`` from ``start_s`` to ``stop_s``."""
        series, changes = self._of(server)
        if (not series and not changes) or stop_s <= start_s:
            return 1.0
        edges = {start_s, stop_s, *(time_s for time_s, _ in series)}
        for change in changes:
            edges |= {change.at_s, math.inf if change.until_s is None else change.until_s}
        times = sorted(edge for edge in edges if start_s <= edge <= stop_s)
        total = sum(self.factor(server, left) * (right - left) for left, right in pairwise(times))
        return total / (stop_s - start_s)

    def factor(self, server: Server, at_s: float) -> float:
        """At the moment ``at_s``."""
        series, changes = self._of(server)
        if not series and not changes:
            return 1.0
        factor = 1.0
        listed = usd_per_gpu_hour(server.gpu, server.market, self._scenario.cost) if series else 0.0
        known = [usd for time_s, usd in series if time_s <= at_s]
        if known and listed:
            factor = known[-1] / listed
        for change in changes:
            if change.at_s <= at_s and (change.until_s is None or at_s < change.until_s):
                factor *= change.factor
        return factor

    def _of(self, server: Server) -> tuple[tuple[tuple[float, float], ...], list[PriceChange]]:
        """Price series and price changes that concern ``server``."""
        spot = self._pools[server.pool].spot or self._scenario.spot
        series = spot.price_usd_per_gpu_hour if server.market == "spot" else ()
        return series, [change for change in self._changes if change.market in (None, server.market)]
