"""Charts as inline SVG: lines, steps and dots, drawn by hand so that the page needs nothing else.

Each chart is a ``figure`` with a text alternative, its numbers in a table that can be opened, and the values of each x to
read with pointer or arrow keys where scripts run (``reading.js``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from markupsafe import Markup

from sim.report.page import part
from sim.report.places import ABOVE, BELOW, LETTER, Box, Places, Spot
from sim.report.scale import Scale, extent, log_ticks, nice_ticks, number, tick_label
from sim.report.shapes import WIDTH, Shape, dashed, marker, path, picture, rect, swatch, text

_RIGHT, _TOP, _BOTTOM = 14, 12, 44
_DIRECT = 16
"""Series whose names have at most so many letters are named at their ends, up to four of them."""
_MARKED = 40
"""A line of more points is marked at a few of them."""


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

    def direct(self) -> bool:
        """Whether the series are named at their ends, in place of a legend."""
        few = 2 <= len(self.series) <= 4 and all(series.kind == "line" for series in self.series)
        return few and all(len(series.name) <= _DIRECT and _last(series) is not None for series in self.series)


def figure(chart: Chart, *, table: bool = True, over_time: bool = False) -> Markup:
    """The chart as an HTML figure: caption, legend, picture, and its numbers below; ``over_time``: one of those whose values
    stand beside them already (``sim.report.time_charts``), always with a legend."""
    drawing = _Drawing(chart, direct=chart.direct() and not over_time)
    legend = legend_of(chart) if over_time or (len(chart.series) > 1 and not chart.direct()) else []
    numbers = _numbers(chart) if table else ([], [])
    return part("chart", chart.title, legend, drawing.picture(), *numbers, [] if over_time else drawing.stops())


def legend_of(chart: Chart) -> list[tuple[list[Shape], str]]:
    """Which series is which: what to draw, and the name."""
    dotted = _dotted(chart)
    found = []
    for series in chart.series:
        line = series.kind != "dots"
        found.append((swatch(series.colour, line=line, marked=not line or series.colour not in dotted), series.name))
    return found


def _dotted(chart: Chart) -> set[int]:
    """The colours that have dots: these are the markers of a line of the same colour."""
    return {series.colour for series in chart.series if series.kind == "dots"}


def svg(chart: Chart) -> Markup:
    """The picture alone."""
    return _Drawing(chart, direct=chart.direct()).picture()


def _last(series: Series) -> tuple[float, float] | None:
    ends = [(x, y) for x, y in zip(series.x, series.y, strict=True) if math.isfinite(x) and math.isfinite(y)]
    return ends[-1] if ends else None


class _Drawing:
    """A chart with its scales: every method draws one kind of thing."""

    def __init__(self, chart: Chart, *, direct: bool) -> None:
        self.chart, self.direct = chart, direct
        xs = [x for series in chart.series for x in series.x] + [x for x, _ in chart.verticals]
        xs += [edge for low, high, _ in chart.bands for edge in (low, high)]
        ys = [y for series in chart.series for y in series.y] + [y for y, _ in chart.limits]
        x_low, x_high = extent(xs, log=chart.x_log)
        y_low, y_high = extent(ys, zero=chart.y_zero, log=chart.y_log)
        self.y_ticks = log_ticks(y_low, y_high * 1.0) if chart.y_log else nice_ticks(y_low, y_high)
        if chart.y_log:
            y_low, y_high = y_low / 1.15, y_high * 1.3
        else:
            y_low, y_high = self.y_ticks[0], max(self.y_ticks[-1], y_high)
        if chart.x_ticks:
            self.x_ticks = list(chart.x_ticks)
        else:
            ticks = log_ticks(x_low, x_high) if chart.x_log else nice_ticks(x_low, x_high, 6)
            self.x_ticks = [tick for tick in ticks if x_low <= tick <= x_high]
        pad = 0 if all(series.kind != "dots" for series in chart.series) else 16
        self.left = 34 + math.ceil(LETTER * max(len(tick_label(tick)) for tick in self.y_ticks))
        names = max((len(series.name) for series in chart.series), default=0)
        self.right = WIDTH - _RIGHT - (math.ceil(LETTER * names) + 8 if direct else 0)
        self.bottom = chart.height - _BOTTOM
        self.x_of = Scale(x_low, x_high, self.left + pad, self.right - pad, chart.x_log)
        self.y_of = Scale(y_low, y_high, self.bottom, _TOP, chart.y_log)
        self.places = Places(Box(self.left, _TOP - 2, WIDTH - 2, self.bottom))
        self.points = [self._points(series) for series in chart.series]

    def picture(self) -> Markup:
        """All of it; words that must stand are placed first."""
        for series, points in zip(self.chart.series, self.points, strict=True):
            for x, y in (p for p in points if p is not None and series.kind == "dots"):
                self.places.point(x, y)
        over = [*self._direct(), *self._limits(), *self._marks(), *self._verticals()]
        bands = self._bands()
        shapes = [*bands, *self._axes(), *self._lines(), *over]
        return picture(self.chart.title, self.chart.description, self.chart.height, shapes)

    def stops(self) -> list[tuple[float, str]]:
        """For each x, from left to right: where it stands, and what every series says there."""
        at: dict[float, list[str]] = {}
        several = len(self.chart.series) > 1
        for series, points in zip(self.chart.series, self.points, strict=True):
            for x, y, point in zip(series.x, series.y, points, strict=True):
                if point is not None:
                    at.setdefault(x, []).append(f"{series.name} {number(y)}" if several else number(y))
        words = f"{self.chart.x_label.partition(' (')[0]}"
        return [(round(self.x_of(x), 1), f"{words} {number(x)}: {', '.join(at[x])}") for x in sorted(at)]

    def _points(self, series: Series) -> list[tuple[float, float] | None]:
        return [
            (self.x_of(x), self.y_of(y)) if self._drawable(x, y) else None for x, y in zip(series.x, series.y, strict=True)
        ]

    def _drawable(self, x: float, y: float) -> bool:
        return (
            x is not None and y is not None and math.isfinite(x) and math.isfinite(y)
            and not (self.x_of.log and x <= 0) and not (self.y_of.log and y <= 0)
        )  # fmt: skip

    def _axes(self) -> Iterator[Shape]:
        for tick in self.y_ticks:
            y = self.y_of(tick)
            yield path("grid", f"M{self.left} {y:.1f}H{self.right}")
            yield text("tick", self.left - 7, y + 4, tick_label(tick), "end")
        below = Places(Box(0.0, self.bottom, WIDTH, self.chart.height))
        for tick in self.x_ticks:
            x, words = self.x_of(tick), tick_label(tick)
            yield path("axis", f"M{x:.1f} {self.bottom}v5")
            spot = below.put(words, [Spot(x, self.bottom + 18, "middle")], must=False)
            if spot is not None:
                yield text("tick", spot.x, spot.y, words, "middle")
        yield path("axis", f"M{self.left} {self.bottom}H{self.right}")
        yield text("label", (self.left + self.right) / 2, self.chart.height - 7, self.chart.x_label, "middle")
        turned = f"translate(15 {(self.bottom + _TOP) / 2:.0f}) rotate(-90)"
        yield Shape("text", {"class": "label", "transform": turned, "text-anchor": "middle"}, self.chart.y_label)

    def _lines(self) -> Iterator[Shape]:
        dotted = _dotted(self.chart)
        for series, points in zip(self.chart.series, self.points, strict=True):
            if series.kind == "dots":
                yield from self._dots(series, points)
                continue
            way, pen_up, last_y = [], True, 0.0
            for point in points:
                if point is None:
                    pen_up = True
                    continue
                x, y = point
                if pen_up:
                    way.append(f"M{x:.1f} {y:.1f}")
                elif series.kind == "step":
                    way.append(f"H{x:.1f}" if y == last_y else f"H{x:.1f}V{y:.1f}")
                else:
                    way.append(f"L{x:.1f} {y:.1f}")
                pen_up, last_y = False, y
            if way:
                yield path(f"line c{series.colour}", "".join(way), **dashed(series.colour))
            if series.colour not in dotted:
                yield from self._markers(series, points)

    def _markers(self, series: Series, points: Sequence[tuple[float, float] | None]) -> Iterator[Shape]:
        """The marker of a line at each of its points, or at a few that differ from series to series."""
        every, first = 1, 0
        if len(points) > _MARKED:
            if len(self.chart.series) < 2:
                return
            every = len(points) // 5
            first = every * (1 + 2 * (series.colour % 4)) // 9
        for point in points[first::every]:
            if point is not None:
                yield marker(*point, series.colour, 3.4)

    def _dots(self, series: Series, points: Sequence[tuple[float, float] | None]) -> Iterator[Shape]:
        labels = [*series.labels, *[""] * (len(points) - len(series.labels))]
        for point, words in zip(points, labels, strict=True):
            if point is None:
                continue
            x, y = point
            yield marker(x, y, series.colour)
            if words:
                above_or_below = [Spot(x, y + 20, "middle"), Spot(x, y - 10, "middle")]
                spot = self.places.put(words, [*above_or_below, Spot(x + 9, y + 5), Spot(x - 9, y + 5, "end")], must=False)
                if spot is not None:
                    yield text("tick", *spot[:2], words, spot.anchor)

    def _direct(self) -> Iterator[Shape]:
        """The names of the series at their ends, from the top down, none on another."""
        if not self.direct:
            return
        ends = [(self.y_of(last[1]), series) for series in self.chart.series if (last := _last(series)) is not None]
        ends.sort(key=lambda end: end[0])
        line = ABOVE + BELOW
        ys: list[float] = []
        for y, _ in ends:
            ys.append(max(y + 4, ys[-1] + line if ys else _TOP + ABOVE))
        over = max(ys[-1] - (self.bottom + 2), 0.0)  # pushed up again where the last would stand below the axis
        for place in range(len(ys) - 1, -1, -1):
            most = self.bottom + 2 if place == len(ys) - 1 else ys[place + 1] - line
            ys[place] = min(ys[place], most) if over else ys[place]
        for y, (end_y, series) in zip(ys, ends, strict=True):
            yield path("leader", f"M{self.right + 1} {end_y:.1f}L{self.right + 7} {y - 4:.1f}")
            yield text(f"name c{series.colour}", self.right + 9, y, series.name)

    def _bands(self) -> list[Shape]:
        shapes = []
        for low, high, words in self.chart.bands:
            x, width = self.x_of(low), self.x_of(high) - self.x_of(low)
            shapes.append(rect("band", x, _TOP, width, self.bottom - _TOP))
            if words:
                spots = [Spot(x + 4, self.bottom - 8), Spot(x + 4, self.bottom - 28), Spot(x + 4, _TOP + 30)]
                shapes += self._note(words, spots)
        return shapes

    def _limits(self) -> Iterator[Shape]:
        for value, words in self.chart.limits:
            if not self._drawable(1.0, value):
                continue
            y = self.y_of(value)
            yield path("limit", f"M{self.left} {y:.1f}H{self.right}")
            right, left = self.right - 3, self.left + 4
            yield from self._note(
                words, [Spot(right, y - 6, "end"), Spot(right, y + 15, "end"), Spot(left, y - 6), Spot(left, y + 15)]
            )

    def _verticals(self) -> Iterator[Shape]:
        for value, words in self.chart.verticals:
            x = self.x_of(value)
            yield path("limit", f"M{x:.1f} {_TOP}V{self.bottom}")
            sides = [Spot(x - 5, _TOP + 12, "end"), Spot(x + 5, _TOP + 12)]
            spots = sides if x > WIDTH * 0.6 else sides[::-1]
            yield from self._note(words, [*spots, *(spot._replace(y=spot.y + 20) for spot in spots)])

    def _note(self, words: str, spots: Sequence[Spot]) -> list[Shape]:
        spot = self.places.put(words, spots)
        return [text("note", *spot[:2], words, spot.anchor)] if spot is not None else []

    def _marks(self) -> Iterator[Shape]:
        """A ring about the point, its words at the top of the picture, a leader between them."""
        for mark in self.chart.marks:
            if not self._drawable(mark.x, mark.y):
                continue
            x, y = self.x_of(mark.x), self.y_of(mark.y)
            anchor = "end" if x > WIDTH * 0.6 else "start" if x < WIDTH * 0.4 else "middle"
            rows = [_TOP + 16, _TOP + 36, _TOP + 56]
            spots = [Spot(x, row, anchor) for row in rows if row < y - 16] + [Spot(x, y + 28, anchor)]
            spot = self.places.put(mark.text, spots)
            yield Shape("circle", {"class": "ring", "cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "9"})
            if spot is not None:
                if spot.y < y - 30:
                    yield path("leader", f"M{x:.1f} {spot.y + 8:.1f}V{y - 9:.1f}")
                yield text("mark", *spot[:2], mark.text, spot.anchor)


def _numbers(chart: Chart, most: int = 60) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The chart's points as the head and rows of a table; a long series shows every n-th."""
    if chart.series and all(list(series.x) == list(chart.series[0].x) for series in chart.series):
        head = [chart.x_label, *(series.name for series in chart.series)]
        rows = [tuple(map(number, row)) for row in zip(chart.series[0].x, *(s.y for s in chart.series), strict=True)]
    else:
        head = ["series", chart.x_label, chart.y_label]
        rows = [(s.name, number(x), number(y)) for s in chart.series for x, y in zip(s.x, s.y, strict=True)]
    return head, rows[:: math.ceil(len(rows) / most) or 1]
