"""Rows of a validation and how they are shown: errors by case, medians by group, by regime and by load."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sim.trust.knee import BANDS, band


@dataclass(frozen=True)
class ErrorRow:
    """One number that was measured, and what the simulator says."""

    case: str
    group: str
    """per request, aggregate, closed loop, steps or KV capacity."""
    model: str
    gpu: str
    gpus: int
    stage: str
    """``all``, or the number of a load stage, or which steps."""
    regime: str
    step_time: str
    """interpolated, extrapolated or uncalibrated."""
    metric: str
    statistic: str
    unit: str
    measured: float
    predicted: float
    load: float = math.nan
    """Load as a share of what the server sustains (``sim.trust.knee``); NaN where it is not known."""

    @property
    def error(self) -> float:
        """predicted / measured - 1; NaN where nothing was measured."""
        return self.predicted / self.measured - 1.0 if self.measured else float("nan")


def median_error(rows: Sequence[ErrorRow], keep: Callable[[ErrorRow], bool]) -> tuple[float, int]:
    """Median absolute error (a share) of the kept rows and their number; NaN of none."""
    errors = [abs(row.error) for row in rows if keep(row) and np.isfinite(row.error)]
    return (float(np.median(errors)) if errors else float("nan")), len(errors)


def case_table(rows: Sequence[ErrorRow]) -> list[list[str]]:
    """One line a case (all stages together): header, then error of each metric's mean, p50, p90."""
    columns = [(m, s) for m in ("ttft", "tpot", "e2e") for s in ("mean", "p50", "p90")] + [("throughput", "mean")]
    lines = [["case", "regime", "load", "step time", *(f"{m.upper()} {s}" for m, s in columns)]]
    for name in dict.fromkeys(row.case for row in rows if row.group in ("per request", "aggregate")):
        own = [row for row in rows if row.case == name and row.stage == "all"]
        cells = {(row.metric, row.statistic): f"{100 * row.error:+.0f} %" for row in own}
        load = "" if math.isnan(own[0].load) else f"{100 * own[0].load:.0f} %"
        lines.append([name, own[0].regime, load, own[0].step_time, *(cells.get(column, "") for column in columns)])
    return lines


def summary_table(rows: Sequence[ErrorRow]) -> list[list[str]]:
    """Median absolute error of the means by group and by regime."""
    lines = [["group", "regime", "metric", "median abs error", "rows"]]
    keys = dict.fromkeys((row.group, row.regime, row.metric) for row in rows if row.metric not in ("failures", "step"))
    for group, regime, metric in keys:
        error, count = median_error(
            rows,
            lambda r, key=(group, regime, metric): (
                (r.group, r.regime, r.metric) == key  # type: ignore[misc]
                and r.statistic in ("mean", "count")
                and r.stage == "all"
            ),
        )
        lines.append([group, regime, metric, f"{100 * error:.1f} %", str(count)])
    return lines


def load_table(rows: Sequence[ErrorRow]) -> list[list[str]]:
    """Median absolute error of the means by load, every stage of every run by itself."""
    lines = [["load, of what the server sustains", "metric", "median abs error", "p90", "mean error", "rows"]]
    staged = {row.case for row in rows if row.stage not in ("all", "")}
    runs = [r for r in rows if r.group in ("per request", "aggregate") and r.statistic == "mean"]
    alone = [r for r in runs if r.stage != "all" or r.case not in staged]
    for name, _ in BANDS:
        for metric in ("ttft", "tpot", "e2e"):
            errors = [r.error for r in alone if r.metric == metric and band(r.load) == name and np.isfinite(r.error)]
            if errors:
                size = np.abs(errors)
                lines.append([
                    name, metric, f"{100 * np.median(size):.1f} %", f"{100 * np.percentile(size, 90):.1f} %",
                    f"{100 * np.mean(errors):+.1f} %", str(len(errors)),
                ])  # fmt: skip
    return lines


def step_table(rows: Sequence[ErrorRow]) -> list[list[str]]:
    """Errors of recorded steps, one line a case and kind of step."""
    lines = [["case", "steps", "measured ms", "predicted ms", "error"]]
    for r in rows:
        if r.group == "steps":
            lines.append([r.case, r.stage, f"{r.measured:.2f}", f"{r.predicted:.2f}", f"{100 * r.error:+.1f} %"])
    return lines


def as_text(rows: Sequence[ErrorRow]) -> str:
    """The tables and the failures, in columns."""
    tables = case_table(rows), step_table(rows), summary_table(rows), load_table(rows)
    parts = [text for text in map(_columns, tables) if text]
    failures = [row for row in rows if row.metric == "failures"]
    parts += [f"{r.case}: failed requests measured {r.measured:.0f}, predicted {r.predicted:.0f}" for r in failures]
    return "\n\n".join(parts)


def _columns(lines: list[list[str]]) -> str:
    if len(lines) < 2:
        return ""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)
