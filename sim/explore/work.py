"""What a worker process does: a question about a scenario in, everything that the page shows out.

Every figure and picture is what a run's page shows (``sim.report.run_page``): nothing is computed here that a run folder
does not say likewise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sim.analysis import price
from sim.cli.compose import composed_scenario
from sim.cli.job import decide_command, how_to_solve, solve_and_write
from sim.cli.scenario import digest_of
from sim.errors import ConfigError, SimError
from sim.report.chart import Chart, Series, figure
from sim.report.first_screen import page_title
from sim.report.frontier import USD_AXIS
from sim.report.names import traffic_name
from sim.report.page import charts, paragraph, section
from sim.report.rates import shown_rates
from sim.report.run_page import run_parts
from sim.report.scale import number, usd
from sim.run.asked_of_traffic import check_asked_of_traffic
from sim.search import Answer, Point, ScenarioEvaluator, Solve, solve
from sim.search.caps import DEFAULT_CAPS
from sim.spec import Scenario, scenario_to_dict

How = Literal["preview", "whole", "replicas", "around", "folder"]

PREVIEW_REQUESTS = 400
"""Requests of a preview: a few hundred milliseconds on any machine."""
AROUND_REQUESTS = 2_000
"""Requests of each point around a scenario."""
_LOADS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class Question:
    """What is asked: the overrides of a run, and what to do with the scenario that they make.

    ``preview``: its first requests alone; ``whole``: all of it; ``replicas``: the fewest replicas that meet the SLO;
    ``around``: cost and p95 against batch size and load; ``folder``: the whole, written as a run folder.
    """

    overrides: tuple[str, ...]
    how: How
    folder: str = ""
    """Where a run folder goes."""


def answered(question: Question) -> dict[str, Any]:
    """What the page shows of ``question``, as JSON data.

    Raises:
        SimError: the scenario is illegal or cannot run; the message is for the user.
    """
    scenario = composed_scenario(question.overrides)
    if scenario.decide.enabled:
        raise ConfigError("decide.enabled: options side by side are a command of their own: servecap decide")
    check_asked_of_traffic(scenario)
    match question.how:
        case "preview":
            return _told(question, _first_of(scenario, PREVIEW_REQUESTS), "none")
        case "whole":
            return _told(question, scenario, how_to_solve(scenario, multirun=False, axes=()))
        case "replicas":
            return _told(question, scenario, "replicas")
        case "around":
            return _around(scenario)
        case "folder":
            return _folder(question, scenario)


def _first_of(scenario: Scenario, requests: int) -> Scenario:
    limit = scenario.workload.limit
    most = requests if limit is None else min(limit, requests)
    return replace(scenario, workload=replace(scenario.workload, limit=most))


def _told(question: Question, scenario: Scenario, how: Solve) -> dict[str, Any]:
    found = solve(scenario, how, ScenarioEvaluator(scenario))
    parts = run_parts(found.result, found.summary, price(found.result), command=decide_command(question.overrides))
    requests = len(found.result.requests)
    cut = question.how == "preview" and requests == PREVIEW_REQUESTS
    return {
        "title": page_title(found.scenario),
        "traffic": traffic_name(found.scenario),
        "requests": requests,
        "cut": cut,
        "solved": _solved(found),
        "verdict": found.summary["slo"]["verdict"],
        "holds": bool(found.summary["slo"]["holds"]),
        "html": "".join(parts),
        "facts": facts(found.summary),
        "values": _flat(scenario_to_dict(found.scenario)),
    }


def _solved(found: Answer) -> str:
    if found.solve == "none":
        return ""
    if not found.feasible:
        return f"Nothing that was allowed meets the SLO; the nearest miss is shown. {found.note}".strip()
    return f"The fewest replicas that meet the SLO: {found.point.replicas}." if found.solve == "replicas" else found.note


def facts(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers that two scenarios are compared by: name, value (null: undefined) and how it is written."""
    window, latency, slo = summary["cost"]["window"], summary["latency"], summary["slo"]
    overloaded = slo["verdict"] == "overloaded"
    goodput = summary["goodput"]["fraction"]
    rows: list[tuple[str, float | None, str]] = [
        ("US$ a month", window.get("usd_per_month"), usd(window.get("usd_per_month"))),
        ("US$ per 1M output tokens", each := window.get("usd_per_1m_output_tokens"), number(_or_nan(each))),
    ]
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        found = None if overloaded else latency[metric]["p95"]
        rows.append((f"{metric[:-2].upper()} p95, s", found, "overloaded" if overloaded else number(_or_nan(found))))
    rows += [
        ("within the SLO, %", None if goodput is None else 100 * goodput, number(100 * _or_nan(goodput))),
        ("output tokens a second", rate := shown_rates(summary).output_tokens_per_s, number(_or_nan(rate))),
        ("GPUs on average", gpus := summary["fleet"]["gpus_mean"], number(_or_nan(gpus))),
        ("GPU busy, %", busy := 100 * (summary["utilisation"]["gpu_busy"] or 0.0), number(busy)),
    ]
    return [{"name": name, "value": value, "text": text} for name, value, text in rows]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _flat(data: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in data.items():
        where = f"{place}.{key}" if place else key
        if isinstance(value, Mapping):
            found |= _flat(value, where)
        elif not isinstance(value, list | tuple):
            found[where] = value
    return found


def _around(scenario: Scenario) -> dict[str, Any]:
    """Cost and p95 at other batch sizes and other loads, on the first requests of the trace."""
    base = _first_of(scenario, AROUND_REQUESTS)
    base = replace(base, search=replace(base.search, early_stop=False, replications=1))
    here = ScenarioEvaluator(base)
    replicas, load = max(base.fleet.replicas, 1), here.scenario.workload.rate_scale
    caps, loads = [], []
    for cap in DEFAULT_CAPS:
        sized = ScenarioEvaluator(replace(base, engine=replace(base.engine, max_num_seqs=cap)))
        caps.append((float(cap), _tried(sized, replicas, load)))
    for factor in _LOADS:
        loads.append((factor, _tried(here, replicas, load * factor)))
    drawn = [
        _shares("p95 against batch size", "max_num_seqs (batch size)", _points(caps), x_log=True),
        _shares("p95 against load", "times the load asked for", _points(loads)),
        _cost("Cost against load", "times the load asked for", _points(loads)),
    ]
    words = (
        f"Each point replays the first {AROUND_REQUESTS:,} requests on the fleet as it is; `servecap size` finds the fewest "
        "replicas for each batch size on all of them. No value: overloaded."
    )
    return {"html": section("Against batch size and load", charts(*map(figure, drawn)), paragraph(words, quiet=True))}


def _tried(evaluate: ScenarioEvaluator, replicas: int, load: float) -> Point | None:
    try:
        return evaluate(replicas=replicas, rate_scale=load)
    except SimError:  # a batch that this GPU cannot hold: no point, not an error
        return None


def _points(tried: Sequence[tuple[float, Point | None]]) -> list[tuple[float, Point]]:
    return [(at, point) for at, point in tried if point is not None]


def _shares(title: str, x_label: str, points: Sequence[tuple[float, Point]], *, x_log: bool = False) -> Chart:
    """Each target's percentile as a share of its limit."""
    at = [x for x, _ in points]
    series = []
    for index, (name, limit) in enumerate(points[0][1].targets.items() if points else ()):
        found = [math.nan if p.verdict == "overloaded" else p.attained.get(name, math.nan) / limit for _, p in points]
        series.append(Series(f"{name} / {limit:g} s", at, found, colour=index))
    held = [f"{x:g}" for x, point in points if point.holds]
    words = f"The SLO is met at {', '.join(held)}." if held else "The SLO is met nowhere."
    ticks = at if x_log else ()
    return Chart(
        title, x_label, "share of the SLO's limit", series, words, x_log=x_log, x_ticks=ticks, limits=[(1.0, "SLO")]
    )


def _cost(title: str, x_label: str, points: Sequence[tuple[float, Point]]) -> Chart:
    at, found = [x for x, _ in points], [point.usd_per_1m_output_tokens for _, point in points]
    words = f"From ${number(found[0])} at {at[0]:g} to ${number(found[-1])} at {at[-1]:g}." if found else "No point ran."
    return Chart(title, x_label, USD_AXIS, [Series("cost", at, found)], words)


def _folder(question: Question, scenario: Scenario) -> dict[str, Any]:
    how = how_to_solve(scenario, multirun=False, axes=())
    solve_and_write(scenario, how, Path(question.folder), question.overrides, digest_of(scenario))
    return {"folder": question.folder}
