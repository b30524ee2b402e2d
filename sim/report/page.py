"""The frame of every page: one file, no external script, style, font or import; light, dark, phone and print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from sim.errors import OutputError

MOST_BYTES = 1_500_000
"""A page above this is refused: it should open at once, anywhere."""
WIDE_COLUMNS = 12
"""A table of more is set small, and says that it scrolls."""


def page(title: str, parts: Iterable[str], footer: str = "") -> str:
    """A complete HTML document."""
    style = files("sim.report").joinpath("page.css").read_text(encoding="utf-8")
    html = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{style}</style></head>'
        f"<body><main>{''.join(parts)}<footer>{escape(footer)}</footer></main></body></html>\n"
    )
    size = len(html.encode("utf-8"))
    if size > MOST_BYTES:
        raise OutputError(f"the page {title!r} would be {size} bytes; at most {MOST_BYTES} are allowed")
    return html


def tiles(numbers: Iterable[tuple[str, str]]) -> str:
    """Key numbers side by side: (value, what it is)."""
    inner = "".join(f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in numbers)
    return f'<div class="tiles">{inner}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, text: Iterable[int] = (), best: int | None = None) -> str:
    """A table; ``text``: the columns that hold words, ``best``: the row to stress. Verdict words get their colour."""
    words = set(text)
    header = "".join(_head(name, _class(i, words)) for i, name in enumerate(head))
    body = []
    for index, row in enumerate(rows):
        cells = "".join(f"<td{_class(i, words, cell)}>{escape(cell)}</td>" for i, cell in enumerate(row))
        body.append(f"<tr{' class=best' if index == best else ''}>{cells}</tr>")
    wide = " wide" if len(head) > WIDE_COLUMNS else ""
    inner = f'<table><thead><tr>{header}</tr></thead><tbody>{"".join(body)}</tbody></table>'
    name = escape(", ".join(head[:3]))
    return f'<div class="scroll{wide}" tabindex="0" role="group" aria-label="table: {name}">{inner}</div>'


def _head(name: str, of_class: str) -> str:
    """A header cell; one without words is none to who cannot see it."""
    return f"<th{of_class}>{escape(name)}</th>" if name else f"<td{of_class}></td>"


def _class(index: int, words: set[int], cell: str = "") -> str:
    names = []
    if index in words:
        names.append("text")
        if len(cell) > 60:
            names.append("long")
    if cell in ("pass", "fail", "overloaded", "undecided"):
        names.append(cell)
    return f' class="{" ".join(names)}"' if names else ""


def section(title: str, *parts: str) -> str:
    """A heading and what stands under it; empty when nothing does."""
    body = "".join(parts)
    return f"<h2>{escape(title)}</h2>{body}" if body else ""


def charts(*figures: str) -> str:
    """Figures in a grid that becomes one column on a phone."""
    return f'<div class="charts">{"".join(figures)}</div>'


def paragraph(text: str, quiet: bool = False) -> str:
    """A paragraph of plain text."""
    return f"<p{' class=quiet' if quiet else ''}>{escape(text)}</p>"
