"""The fleet as it scaled, beside the perfect one and the static peak: what foresight would save, what scaling saves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.report.bars import Bar, bar_figure
from sim.report.page import charts, paragraph
from sim.report.scale import number


def fleet_sizes(summary: Mapping[str, Any]) -> str:
    """Three bars and a sentence; empty for a fleet that does not scale, or of several pools."""
    fleets = summary.get("insurance")
    if fleets is None or fleets["perfect_usd"] is None or not fleets["configured_usd"]:
        return ""
    perfect, configured, static = (fleets[f"{name}_usd"] for name in ("perfect", "configured", "static_peak"))
    bars = [
        Bar("perfect", perfect, colour=2, text=f"${number(perfect)}"),
        Bar("this fleet", configured, colour=0, text=f"${number(configured)}"),
        Bar("static peak", static, colour=7, text=f"${number(static)}"),
    ]
    difference = static - configured
    against = f"saves ${number(difference)} against" if difference >= 0 else f"costs ${number(-difference)} more than"
    words = (
        f"The perfect fleet knows the demand and starts at once: ${number(perfect)} of compute, "
        f"{number(fleets['perfect_replicas_mean'])} replicas on average, {fleets['perfect_replicas_max']} at most. This one "
        f"pays ${number(configured - perfect)} on top (capacity insurance: headroom, late starts and stops) and {against} "
        f"standing at the peak. A replica is taken to sustain "
        f"{number(fleets['requests_per_s_per_replica'])} mean requests a second."
    )
    chart = bar_figure("Compute of three fleets, US$", bars, description=words, unit="US$ of the run")
    return charts(chart) + paragraph(words, quiet=True)
