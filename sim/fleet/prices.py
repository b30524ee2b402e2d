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
        pool = self._pools[server.pool]
        series = (pool.spot or self._scenario.spot).price_usd_per_gpu_hour if server.market == "spot" else ()
        changes = [change for change in self._changes if change.market in (None, server.market)]
        if (not series and not changes) or stop_s <= start_s:
            return 1.0
        listed = usd_per_gpu_hour(server.gpu, server.market, self._scenario.cost)
        edges = {start_s, stop_s, *(time_s for time_s, _ in series)}
        for change in changes:
            edges |= {change.at_s, math.inf if change.until_s is None else change.until_s}
        times = sorted(edge for edge in edges if start_s <= edge <= stop_s)
        total = 0.0
        for left, right in pairwise(times):
            factor = 1.0
            known = [usd for time_s, usd in series if time_s <= left]
            if known and listed:
                factor = known[-1] / listed
            for change in changes:
                if change.at_s <= left and (change.until_s is None or left < change.until_s):
                    factor *= change.factor
            total += factor * (right - left)
        return total / (stop_s - start_s)
