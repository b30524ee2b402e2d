"""Charts as inline SVG: lines, steps, dots and horizontal bars, drawn by hand so that the page needs nothing else.

Colours are the classes ``c0`` to ``c7`` (Okabe and Ito's palette, which colour-blind people can tell apart; the page's
style sheet holds them for light and dark). Colour never stands alone: every series also has its own dash or marker and
a label. Each chart is a ``figure`` with a text alternative and its numbers in a table that can be opened.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

from markupsafe import Markup

from sim.report.page import part
from sim.report.scale import Scale, extent, log_ticks, nice_ticks, number, tick_label

WIDTH = 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 44
_DASHES = ("", "7 4", "2 4", "10 3 2 3", "5 2", "1 3", "12 4", "4 4 1 4")


@dataclass(frozen=True)
class Series:
    """Points of one name. ``x`` and ``y`` are equally long; a NaN in ``y`` interrupts the line."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: Literal["line", "step", "dots"] = "line"
    colour: int = 0
    labels: Sequence[str] = ()
    """Text beside each dot."""


@dataclass(frozen=True)
class Mark:
    """A point that the reader must not miss: ringed, with words."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Chart:
    """What to draw; ``svg`` and ``figure`` draw it."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    description: str
    """The text alternative: what a person who cannot see the picture must know."""
    x_log: bool = False
    y_log: bool = False
    x_ticks: Sequence[float] = ()
    y_zero: bool = True
    limits: Sequence[tuple[float, str]] = ()
    """Horizontal lines with their words, e.g. the SLO."""
    verticals: Sequence[tuple[float, str]] = ()
    bands: Sequence[tuple[float, float, str]] = ()
    """Shaded stretches of x with their words, e.g. where the SLO is missed."""
    marks: Sequence[Mark] = field(default_factory=tuple)
    height: int = 280


def figure(chart: Chart, *, table: bool = True) -> Markup:
    """The chart as an HTML figure: caption, picture, legend, and its numbers below."""
    legend = [(swatch(one.colour, one.kind == "dots"), one.name) for one in chart.series] if len(chart.series) > 1 else []
    return part("chart", chart.title, legend, svg(chart), *(_numbers(chart) if table else ([], [])))


def svg(chart: Chart) -> Markup:
    """The picture alone."""
    xs = [x for series in chart.series for x in series.x] + [x for x, _ in chart.verticals]
    xs += [edge for low, high, _ in chart.bands for edge in (low, high)]
    ys = [y for series in chart.series for y in series.y] + [y for y, _ in chart.limits]
    x_low, x_high = extent(xs, log=chart.x_log)
    y_low, y_high = extent(ys, zero=chart.y_zero, log=chart.y_log)
    y_ticks = log_ticks(y_low, y_high * 1.0) if chart.y_log else nice_ticks(y_low, y_high)
    if chart.y_log:
        y_low, y_high = y_low / 1.15, y_high * 1.3
    else:
        y_low, y_high = y_ticks[0], max(y_ticks[-1], y_high)
    if chart.x_ticks:
        x_ticks = list(chart.x_ticks)
    else:
        x_ticks = log_ticks(x_low, x_high) if chart.x_log else nice_ticks(x_low, x_high, 6)
        x_ticks = [tick for tick in x_ticks if x_low <= tick <= x_high]
    pad = 0 if all(series.kind != "dots" for series in chart.series) else 16
    x_of = Scale(x_low, x_high, _LEFT + pad, WIDTH - _RIGHT - pad, chart.x_log)
    y_of = Scale(y_low, y_high, chart.height - _BOTTOM, _TOP, chart.y_log)
    parts = [
        *_bands(chart, x_of),
        *_axes(chart, x_of, y_of, x_ticks, y_ticks),
        *(part for series in chart.series for part in _series(series, x_of, y_of)),
        *_limits(chart, x_of, y_of),
        *_marks(chart, x_of, y_of),
    ]
    return picture(chart.title, chart.description, chart.height, parts)


def picture(title: str, description: str, height: float, parts: Sequence[str]) -> Markup:
    """An SVG of ``WIDTH`` by ``height`` with its title and text alternative around ``parts``."""
    name = f"chart{zlib.crc32((title + description + ''.join(parts)).encode()):08x}"  # the same picture, the same bytes
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="{name}t {name}d" '
        f'xmlns="http://www.w3.org/2000/svg"><title id="{name}t">{escape(title)}</title>'
        f'<desc id="{name}d">{escape(description)}</desc>{"".join(parts)}</svg>'
    )


