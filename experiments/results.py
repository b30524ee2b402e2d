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
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for name, chart in charts.items():
        (folder / f"{name}.svg").write_text(standalone(chart), encoding="utf-8")
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_shown(row[name]) for name in names) + " |" for row in rows]
    lines += [""] + [f"![{chart.title}]({name}.svg)" for name, chart in charts.items()]
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    readme.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after, encoding="utf-8")
    print("\n".join(lines))


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}" if isinstance(value, float) else str(value)
