"""The fleet as it scaled, beside the perfect one and the static peak: what foresight would save, what scaling saves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from sim.report.bars import Bar, bar_figure
from sim.report.page import NOTHING, charts, paragraph
from sim.report.scale import number, usd


class FleetSizes(NamedTuple):
    """US$ of GPUs a month of three fleets; NaN where there is no such fleet."""

    perfect: float
    configured: float
    static_peak: float


def monthly_fleets(summary: Mapping[str, Any]) -> FleetSizes | None:
    """The three fleets of ``summary["insurance"]`` as months; None where there is no fleet or nothing to compare."""
    fleets, window = summary.get("insurance"), summary["cost"]["window"]
    if fleets is None or fleets["perfect_usd"] is None or not fleets["configured_usd"] or not window.get("total_usd"):
        return None
    to_month = window["usd_per_month"] / window["total_usd"]
    dollars = (fleets[f"{name}_usd"] for name in ("perfect", "configured", "static_peak"))
    return FleetSizes(*(math.nan if usd is None else usd * to_month for usd in dollars))


def fleet_sizes(summary: Mapping[str, Any]) -> Markup:
    """Bars and a sentence; empty where there is nothing to compare."""
    fleets = monthly_fleets(summary)
    if fleets is None:
        return NOTHING
    bars = [
        Bar("perfect", fleets.perfect, colour=2, text=usd(fleets.perfect)),
        Bar("this fleet", fleets.configured, colour=0, text=usd(fleets.configured)),
    ]
    words = (
        f"The perfect fleet knows the demand and starts at once: {usd(fleets.perfect)} of GPUs a month. This one pays "
        f"{usd(fleets.configured - fleets.perfect)} on top (capacity insurance: headroom, idle time, late starts and stops)"
    )
    if math.isfinite(fleets.static_peak):
        bars.append(Bar("static peak", fleets.static_peak, colour=7, text=usd(fleets.static_peak)))
        difference = fleets.static_peak - fleets.configured
        against = "saves" if difference >= 0 else "costs"
        words += (
            f" and {against} {usd(abs(difference))} {'against' if difference >= 0 else 'more than'} standing at the peak "
            f"that the closed form asks for ({number(summary['insurance']['requests_per_s_per_replica'])} mean requests a "
            "second for a replica)"
        )
    chart = bar_figure("GPUs of these fleets, US$ a month", bars, description=f"{words}.", unit="US$ a month")
    return charts(chart) + paragraph(f"{words}.")
