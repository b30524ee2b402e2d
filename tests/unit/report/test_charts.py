"""Charts can be read by everybody: words that do not stand on each other, colours that stay apart, values to read out."""

from __future__ import annotations

import ast
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sim.report
from sim.report.chart import Chart, Mark, Series, figure, svg
from sim.report.page import own_text
from sim.report.places import Box, Places, Spot, box_of

NORMAL = np.eye(3)
SIGHT = {
    "normal": NORMAL,
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
LEAST_APART, LEAST_CONTRAST = 12.0, 3.0
"""CIE76 between any two colours (1 is just noticeable side by side); WCAG 1.4.11 for graphics against their ground."""


def linear(colour: str) -> np.ndarray:
    share = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    root = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def luminance(rgb: np.ndarray) -> float:
    return float(rgb @ [0.2126, 0.7152, 0.0722])


def palettes() -> dict[str, dict[str, str]]:
    found = re.findall(r":root \{(.*?)\}", own_text("page.css"), re.DOTALL)[:2]
    return {name: dict(re.findall(r"--(\w+): (#\w{6})", block)) for name, block in zip(("light", "dark"), found, strict=True)}


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_no_two_colours_look_alike_to_anybody(ground: str, sight: str) -> None:
    seen = {name: lab(np.array(SIGHT[sight]) @ linear(palettes()[ground][f"c{name}"])) for name in range(8)}
    apart = {(a, b): float(np.linalg.norm(seen[a] - seen[b])) for a, b in itertools.combinations(seen, 2)}
    assert min(apart.values()) >= LEAST_APART, sorted((value, pair) for pair, value in apart.items())[:3]


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_every_colour_stands_out_from_its_ground(ground: str) -> None:
    colours = palettes()[ground]
    under = luminance(linear(colours["ground"]))
    for name in range(8):
        bright, dark = sorted((luminance(linear(colours[f"c{name}"])), under), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= LEAST_CONTRAST, name


spots = st.builds(Spot, st.floats(0, 520), st.floats(0, 280), st.sampled_from(["start", "middle", "end"]))
FRAME = Box(60, 10, 518, 240)


@given(st.lists(st.tuples(st.text("abc ", min_size=1, max_size=30), st.lists(spots, min_size=1, max_size=4)), max_size=9))
def test_words_never_stand_on_words_or_outside(asked: list[tuple[str, list[Spot]]]) -> None:
    places = Places(FRAME)
    placed = [(places.put(words, tried), words) for words, tried in asked]
    boxes = [box_of(spot, words) for spot, words in placed if spot is not None]
    assert not any(a.meets(b) for a, b in itertools.combinations(boxes, 2))
    for box in boxes:
        assert box.left >= FRAME.left - 0.01 and box.right <= FRAME.right + 0.01
        assert box.top >= FRAME.top - 1 and box.bottom <= FRAME.bottom + 1


def chart(*names: str, points: int = 9) -> Chart:
    at = [float(2**x) for x in range(points)]
    series = [Series(name, at, [1.0 + index * 0.01 + x / 9 for x in range(points)], colour=index) for index, name in enumerate(names)]
    marks = [Mark(4.0, 1.3, "stop here: 4 on 3 x h100, $0.4")]
    return Chart("T", "batch", "share", series, "D", x_log=True, x_ticks=at, limits=[(1.0, "SLO")], marks=marks)


def texts(picture: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", picture)


def test_series_are_named_at_their_ends_where_names_are_short() -> None:
    drawn = str(figure(chart("h100", "l40s", "a100")))
    assert {"h100", "l40s", "a100", "SLO", "stop here: 4 on 3 x h100, $0.4"} <= set(texts(drawn))
    assert 'class="legend"' not in drawn
    ends = [float(y) for y in re.findall(r'<text class="name[^>]* y="([\d.]+)"', drawn)]
    assert len(ends) == 3 and all(b - a >= 16 for a, b in itertools.pairwise(ends)), "values this close would overprint"
    long = str(figure(chart("one replica at its highest load", "b")))
    assert 'class="legend"' in long and "one replica at its highest load" not in texts(long)


def test_every_series_has_a_marker_of_its_own() -> None:
    drawn = str(svg(chart(*"abcdefgh")))
    ways = {re.sub(r"^M0 0", "", way) for way in re.findall(r'class="dot c\d" transform="[^"]*" d="([^"]+)"', drawn)}
    assert len(ways) == 8


def test_ticks_that_would_touch_are_left_out() -> None:
    crowded = Chart("T", "x", "y", [Series("a", list(range(1, 200)), [1.0] * 199)], "D", x_ticks=[float(x) for x in range(1, 200)])
    assert 5 <= len(texts(str(svg(crowded)))) < 40


def test_values_are_there_to_read_out() -> None:
    drawn = str(figure(chart("h100", "l40s")))
    assert '[[' in drawn and "batch 1: h100 1, l40s 1.01" in drawn and "batch 256: h100 1.89" in drawn
    broken = Chart("T", "x", "y", [Series("a", [1.0, 2.0], [math.nan, 3.0])], "D")
    assert "x 2: 3" in str(figure(broken)) and "x 1:" not in str(figure(broken))


def test_html_is_written_by_templates_alone() -> None:
    tags = re.compile(r"</?[a-z][a-z0-9]*[ >/]")
    for path in Path(sim.report.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        words = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docs]
        assert [one for one in words if tags.search(one)] == [], path.name
        assert "from html import" not in path.read_text(encoding="utf-8")


def test_what_is_filled_in_is_escaped() -> None:
    hostile = "</script><script>alert(1)</script>"
    drawn = str(figure(Chart(hostile, hostile, hostile, [Series(hostile, [1.0], [2.0])] * 2, hostile)))
    assert "<script>alert" not in drawn and "&lt;script&gt;alert" in drawn
