"""What a picture is drawn with: SVG elements as data, the markers and dashes of the series, and the picture around them.

Colours are the classes ``c0`` to ``c7`` of the page's style sheet (the first three after Okabe and Ito, light and dark; a
test keeps them apart for colour-blind eyes). Colour never stands alone: every series has its own marker and dash too.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from sim.report.page import part

WIDTH = 520
DASHES = ("", "7 4", "2 4", "10 3 2 3", "5 2", "1 3", "12 4", "4 4 1 4")
_MARKERS = (
    "m-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z",  # a circle
    "m-.85-.85h1.7v1.7h-1.7z",  # a square
    "m0-1.1 1.1 1.9h-2.2z",  # a triangle
    "m0-1.2 1.2 1.2-1.2 1.2-1.2-1.2z",  # a diamond
    "m0 1.1 1.1-1.9h-2.2z",  # a triangle on its head
    "m-.35-1.1h.7v.75h.75v.7h-.75v.75h-.7v-.75h-.75v-.7h.75z",  # a plus
    "m0-1.1 1.05.76-.4 1.24h-1.3l-.4-1.24z",  # a pentagon
    "m-1.1-.5h2.2v1h-2.2z",  # a bar
)
"""By colour, each about its own point, of radius 1."""


class Shape(NamedTuple):
    """One SVG element."""

    tag: str
    attributes: Mapping[str, str]
    words: str = ""


def path(of_class: str, way: str, **attributes: str) -> Shape:
    """A line along ``way``."""
    return Shape("path", {"class": of_class, **attributes, "d": way})


def text(of_class: str, x: float, y: float, words: str, anchor: str = "start") -> Shape:
    """``words`` on the base line ``y``."""
    placed = {"class": of_class, "x": f"{x:.1f}", "y": f"{y:.1f}"}
    return Shape("text", placed if anchor == "start" else placed | {"text-anchor": anchor}, words)


def rect(of_class: str, x: float, y: float, width: float, height: float) -> Shape:
    """A rectangle, at least one unit wide."""
    sizes = {"x": x, "y": y, "width": max(width, 1.0), "height": height}
    return Shape("rect", {"class": of_class, **{name: f"{value:.1f}" for name, value in sizes.items()}})


def marker(x: float, y: float, colour: int, radius: float = 4.5) -> Shape:
    """The marker of a series' colour at a point."""
    at = f"translate({x:.1f} {y:.1f}) scale({radius:g})"
    return Shape("path", {"class": f"dot c{colour}", "transform": at, "d": "M0 0" + _MARKERS[colour % len(_MARKERS)]})


def dashed(colour: int) -> dict[str, str]:
    """The attribute that gives a line the dash of its colour; none for a whole line."""
    dash = DASHES[colour % len(DASHES)]
    return {"stroke-dasharray": dash} if dash else {}


def swatch(colour: int, *, line: bool, marked: bool) -> list[Shape]:
    """What a legend shows of a series, in a box of 26 by 12."""
    found = [path(f"line c{colour}", "M1 6H25", **dashed(colour))] if line else []
    return [*found, marker(13, 6, colour, 3.4 if line else 4.5)] if marked else found


def picture(title: str, description: str, height: float, shapes: Sequence[Shape]) -> Markup:
    """An SVG of ``WIDTH`` by ``height`` with its title and text alternative around ``shapes``."""
    drawn = repr((title, description, shapes))
    name = f"chart{zlib.crc32(drawn.encode()):08x}"  # the same picture, the same bytes
    return part("picture", name, title, description, WIDTH, f"{height:g}", shapes)
