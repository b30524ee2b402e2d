"""``report.html`` of one run: the verdict for who decides, the pictures and tables for who digs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from sim.analysis import CostNode, month
from sim.analysis.attribution import tail_attribution, why_words
from sim.analysis.by_label import by_label
from sim.analysis.economics import Decision, decide
from sim.analysis.handovers import handover_words
from sim.analysis.intervals import Interval, slo_intervals
from sim.analysis.notes import notes_of
from sim.columns import where
from sim.record.result import Result
from sim.report.assumptions import assumptions, regime_badge
from sim.report.bars import Bar, bar_figure
from sim.report.chart import Chart, Series, figure
from sim.report.decision import decision_section
from sim.report.energy_words import energy_words
from sim.report.first_screen import first_screen, page_title
from sim.report.fleet_sizes import fleet_sizes
from sim.report.labels import label_section
from sim.report.page import NOTHING, captioned, charts, page, paragraph, section, table
from sim.report.scale import number
from sim.report.time_charts import time_charts
from sim.spec import Scenario


def run_page(
    result: Result, summary: Mapping[str, Any], tree: CostNode, *, extra: Markup = NOTHING,
    command: str = "servecap decide", decisions: Sequence[Decision] | None = None,
) -> str:
    """The page of a run. ``extra`` is HTML of a further section (cost against load: only a search knows more than one);
    ``command`` finds the capacity of what ran; ``decisions`` are those of ``decide``, where they are known already."""
    scenario = result.scenario
    return page(
        page_title(scenario),
        run_parts(result, summary, tree, extra=extra, command=command, decisions=decisions),
        f"Simulated {result.end_s:,.0f} s with {result.engine_steps:,} engine steps, seed {scenario.seed}. "
        "Percentiles are linear-interpolated over answered requests; TTFT from the client's send, queue and retries "
        "included; TPOT without the first token.",
        over_time=True,
    )


def run_parts(
    result: Result, summary: Mapping[str, Any], tree: CostNode, *, extra: Markup = NOTHING,
    command: str = "servecap decide", decisions: Sequence[Decision] | None = None,
) -> list[Markup]:
    """What ``run_page`` shows, as HTML: the first screen, then section by section."""
    scenario = result.scenario
    decisions = decide(scenario, summary) if decisions is None else decisions
    return [
        first_screen(result, summary, decisions),
        decision_section(decisions, command),
        section("Where the dollars go", charts(_cost_figure(tree), _month_table(tree, month(result)))),
        section("Perfect, configured, static", fleet_sizes(summary)),
        extra,
        section("Latency", _latency(result, summary), _handovers(summary)),
        section("The run over time", time_charts(result), _energy(summary)),
        section("Why the tail waits", _why(summary), _tail(result)),
        section("By route and tenant", _labels(result, summary)),
        section("What happened", *(paragraph(note) for note in notes_of(result)), _events(result)),
        section("Assumptions", assumptions(result), _regime(scenario)),
    ]


def _regime(scenario: Scenario) -> Markup:
    return paragraph(regime_badge(scenario), quiet=True) if scenario.has_machines else NOTHING


def _energy(summary: Mapping[str, Any]) -> Markup:
    words = energy_words(summary.get("energy"))
    return paragraph(f"Energy: {words}.") if words else NOTHING


def leaves(node: CostNode, prefix: str = "") -> list[tuple[str, float]]:
    """The nodes worth a bar: children of busy, the other parts of compute, and what stands beside compute."""
    found = []
    for child in node.children:
        if child.name in ("compute", "busy"):
            found += leaves(child, child.name)
        else:
            found.append((child.name, child.usd))
    return found


def _cost_figure(tree: CostNode) -> Markup:
    parts = [(name, usd) for name, usd in leaves(tree) if usd > 0]
    total = tree.usd or 1.0
    bars = [
        Bar(name, usd / total * 100, colour=index % 8, text=f"{usd / total:.1%}") for index, (name, usd) in enumerate(parts)
    ]
    words = ", ".join(f"{name} {usd / total:.0%}" for name, usd in parts)
    return bar_figure(
        f"Share of the bill of ${number(tree.usd)}",
        bars,
        description=f"Shares of the bill: {words}.",
        unit="% of the bill",
    )


def _month_table(tree: CostNode, monthly: CostNode) -> Markup:
    then = dict(leaves(monthly))
    rows = [[name, f"{dollars:,.2f}", f"{then[name]:,.2f}"] for name, dollars in leaves(tree)]
    rows.append(["total", f"{tree.usd:,.2f}", f"{monthly.usd:,.2f}"])
    body = table(["", "this run, US$", "a month of it, US$"], rows, text=(0,), best=len(rows) - 1)
    caption = "The bill: of this run to its last answer, and of a month (730 h) in which its traffic repeats without a pause"
    return captioned(caption, body)


def _latency(result: Result, summary: Mapping[str, Any]) -> Markup:
    overloaded = summary["slo"]["verdict"] == "overloaded"
    rows = []
    for metric, statistics in summary["latency"].items():
        cells = ["overloaded"] * 6 if overloaded else [number(found) for found in statistics.values()]
        rows.append([metric.removesuffix("_s").upper() if metric != "queue_s" else "queue", *cells])
    slo = summary["slo"]
    intervals = {} if overloaded else slo_intervals(result)
    checks = [
        [
            name,
            f"{limit:g}",
            "overloaded" if overloaded else number(slo["attained"][name]),
            _between(intervals.get(name)),
            _word(slo["met"][name]),
        ]
        for name, limit in slo["targets"].items()
    ]
    distribution = NOTHING if overloaded or result.requests.empty else figure(_distribution(result), table=False)
    return charts(
        table(["seconds", "mean", "p50", "p90", "p95", "p99", "max"], rows, text=(0,))
        + table(["SLO target", "limit, s", "attained, s", "95 % interval", ""], checks, text=(0, 4)),
        distribution,
    )


def _between(interval: Interval | None) -> str:
    return f"{number(interval.low)} to {number(interval.high)}" if interval and interval.low == interval.low else "–"


def _word(met: bool) -> str:
    return "pass" if met else "fail"


def _distribution(result: Result) -> Chart:
    levels = np.concatenate([np.linspace(0.01, 0.95, 48), np.linspace(0.955, 0.999, 24)])
    series = []
    for index, metric in enumerate(("ttft_s", "e2e_s")):
        values = result.requests[metric].to_numpy(dtype=float)
        values = where(values > 0, values)
        if len(values):
            series.append(
                Series(metric[:-2].upper(), np.quantile(values, levels).tolist(), (levels * 100).tolist(), colour=index)
            )
    return Chart(
        "Share of requests answered within",
        "seconds",
        "% of requests",
        series,
        "Cumulative distribution of the time to the first token and of the whole answer.",
        x_log=True,
        limits=[(95.0, "p95")],
    )


def _handovers(summary: Mapping[str, Any]) -> Markup:
    found = summary.get("disaggregation")
    return paragraph(f"{handover_words(found)}.") if found else NOTHING


def _why(summary: Mapping[str, Any]) -> Markup:
    causes = summary.get("why_missed")
    words = f"What the slowest 5 % waited for where a target was missed: {why_words(causes)}." if causes else ""
    return paragraph(words) if words else NOTHING


def _tail(result: Result) -> Markup:
    causes = tail_attribution(result)
    if not causes:
        return NOTHING
    bars = [Bar(name, share * 100, colour=index, text=f"{share:.0%}") for index, (name, share) in enumerate(causes.items())]
    words = ", ".join(f"{name} {share:.0%}" for name, share in causes.items())
    return charts(
        bar_figure(
            "Where the slowest 5 % of first tokens spent their wait",
            bars,
            description=f"Causes of the tail: {words}.",
            unit="% of the tail's waiting time",
        )
    )


def _labels(result: Result, summary: Mapping[str, Any]) -> Markup:
    features = by_label(result, "feature")
    return (
        label_section("route", summary.get("by_route") or {})
        + label_section("feature", features)
        + label_section("tenant", summary.get("by_tenant") or {})
    )


def _events(result: Result, most: int = 60) -> Markup:
    if not result.events:
        return NOTHING
    rows = [
        [f"{event.get('time_s', 0.0):,.1f}", str(event.get("event", "")), str(event.get("cause", ""))]
        for event in result.events[:most]
    ]
    left = len(result.events) - most
    more = paragraph(f"and {left:,} more in events.jsonl", quiet=True) if left > 0 else NOTHING
    return table(["time, s", "event", "cause"], rows, text=(1, 2)) + more
