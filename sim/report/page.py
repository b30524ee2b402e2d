"""The frame of every page: one file, no external script, style, font or import; light, dark, phone and print.

HTML is written by the templates beside this file (Jinja2), which escape whatever is filled in; Python hands them data.
What a template made is ``Markup``, and only that goes into a page unescaped. A page states its own content policy: the
browser fetches nothing and runs this room's script alone, whatever else might have come into it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from sim.errors import OutputError

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_BYTES = 1_500_000
"""A page above this is refused: it should open at once, anywhere."""
NOTHING = Markup("")
"""A part that is not shown."""
WIDE_COLUMNS = 12
"""A table of more is set small, and says that it scrolls."""
_LONG = 28
"""A text of more letters may wrap."""


@cache
def templates() -> Environment:
    """The templates of the pages; a name that a template does not get is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("sim.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def part(name: str, *data: Any) -> Markup:
    """What the macro ``name`` of ``parts.html`` makes of ``data``."""
    made: Markup = getattr(templates().get_template("parts.html").module, name)(*data)
    return made.strip()


def render(template: str, **data: Any) -> str:
    """A whole file."""
    return templates().get_template(template).render(**data).lstrip() + "\n"


def own_text(name: str) -> Markup:
    """A file beside this one, trusted as it is: style sheets and scripts."""
    return Markup(files("sim.report").joinpath(name).read_text(encoding="utf-8"))


def page(title: str, parts: Iterable[Markup], footer: str = "", *, over_time: bool = False) -> str:
    """A complete HTML document; ``over_time``: with what draws ``times`` (uPlot, 51 kB)."""
    names = (("uplot/uPlot.iife.min.js", "uplot/uPlot.min.css") if over_time else ()) + ("reading.js", "page.css")
    texts = [own_text(name) for name in names]
    script = Markup("").join(text for name, text in zip(names, texts, strict=True) if name.endswith(".js"))
    style = Markup("").join(text for name, text in zip(names, texts, strict=True) if name.endswith(".css"))
    digest = b64encode(sha256(script.encode("utf-8")).digest()).decode()
    html = render(
        "page.html", title=title, style=style, script=script, digest=digest, body=Markup("\n").join(parts), footer=footer
    )
    size = len(html.encode("utf-8"))
    if size > MOST_BYTES:
        raise OutputError(f"the page {title!r} would be {size} bytes; at most {MOST_BYTES} are allowed")
    return html


def tiles(numbers: Iterable[tuple[str, str]]) -> Markup:
    """Key numbers side by side: (value, what it is)."""
    return part("tiles", numbers)


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    text: Iterable[int] = (),
    best: int | None = None,
    folded: Mapping[str, Sequence[int]] | None = None,
) -> Markup:
    """A table; ``text``: the columns that hold words, ``best``: the row to stress. Verdict words get their colour. What is
    ``folded``, columns by what they tell, is shown on a screen where its box is ticked, and always on paper."""
    words, folds = set(text), dict(folded or {})
    fold_of = {column: f"fold{number}" for number, columns in enumerate(folds.values()) for column in columns}

    def classed(cells: Iterable[str]) -> list[tuple[str, str | None]]:
        return [(cell, _classes(i in words, cell, fold_of.get(i))) for i, cell in enumerate(cells)]

    body = [(index == best, classed(row)) for index, row in enumerate(rows)]
    made = part("table", classed(head), body, f"table: {', '.join(head[:3])}", len(head) > WIDE_COLUMNS)
    return part("folding", list(folds), made) if folds else made


def _classes(words: bool, cell: str, fold: str | None) -> str | None:
    names = [fold] if fold else []
    if words:
        names.append("text")
        if len(cell) > _LONG:
            names.append("long")
    if cell in ("pass", "fail", "overloaded", "undecided"):
        names.append(cell)
    return " ".join(names) or None


def section(title: str, *parts: Markup) -> Markup:
    """A heading and what stands under it; empty when nothing does."""
    body = Markup("").join(parts)
    return part("section", title, body) if body else NOTHING


def charts(*figures: Markup) -> Markup:
    """Figures in a grid that becomes one column on a phone."""
    return part("charts", Markup("\n").join(figures))


def captioned(caption: str, *parts: Markup) -> Markup:
    """A figure that is no chart: a caption and what stands under it."""
    return part("captioned", caption, Markup("").join(parts))


def paragraph(text: str, quiet: bool = False) -> Markup:
    """A paragraph of plain text."""
    return part("paragraph", text, quiet)
