"""``python -m sim.report.pictures SWEEP_DIR OUT_DIR``: the charts of a finished sweep as SVG files for a README.

The same pictures as on the page, with the page's colours written into each file, light and dark by the reader's own
preference.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sim.errors import ConfigError
from sim.report.chart import Chart, legend_of, svg
from sim.report.frontier import cost_chart, load_chart, p95_chart
from sim.report.page import own_text, render
from sim.report.run_folder import write_text
from sim.report.shapes import WIDTH, Shape

_LETTER, _LINE = 6.0, 18.0
"""Mean width of a legend's letter, and height of its line, in units of the picture."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write ``cost.svg``, ``p95.svg`` and ``load.svg``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sim.report.pictures", description=__doc__)
    parser.add_argument("sweep", type=Path, help="a sweep folder (it holds sweep.csv)")
    parser.add_argument("out", type=Path, help="where the pictures go")
    given = parser.parse_args(argv)
    rows, targets = sweep_rows(given.sweep)
    for name, chart in (("cost", cost_chart(rows)), ("p95", p95_chart(rows, targets)), ("load", load_chart(rows))):
        write_text(given.out / f"{name}.svg", standalone(chart))
        print(given.out / f"{name}.svg")
    return 0


def standalone(chart: Chart) -> str:
    """A chart as a file of its own: style sheet, ground, title and legend included."""
    legend: list[tuple[float, float, list[Shape], str]] = []
    x, y = 8.0, 36.0
    named = legend_of(chart) if len(chart.series) > 1 and not chart.direct() else []
    for shapes, name in named:
        width = 40 + _LETTER * len(name)
        if x > 8 and x + width > WIDTH:
            x, y = 8.0, y + _LINE
        legend.append((x, y, shapes, name))
        x += width
    size = min(13.0, 13 * (WIDTH - 16) / (7.3 * len(chart.title)))
    return render(
        "picture.svg", title=chart.title, size=f"{size:.3g}", width=WIDTH, height=chart.height, top=y + 4 if named else 22,
        legend=legend, inner=svg(chart), style=own_text("page.css"),
    )  # fmt: skip


def sweep_rows(sweep: Path) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The rows of ``sweep.csv`` as the frontier takes them, and the SLO's limits of the first job that ran."""
    path = sweep / "sweep.csv"
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; a sweep folder holds sweep.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = [_row(sweep, cells) for cells in csv.DictReader(file)]
    targets: dict[str, float] = {}
    for summary in sorted(sweep.glob("*/summary.json")):
        targets = json.loads(summary.read_text(encoding="utf-8"))["slo"]["targets"]
        break
    return rows, targets


def _row(sweep: Path, cells: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {name: cells.get(name) for name in ("gpu", "max_num_seqs", "replicas")}
    row["verdict"] = cells.get("slo.verdict") or "cannot run"
    row["holds"] = cells.get("slo.holds") == "True" if "slo.holds" in cells else row["verdict"] == "pass"
    for metric in ("ttft", "tpot", "e2e"):
        for name in ("p50", "p95", "p99"):
            row[f"{metric}_{name}_s"] = cells.get(f"latency.{metric}_s.{name}")
    row["usd_per_1m_output_tokens"] = cells.get("cost.window.usd_per_1m_output_tokens")
    row["one_replica_usd_per_1m_output_tokens"] = cells.get("one_replica_usd_per_1m_output_tokens")
    job = sweep / str(cells.get("job")) / "job.json"
    if job.is_file():
        row["one_replica_load"] = json.loads(job.read_text(encoding="utf-8")).get("one_replica")
    return row


if __name__ == "__main__":
    sys.exit(main())
