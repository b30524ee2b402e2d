"""A trace at a glance, as SVG: arrivals over time, input and output lengths, prefix reuse by cache size."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np

from sim.workload.trace import Trace

_WIDTH, _HEIGHT, _GAP = 420, 190, 50
_INK, _BAR, _GRID = "#222", "#3b7dd8", "#ddd"


def trace_picture(trace: Trace, statistics: dict[str, Any], title: str) -> str:
    """One self-contained SVG document."""
    bins = min(max(int(trace.duration_s // 10), 1), 120)
    counts, edges_s = np.histogram(trace.arrival_s, bins=bins)
    width_s = float(edges_s[1] - edges_s[0])
    panels = [
        _bars("arrivals over time", "s", "requests/s", edges_s, counts / width_s if width_s else counts),
        _lengths("input tokens", trace.input_tokens),
        _lengths("output tokens", trace.output_tokens),
    ]
    reuse = statistics.get("prefix_reuse")
    if reuse:
        curve = reuse["lru_by_share_of_unique_blocks"]
        points = [(float(share) * 100, 100 * value) for share, value in curve.items()] + [(100.0, 100 * reuse["ideal"])]
        panels.append(_line("prefix reuse of an LRU cache", "cache, % of unique blocks", "blocks found, %", points))
    placed = "".join(
        f'<g transform="translate({x},{y})">{panel}</g>'
        for panel, (x, y) in zip(panels, _places(), strict=False)
    )
    width, height = 2 * (_WIDTH + _GAP) + 30, 60 + -(-len(panels) // 2) * (_HEIGHT + 70)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11" fill="{_INK}"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{_GAP}" y="26" font-size="15">{escape(title)}</text>{placed}</svg>\n'
    )


def _places() -> Iterator[tuple[int, int]]:
    """Where panels go, two a row."""
    for place in itertools.count():
        yield _GAP + (place % 2) * (_WIDTH + _GAP), 60 + (place // 2) * (_HEIGHT + 70)


def _frame(title: str, x_name: str, y_name: str, x_range: tuple[float, float], top: float, inside: str) -> str:
    grid = "".join(
        f'<line x1="0" x2="{_WIDTH}" y1="{_HEIGHT * (1 - part):.0f}" y2="{_HEIGHT * (1 - part):.0f}" stroke="{_GRID}"/>'
        f'<text x="-6" y="{_HEIGHT * (1 - part) + 4:.0f}" text-anchor="end">{top * part:.3g}</text>'
        for part in (0.0, 0.5, 1.0)
    )
    return (
        f'{grid}{inside}<text x="0" y="-8" font-size="12">{escape(title)} ({escape(y_name)})</text>'
        f'<text x="0" y="{_HEIGHT + 15}">{x_range[0]:.4g}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 15}" text-anchor="end">{x_range[1]:.4g}</text>'
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT + 15}" text-anchor="middle">{escape(x_name)}</text>'
    )


def _bars(title: str, x_name: str, y_name: str, edges: np.ndarray, values: np.ndarray) -> str:
    top = float(values.max()) or 1.0
    step = _WIDTH / len(values)
    bars = "".join(
        f'<rect x="{place * step:.1f}" y="{_HEIGHT * (1 - value / top):.1f}" width="{max(step - 0.5, 0.5):.1f}" '
        f'height="{_HEIGHT * value / top:.1f}" fill="{_BAR}"/>'
        for place, value in enumerate(values.tolist())
    )
    return _frame(title, x_name, y_name, (float(edges[0]), float(edges[-1])), top, bars)


def _lengths(title: str, tokens: np.ndarray) -> str:
    logs = np.log10(np.maximum(tokens, 1))
    counts, edges = np.histogram(logs, bins=50)
    return _bars(title, "tokens, log scale", "share, %", 10.0**edges, 100 * counts / len(tokens))


def _line(title: str, x_name: str, y_name: str, points: list[tuple[float, float]]) -> str:
    right, top = max(x for x, _ in points), max(1e-9, *(y for _, y in points))
    path = " ".join(f"{x / right * _WIDTH:.1f},{_HEIGHT * (1 - y / top):.1f}" for x, y in points)
    inside = f'<polyline points="{path}" fill="none" stroke="{_BAR}" stroke-width="2"/>'
    return _frame(title, x_name, y_name, (0.0, right), top, inside)
