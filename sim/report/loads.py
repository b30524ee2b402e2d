"""Cost against offered load: what was simulated, and the whole replicas that the capacity curve asks for in between.

    staircase   n(load) = the fewest replicas that carry it (``sim.cost.capacity_curve``), each paid for whole

Only a search knows what replicas carry within the SLO: without one there is no staircase.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from sim.cost.capacity_curve import CapacityCurve
from sim.report.chart import Chart, Mark, Series, figure
from sim.report.page import NOTHING, charts, section
from sim.report.scale import number


class LoadPoint(NamedTuple):
    """One simulated candidate: requests offered a second, dollars, and whether the SLO held."""

    replicas: int
    requests_per_s: float
    usd_per_1m_output_tokens: float
    holds: bool


def load_section(
    summary: Mapping[str, Any], replicas: int, requests_per_s: float, points: Sequence[LoadPoint]
) -> Markup:
    """The chart for a fixed fleet that holds its SLO; empty where there is nothing to scale from."""
    usd = summary["cost"]["window"].get("usd_per_1m_output_tokens")
    held = [(point.replicas, point.requests_per_s) for point in points if point.holds]
    if not summary["slo"]["holds"] or not usd or replicas < 1 or not requests_per_s > 0 or not held:
        return NOTHING
    capacity = CapacityCurve.of(held, [(point.replicas, point.requests_per_s) for point in points if not point.holds])
    each = capacity.load(1)
    loads = np.geomspace(each / 8, requests_per_s * 2.5, 240).tolist()
    stairs = [usd * (capacity.replicas(load) / replicas) * (requests_per_s / load) for load in loads]
    series = [Series("the fewest whole replicas within the SLO", loads, stairs, colour=0)]
    single = {point for point in points if point.replicas == 1 and math.isfinite(point.usd_per_1m_output_tokens)}
    for words, holds, colour in (("held", True, 2), ("missed", False, 1)):
        own = sorted((p for p in single if p.holds == holds), key=lambda point: point.requests_per_s)
        rates, usd_of = [p.requests_per_s for p in own], [p.usd_per_1m_output_tokens for p in own]
        if own:
            series.append(Series(f"one replica, simulated: SLO {words}", rates, usd_of, kind="dots", colour=colour))
    chart = Chart(
        "Cost against offered load",
        "requests offered a second",
        "US$ per 1M output tokens",
        series,
        f"One replica carries {number(each)} requests a second within the SLO. Below that the cost rises as 1 / load, since "
        "one whole replica is paid for; above it falls with a step at every further replica.",
        x_log=True,
        y_log=True,
        marks=[Mark(requests_per_s, usd, f"this run: {replicas} replicas, ${number(usd)}")],
        height=300,
    )
    return section("Cost against load", charts(figure(chart)))
