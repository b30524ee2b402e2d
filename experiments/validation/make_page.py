"""Write the validation page: predict every measured case and draw predicted against measured.

    python experiments/validation/make_page.py ../shared/measured

Writes ``README.md``, ``validation.json`` and two pictures beside this file. The text around the tables is in ``page.md``.
"""

from __future__ import annotations

import csv
import math
import re
import sys
from pathlib import Path

import pandas as pd

from sim.trust.knee import BANDS, band
from sim.trust.validate import as_json, validate
from sim.trust.validation_table import ErrorRow, case_table, load_table, median_error, step_table, summary_table

HERE = Path(__file__).parent
COLOURS = {
    "idle": "#4c956c", "busy": "#2f6690", "KV-bound": "#d17a22", "overloaded": "#a4243b",
    "KV-bound, overloaded": "#a4243b",
}  # fmt: skip
SIZE, MARGIN = 380, 52
MISS = 0.15


def markdown(lines: list[list[str]]) -> str:
    head, *rest = lines
    return "\n".join(["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rest)])


def table_of(name: str) -> list[list[str]]:
    """A table that another script here wrote."""
    with (HERE / name).open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def split_table() -> list[list[str]]:
    """How often the intervals of halves hold what the whole run gives, and how wide they are, by multiplier."""
    halves = pd.read_csv(HERE / "calibration_splits.csv")
    table = [["multiplier", "", "intervals", "hold", "half-width, median"]]
    for (name, determined), part in halves.groupby(["multiplier", "determined"]):
        what = "determined" if determined else "not determined"
        table.append([name, what, str(len(part)), f"{100 * part.holds.mean():.0f} %", f"{100 * part.half_width.median():.0f} %"])
    return table


def scatter(rows: list[ErrorRow], title: str, unit: str) -> str:
    """Predicted against measured on logarithmic axes; grey band = within 15 %."""
    points = [r for r in rows if r.measured > 0 and math.isfinite(r.predicted) and r.predicted > 0]
    low = math.floor(math.log10(min(min(r.measured, r.predicted) for r in points)) * 2) / 2
    high = math.ceil(math.log10(max(max(r.measured, r.predicted) for r in points)) * 2) / 2
    span = SIZE - 2 * MARGIN

    def x(value: float) -> float:
        return MARGIN + span * (math.log10(value) - low) / (high - low)

    def y(value: float) -> float:
        return SIZE - x(value)

    a, b = 10**low, 10**high
    band = f"M{x(a):.1f},{y(a) - shift(low, high, span):.1f}L{x(b):.1f},{y(b) - shift(low, high, span):.1f}"
    band += f"L{x(b):.1f},{y(b) + shift(low, high, span):.1f}L{x(a):.1f},{y(a) + shift(low, high, span):.1f}Z"
    parts = [
        f'<text x="{SIZE / 2}" y="20" text-anchor="middle" font-weight="bold">{title}</text>',
        f'<clipPath id="c{title[:3]}"><rect x="{MARGIN}" y="{MARGIN}" width="{span}" height="{span}"/></clipPath>',
        f'<path d="{band}" fill="#ddd" clip-path="url(#c{title[:3]})"/>',
        f'<rect x="{MARGIN}" y="{MARGIN}" width="{span}" height="{span}" fill="none" stroke="#999"/>',
        f'<line x1="{x(a)}" y1="{y(a)}" x2="{x(b)}" y2="{y(b)}" stroke="#666"/>',
    ]
    for power in range(math.ceil(low), math.floor(high) + 1):
        value = 10.0**power
        parts.append(f'<text x="{x(value):.1f}" y="{SIZE - MARGIN + 15}" text-anchor="middle">{value:g}</text>')
        parts.append(f'<text x="{MARGIN - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts += [
        f'<circle cx="{x(r.measured):.1f}" cy="{y(r.predicted):.1f}" r="3.2" fill="{COLOURS.get(r.regime, "#555")}" '
        f'fill-opacity="0.75"><title>{r.case} stage {r.stage} {r.statistic}: {r.measured:.4g} -> {r.predicted:.4g}'
        "</title></circle>"
        for r in points
    ]
    parts.append(f'<text x="{SIZE / 2}" y="{SIZE - 14}" text-anchor="middle">measured, {unit}</text>')
    parts.append(f'<text transform="translate(14,{SIZE / 2})rotate(-90)" text-anchor="middle">predicted, {unit}</text>')
    return "".join(parts)


def shift(low: float, high: float, span: float) -> float:
    """Half height of the 15 % band, pixels."""
    return span * math.log10(1.15) / (high - low)


def picture(panels: list[str], legend: list[str]) -> str:
    keys = "".join(
        f'<circle cx="{60 + 170 * i}" cy="{SIZE + 8}" r="5" fill="{COLOURS[name]}"/>'
        f'<text x="{70 + 170 * i}" y="{SIZE + 12}">{name}</text>'
        for i, name in enumerate(legend)
    )
    body = "".join(f'<g transform="translate({SIZE * i},0)">{panel}</g>' for i, panel in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE * len(panels)} {SIZE + 24}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{body}{keys}</svg>\n'
    )


def bars(rows: list[ErrorRow]) -> list[list[str]]:
    """The bars the project set itself, and what was reached."""

    def below(r: ErrorRow) -> bool:
        return r.group == "aggregate" and r.stage == "all" and r.statistic == "mean" and "overloaded" not in r.regime

    table = [["bar", "median error", "limit", "numbers"]]
    for metric, limit in (("e2e", 4.5), ("tpot", 6), ("ttft", 18)):
        error, count = median_error(rows, lambda r, m=metric: below(r) and r.metric == m)
        table.append([f"aggregate runs, {metric.upper()} mean", f"{100 * error:.1f} %", f"{limit} %", str(count)])
    for metric, limit in (("tpot", 6), ("ttft", 25)):
        error, count = median_error(rows, lambda r, m=metric: r.group == "closed loop" and r.metric == m)
        table.append([f"closed-loop points, {metric.upper()} mean", f"{100 * error:.1f} %", f"{limit} %", str(count)])
    worst = max(abs(r.error) for r in rows if r.metric == "kv_blocks")
    table.append(["KV blocks, worst row", f"{100 * worst:.1f} %", "3 %", "6"])
    return table


def misses(rows: list[ErrorRow]) -> list[tuple[ErrorRow, dict[str, str]]]:
    """Every figure of a run, a stage or a closed loop that is off by more than 15 %, with its cause in ``causes.csv``.

    Raises:
        LookupError: one has no cause there.
    """
    with (HERE / "causes.csv").open(newline="", encoding="utf-8") as file:
        causes = list(csv.DictReader(file))
    found = []
    for r in rows:
        if r.group not in ("per request", "aggregate", "closed loop") or r.metric == "failures" or not abs(r.error) > MISS:
            continue
        figure = f"{r.metric} {r.statistic} {r.stage}"
        fits = (c for c in causes if re.search(c["cases"], r.case) and re.search(c["figures"], figure))
        cause = next(fits, None)
        if cause is None:
            raise LookupError(f"causes.csv: {r.case} {figure} is {100 * r.error:+.0f} % off and has no cause")
        found.append((r, cause))
    return found


def cause_table(found: list[tuple[ErrorRow, dict[str, str]]]) -> list[list[str]]:
    """One line a cause: how many figures, how far off, in which regimes and how far from the knee, and what to do."""
    table = [["cause", "figures", "off by", "regime", "load", "what happens", "what to do"]]
    by_cause: dict[tuple[str, str], list[ErrorRow]] = {}
    texts = {}
    for r, cause in found:
        by_cause.setdefault((cause["cause"], cause["what"]), []).append(r)
        texts[cause["what"]] = cause["do"]
    for (name, what), group in by_cause.items():
        errors = [100 * r.error for r in group]
        size = f"{min(errors):+.0f} %" if len(group) == 1 else f"{min(errors):+.0f} to {max(errors):+.0f} %"
        regimes = ", ".join(dict.fromkeys(r.regime for r in group))
        bands = [name for name, _ in BANDS if name in {band(r.load) for r in group}] or ["at its own"]
        table.append([name, str(len(group)), size, regimes, "; ".join(bands), what, texts[what]])
    return table


def miss_table(found: list[tuple[ErrorRow, dict[str, str]]]) -> list[list[str]]:
    """One line a figure."""
    table = [["case", "stage", "load", "figure", "measured", "predicted", "error", "cause"]]
    for r, cause in found:
        load = "" if math.isnan(r.load) else f"{100 * r.load:.0f} %"
        figures = [f"{r.measured:.4g} {r.unit}", f"{r.predicted:.4g} {r.unit}", f"{100 * r.error:+.0f} %"]
        table.append([r.case, r.stage, load, f"{r.metric.upper()} {r.statistic}", *figures, cause["cause"]])
    return table


def main(folder: Path) -> None:
    rows = [*validate(folder), *validate(folder / "v026")]
    (HERE / "validation.json").write_text(as_json(rows) + "\n")
    runs = [r for r in rows if r.group in ("per request", "aggregate") and r.statistic in ("mean", "p50", "p95", "p99")]
    legend = ["idle", "busy", "KV-bound", "overloaded"]
    panels = [
        scatter([r for r in runs if r.metric == m], m.upper(), "ms") for m in ("ttft", "tpot", "e2e")
    ]  # fmt: skip
    (HERE / "runs.svg").write_text(picture(panels, legend))
    closed = [r for r in rows if r.group == "closed loop"]
    panels = [scatter([r for r in closed if r.metric == m], f"{m.upper()} closed loop", "ms") for m in ("ttft", "tpot")]
    (HERE / "closed_loop.svg").write_text(picture(panels, ["busy", "KV-bound"]))
    missed = misses(rows)
    text = (HERE / "page.md").read_text()
    for name, lines in (
        ("CALIBRATION", table_of("calibration.csv")),
        ("SPLITS", split_table()),
        ("MLPERF", table_of("mlperf.csv")),
        ("BARS", bars(rows)),
        ("CASES", case_table(rows)),
        ("SUMMARY", summary_table(rows)),
        ("LOAD", load_table(rows)),
        ("STEPS", step_table(rows)),
        ("CAUSES", cause_table(missed)),
        ("MISSES", miss_table(missed)),
    ):
        text = text.replace(f"<!-- {name} -->", markdown(lines))
    failures = [r for r in rows if r.metric == "failures"]
    shown = [f"`{r.case}`: measured {r.measured:.0f} of its requests failed, predicted {r.predicted:.0f}." for r in failures]
    (HERE / "README.md").write_text(text.replace("<!-- FAILURES -->", "\n".join(shown)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