def _axes(chart: Chart, x_of: Scale, y_of: Scale, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> list[str]:
    bottom = chart.height - _BOTTOM
    parts = []
    for tick in y_ticks:
        y = y_of(tick)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{tick_label(tick)}</text>')
    for tick in x_ticks:
        x = x_of(tick)
        parts.append(f'<path class="axis" d="M{x:.1f} {bottom}v5"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick_label(tick)}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT} {bottom}H{WIDTH - _RIGHT}"/>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="label" x="{middle:.0f}" y="{chart.height - 7}" text-anchor="middle">{escape(chart.x_label)}</text>'
    )
    half = (bottom + _TOP) / 2
    parts.append(
        f'<text class="label" transform="translate(14 {half:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(chart.y_label)}</text>"
    )
    return parts


def _series(series: Series, x_of: Scale, y_of: Scale) -> list[str]:
    points = [(x_of(x), y_of(y)) if _drawable(x, y, x_of, y_of) else None for x, y in zip(series.x, series.y, strict=True)]
    colour = f"c{series.colour}"
    if series.kind == "dots":
        labels = list(series.labels) + [""] * len(points)
        parts = []
        for point, label in zip(points, labels, strict=False):
            if point is not None:
                x, y = point
                parts.append(f'<circle class="dot {colour}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>')
                if label:
                    parts.append(
                        f'<text class="tick" x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle">{escape(label)}</text>'
                    )
        return parts
    path, pen_up, last_y = [], True, 0.0
    for point in points:
        if point is None:
            pen_up = True
            continue
        x, y = point
        if pen_up:
            path.append(f"M{x:.1f} {y:.1f}")
        elif series.kind == "step":
            path.append(f"H{x:.1f}" if y == last_y else f"H{x:.1f}V{y:.1f}")
        else:
            path.append(f"L{x:.1f} {y:.1f}")
        pen_up, last_y = False, y
    dash = _DASHES[series.colour % len(_DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return [f'<path class="line {colour}"{dashed} d="{"".join(path)}"/>'] if path else []


def _drawable(x: float, y: float, x_of: Scale, y_of: Scale) -> bool:
    return (
        x is not None and y is not None and math.isfinite(x) and math.isfinite(y)
        and not (x_of.log and x <= 0) and not (y_of.log and y <= 0)
    )  # fmt: skip


def _bands(chart: Chart, x_of: Scale) -> list[str]:
    parts = []
    for low, high, words in chart.bands:
        x, width = x_of(low), x_of(high) - x_of(low)
        parts.append(
            f'<rect class="band" x="{x:.1f}" y="{_TOP}" width="{max(width, 1):.1f}" '
            f'height="{chart.height - _BOTTOM - _TOP}"/>'
        )
        if words:
            parts.append(f'<text class="note" x="{x + 4:.1f}" y="{chart.height - _BOTTOM - 8}">{escape(words)}</text>')
    return parts


def _limits(chart: Chart, x_of: Scale, y_of: Scale) -> list[str]:
    parts = []
    for value, words in chart.limits:
        if not _drawable(1.0, value, x_of, y_of):
            continue
        y = y_of(value)
        words_y = y - 5 if y > _TOP + 18 else y + 15
        parts.append(f'<path class="limit" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text class="note" x="{WIDTH - _RIGHT - 3}" y="{words_y:.1f}" text-anchor="end">{escape(words)}</text>'
        )
    for value, words in chart.verticals:
        x = x_of(value)
        right = x > WIDTH * 0.6
        parts.append(f'<path class="limit" d="M{x:.1f} {_TOP}V{chart.height - _BOTTOM}"/>')
        parts.append(
            f'<text class="note" x="{x + (-5 if right else 5):.1f}" y="{_TOP + 12}" '
            f'text-anchor="{"end" if right else "start"}">{escape(words)}</text>'
        )
    return parts


def _marks(chart: Chart, x_of: Scale, y_of: Scale) -> list[str]:
    """A ring about the point, its words at the top of the picture, a leader between them."""
    parts = []
    for mark in chart.marks:
        if not _drawable(mark.x, mark.y, x_of, y_of):
            continue
        x, y = x_of(mark.x), y_of(mark.y)
        anchor = "end" if x > WIDTH * 0.6 else "start" if x < WIDTH * 0.4 else "middle"
        if y > _TOP + 40:
            parts.append(f'<path class="leader" d="M{x:.1f} {_TOP + 24}V{y - 9:.1f}"/>')
        parts.append(f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="9"/>')
        place = _TOP + 16 if y > _TOP + 40 else y + 28
        parts.append(f'<text class="mark" x="{x:.1f}" y="{place:.1f}" text-anchor="{anchor}">{escape(mark.text)}</text>')
    return parts


def swatch(colour: int, dots: bool) -> Markup:
    """What a legend shows of a series, in a box of 26 by 12."""
    if dots:
        return Markup(f'<circle class="dot c{colour}" cx="13" cy="6" r="4.5"/>')
    return Markup(f'<path class="line c{colour}" stroke-dasharray="{_DASHES[colour % len(_DASHES)]}" d="M1 6H25"/>')


def _numbers(chart: Chart, most: int = 60) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The chart's points as the head and rows of a table; a long series shows every n-th."""
    if chart.series and all(list(series.x) == list(chart.series[0].x) for series in chart.series):
        head = [chart.x_label, *(series.name for series in chart.series)]
        rows = [tuple(map(number, row)) for row in zip(chart.series[0].x, *(s.y for s in chart.series), strict=True)]
    else:
        head = ["series", chart.x_label, chart.y_label]
        rows = [(s.name, number(x), number(y)) for s in chart.series for x, y in zip(s.x, s.y, strict=True)]
    return head, rows[:: math.ceil(len(rows) / most) or 1]
