"""What an experiment leaves: ``results.csv``, a picture, and its table inside its README between two marks."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sim.report.chart import Chart
from sim.report.pictures import standalone

BEGIN, END = "<!-- results: written by run.py -->", "<!-- end of results -->"


def leave(folder: Path, rows: Sequence[Mapping[str, Any]], charts: Mapping[str, Chart]) -> None:
    """Write the rows and pictures of an experiment into its ``folder`` and its README."""
    write_rows(folder / "results.csv", rows)
    for name, chart in charts.items():
        (folder / f"{name}.svg").write_text(standalone(chart), encoding="utf-8")
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_shown(row[name]) for name in names) + " |" for row in rows]
    lines += [""] + [f"![{chart.title}]({name}.svg)" for name, chart in charts.items()]
    put_between(folder / "README.md", BEGIN, END, "\n".join(lines))
    print("\n".join(lines))


def put_between(readme: Path, begin: str, end: str, text: str) -> None:
    """Put ``text`` in place of what stands between two marks of a README."""
    before, _, rest = readme.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    if not rest or end not in rest:
        raise SystemExit(f"{readme} lacks the marks {begin} ... {end}")
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows as a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}" if isinstance(value, float) else str(value)
