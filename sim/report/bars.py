"""Horizontal bars: shares of a bill, causes of a tail, a tornado. Same rules as ``sim.report.chart``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sim.report.page import captioned
from sim.report.places import LETTER
from sim.report.scale import Scale, extent, number
from sim.report.shapes import WIDTH, Shape, path, picture, rect, text

TOP, _ROW, _NAMES = 12, 27, 178
"""Where the first bar begins, the height of a row, the width of the names."""


@dataclass(frozen=True)
class Bar:
    """One bar; ``low`` and ``high`` in data units (a plain bar runs from 0 to ``high``)."""

    name: str
    high: float
    low: float = 0.0
    colour: int = 0
    text: str = ""

    def words(self) -> str:
        """What stands beside it."""
        return self.text or number(self.high)


def bar_figure(title: str, bars: Sequence[Bar], *, description: str, unit: str = "", centre: float | None = None) -> Markup:
    """Horizontal bars, names on the left; ``centre`` draws the line that a tornado turns about."""
    edges = [edge for bar in bars for edge in (bar.low, bar.high)]
    low, high = extent(edges if centre is None else [*edges, centre], zero=centre is None)
    bottom = TOP + _ROW * len(bars)
    widest = max((len(bar.words()) for bar in bars), default=0)
    x_of = Scale(low, high, _NAMES, max(WIDTH - 10 - LETTER * widest, _NAMES + 80))
    shapes: list[Shape] = []
    for index, bar in enumerate(bars):
        y = TOP + _ROW * index
        left, right = sorted((x_of(bar.low), x_of(bar.high)))
        shapes += [
            text("tick", _NAMES - 8, y + 16, _short(bar.name), "end"),
            rect(f"bar c{bar.colour}", left, y + 3, right - left, 19),
        ]
        if centre is None:
            shapes.append(text("tick", right + 6, y + 16, bar.words()))
        else:  # in a column of their own, clear of the line
            shapes.append(text("tick", WIDTH - 4, y + 16, bar.words(), "end"))
    if centre is not None:
        shapes.append(path("limit", f"M{x_of(centre):.1f} {TOP - 4}V{bottom}"))
    if unit:
        shapes.append(text("label", _NAMES, bottom + 18, unit))
    return captioned(title, picture(title, description, bottom + 24, shapes))


def _short(name: str, most: int = 21) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
