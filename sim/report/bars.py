"""Horizontal bars: shares of a bill, causes of a tail, a tornado. Same rules as ``sim.report.chart``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from sim.report.chart import WIDTH, picture
from sim.report.page import captioned
from sim.report.scale import Scale, extent, number

TOP = 12


@dataclass(frozen=True)
class Bar:
    """One bar; ``low`` and ``high`` in data units (a plain bar runs from 0 to ``high``)."""

    name: str
    high: float
    low: float = 0.0
    colour: int = 0
    text: str = ""


def bar_figure(title: str, bars: Sequence[Bar], *, description: str, unit: str = "", centre: float | None = None) -> Markup:
    """Horizontal bars, longest label on the left; ``centre`` draws the line that a tornado turns about."""
    low, high = extent(
        [edge for bar in bars for edge in (bar.low, bar.high)] + ([centre] if centre else []), zero=not centre
    )
    label_width, row = 150, 27
    height = TOP + row * len(bars) + 24
    x_of = Scale(low, high, label_width, WIDTH - 104)
    parts = []
    for index, bar in enumerate(bars):
        y = TOP + row * index
        left, right = sorted((x_of(bar.low), x_of(bar.high)))
        parts.append(
            f'<text class="tick" x="{label_width - 8}" y="{y + 16}" text-anchor="end">'
            f"{escape(_short(bar.name))}</text>"
            f'<rect class="bar c{bar.colour}" x="{left:.1f}" y="{y + 3}" height="19" '
            f'width="{max(right - left, 1):.1f}"/>'
            f'<text class="tick" x="{right + 6:.1f}" y="{y + 16}">{escape(bar.text or number(bar.high))}</text>'
        )
    if centre is not None:
        parts.append(f'<path class="limit" d="M{x_of(centre):.1f} {TOP - 4}V{TOP + row * len(bars)}"/>')
    if unit:
        parts.append(f'<text class="label" x="{label_width}" y="{height - 6}">{escape(unit)}</text>')
    return captioned(title, picture(title, description, height, parts))


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
