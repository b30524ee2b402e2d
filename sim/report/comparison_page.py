"""``servecap compare --html``: the sides, what is set differently in them, and what that changes, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from sim.analysis.compare import Difference
from sim.report.bars import Bar, bar_figure
from sim.report.chart import Chart, Series, figure
from sim.report.comparison import HEAD, difference_rows, label_of
from sim.report.frontier import percent
from sim.report.names import fleet_of, traffic_name
from sim.report.page import NOTHING, captioned, charts, page, paragraph, part, section, table
from sim.report.scale import number, usd
from sim.spec import Scenario, scenario_to_dict

_SIDES = (
    "side", "SLO", "runs on", "US$ a month", "US$/1M out", "TTFT p95 s", "TPOT p95 s", "E2E p95 s", "within SLO",
)  # fmt: skip
_WORDS_ONLY = ("name", "source", "description", "notes", "date")
"""What names and explains a setting, and does nothing."""
_MOST_SETTINGS = 40


@dataclass(frozen=True)
class Compared:
    """One side as the page shows it."""

    name: str
    scenario: Scenario
    summary: Mapping[str, Any]
    """Of the first seed, as the table of requests."""
    requests: pd.DataFrame
    verdict: str
    """In words."""


def comparison_page(stated: Sequence[Compared], found: Mapping[str, Sequence[Difference]]) -> str:
    """The page; ``found``: the differences of every other side against the first, by name."""
    names, shared = short_names([side.name for side in stated])
    sides = [replace(side, name=names[side.name]) for side in stated]
    base = sides[0]
    title = f"{len(sides)} sides on {' and '.join(sorted({traffic_name(side.scenario) for side in sides}))}"
    verdicts = [f"{side.name}: {side.verdict}" for side in sides]
    against = [_against(base.name, names[name], differing) for name, differing in found.items()]
    return page(
        title,
        [
            part("compared", title, verdicts),
            paragraph(f"All sides: {shared}.", quiet=True) if shared else NOTHING,
            section("The sides", table(_SIDES, map(_cells, sides), text=(0, 1, 2)), _settings(sides)),
            section("How long requests take", charts(*map(figure, _distributions(sides)))),
            *against,
        ],
        f"Differences are against {base.name}. Runs of the same arrivals are compared request by request; an interval is of "
        "95 % and leaves zero out where a difference is significant. Money and throughput are one number a run: they have "
        "an interval where several seeds were run. Months are those of the traffic simulated, repeated without a pause "
        "(730 h).",
    )


def short_names(names: Sequence[str]) -> tuple[dict[str, str], str]:
    """What tells sets of overrides apart, by name, and the words that all of them share."""
    words = [name.split() for name in names]
    shared = [word for word in words[0] if "=" in word and all(word in other for other in words)]
    short = {name: " ".join(word for word in own if word not in shared) for name, own in zip(names, words, strict=True)}
    return {name: found or "as configured" for name, found in short.items()}, " ".join(shared)


def _cells(side: Compared) -> list[str]:
    summary = side.summary
    window, latency, verdict = summary["cost"]["window"], summary["latency"], summary["slo"]["verdict"]
    good = summary["goodput"]["fraction"]
    p95s = [number(latency[metric]["p95"]) for metric in ("ttft_s", "tpot_s", "e2e_s")]
    return [
        side.name, verdict, fleet_of(side.scenario), usd(window.get("usd_per_month")),
        number(window.get("usd_per_1m_output_tokens")), *(["overloaded"] * 3 if verdict == "overloaded" else p95s),
        percent(math.nan if good is None else good),
    ]  # fmt: skip


def _settings(sides: Sequence[Compared]) -> Markup:
    """The keys whose values are not the same on all sides."""
    values = [dict(_flat(scenario_to_dict(side.scenario))) for side in sides]
    every = dict.fromkeys(key for each in values for key in each)
    keys = [key for key in every if len({each.get(key) for each in values}) > 1]
    if not keys:
        return paragraph("Every setting is the same on all sides.")
    rows = [[key, *(each.get(key, "–") for each in values)] for key in keys[:_MOST_SETTINGS]]
    left = len(keys) - _MOST_SETTINGS
    more = paragraph(f"and {left} further keys", quiet=True) if left > 0 else NOTHING
    head = ["set differently", *(side.name for side in sides)]
    return table(head, rows, text=range(len(head))) + more


def _flat(data: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        where = f"{place}.{key}" if place else key
        if isinstance(value, Mapping):
            yield from _flat(value, where)
        elif key not in _WORDS_ONLY:
            yield where, "–" if value is None else str(value)


def _distributions(sides: Sequence[Compared]) -> Iterator[Chart]:
    levels = np.concatenate([np.linspace(0.01, 0.95, 48), np.linspace(0.955, 0.999, 24)])
    for metric, words in (("ttft_s", "first token"), ("e2e_s", "whole answer")):
        series = []
        for colour, side in enumerate(sides):
            values = side.requests[metric].dropna().to_numpy(dtype=float)
            values = values[values > 0]
            if len(values):
                at = np.quantile(values, levels).tolist()
                series.append(Series(side.name, at, (levels * 100).tolist(), colour=colour % 8))
        if series:
            yield Chart(
                f"Share of answered requests whose {words} came within", "seconds", "% of requests", series,
                f"Cumulative distribution of the time to the {words}, by side.", x_log=True, limits=[(95.0, "p95")],
            )  # fmt: skip


def _against(base: str, name: str, differing: Sequence[Difference]) -> Markup:
    return section(
        f"{name} against {base}",
        paragraph(_sentence(differing)),
        charts(_intervals(differing), captioned("Every figure", table(HEAD, difference_rows(differing), text=(0, 5)))),
    )


def _sentence(differing: Sequence[Difference]) -> str:
    """What is lower, higher, and how many differences are none."""
    parts = []
    judged = [one for one in differing if one.significant is not None]
    for way in ("lower", "higher"):
        told = [f"{label_of(one.metric)[0]} ({_change(one)})" for one in judged if one.significant and one.words() == way]
        parts += [f"Significantly {way}: {', '.join(told)}."] if told else []
    none = sum(not one.significant for one in judged)
    parts += [f"{none} of {len(judged)} differences are not significant."] if none else []
    return " ".join(parts) or "No difference here has an interval."


def _change(one: Difference) -> str:
    return f"{one.difference / one.a:+.0%}" if one.a and math.isfinite(one.difference) else "–"


def _intervals(differing: Sequence[Difference]) -> Markup:
    """The intervals as shares of what the first side has: a bar that leaves the line is a significant difference."""
    bars = []
    for one in differing:
        if one.significant is None or not one.a or one.low == one.high or ":" in one.metric:
            continue
        low, high = sorted((100 * one.low / one.a, 100 * one.high / one.a))
        colour = (2 if one.words() == "lower" else 1) if one.significant else 6
        bars.append(Bar(label_of(one.metric)[0], high, low, colour, f"{_change(one)} ({number(low)} to {number(high)} %)"))
    if not bars:
        return NOTHING
    words = "; ".join(f"{bar.name} {bar.text}" for bar in bars)
    return bar_figure(
        "The differences with their intervals of 95 %", bars, description=f"{words}.", unit="% of the first side", centre=0.0
    )
