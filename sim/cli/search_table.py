"""``search.csv``: one row a point that a job evaluated, in order."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sim.record.result import Result
from sim.report import csv_text, write_text
from sim.report.loads import LoadPoint, load_section
from sim.report.page import NOTHING
from sim.search import Point

_USD = "usd_per_1m_output_tokens"
_LAST = ("verdict", "missed", "usd_per_hour", "usd_per_1m_output_tokens", "engine_steps", "stopped_early", "part")


def write_search_table(path: Path, points: Sequence[Point]) -> None:
    """Write ``points`` to ``path``; undefined numbers (the percentiles of a run given up early) are empty."""
    targets = sorted({name for point in points for name in point.targets})
    rows: list[list[Any]] = [["replicas", "rate_scale", "seed", *targets, *_LAST, "pools"]]
    for point in points:
        readable = point.stopped_early is None and point.verdict != "overloaded"
        percentiles = [point.attained.get(name, math.nan) if readable else math.nan for name in targets]
        rows.append([
            point.replicas, point.rate_scale, point.seed, *percentiles, point.verdict, "; ".join(point.missed),
            point.usd_per_hour, point.usd_per_1m_output_tokens, point.engine_steps, point.stopped_early or "",
            point.part, " ".join(f"{name}={count}" for name, count in point.pools),
        ])  # fmt: skip
    write_text(path, csv_text(rows))


def read_search_table(path: Path) -> list[dict[str, str]]:
    """The rows of a ``search.csv``; none where the job evaluated nothing."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def load_section_of(folder: Path, result: Result, summary: Mapping[str, Any]) -> Markup:
    """The page's section of cost against load, with the points that ``search.csv`` in ``folder`` holds."""
    scenario = result.scenario
    if scenario.fleet.pools or scenario.autoscaler.kind != "none" or not result.last_arrival_s > 0:
        return NOTHING
    offered = len(result.requests) / result.last_arrival_s
    at_one = offered / scenario.workload.rate_scale
    points = [
        LoadPoint(int(row["replicas"]), at_one * float(row["rate_scale"]), float(row[_USD]), row["verdict"] == "pass")
        for row in read_search_table(folder / "search.csv")
        if row[_USD] and not row["stopped_early"] and row["verdict"] in ("pass", "fail")
    ]
    return load_section(summary, scenario.fleet.replicas, offered, points)
