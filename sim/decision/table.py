"""The table of options: one row each, with the figures that its own run's page, terminal and files show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sim.analysis.economics import TIE, api_bills
from sim.analysis.judge import verdict_words
from sim.cost.api_terms import ApiMonth
from sim.decision.break_even import BreakEven, find_break_evens
from sim.decision.options import Kind, Option
from sim.errors import SimError
from sim.search import Answer, ScenarioEvaluator, Solve, prefill_and_decode, solve
from sim.spec import Scenario
from sim.watch import watch_of_this_job

P95S = ("ttft_s", "tpot_s", "e2e_s")


@dataclass(frozen=True)
class Row:
    """One option, sized and priced; ``answer`` is None for one that cannot run (``reason`` says why)."""

    option: Option
    answer: Answer | None
    reason: str = ""
    risks: tuple[str, ...] = ()
    break_evens: tuple[BreakEven, ...] = ()
    """With each API, the cheapest first; none for an API, and where no API is compared."""

    @property
    def name(self) -> str:
        """The option's."""
        return self.option.name

    @property
    def kind(self) -> Kind:
        """Who answers."""
        return self.option.kind

    @property
    def holds(self) -> bool:
        """Whether the SLO is met."""
        return self.answer is not None and self.answer.point.holds

    @property
    def usd_per_month(self) -> float:
        """The bill of a month of this traffic; NaN where nothing ran."""
        if self.answer is None:
            return math.nan
        usd = self.answer.summary["cost"]["window"].get("usd_per_month")
        return math.nan if usd is None else float(usd)

    def as_dict(self) -> dict[str, Any]:
        """For ``decide.json``: figures under the names of ``summary.json``."""
        facts: dict[str, Any] = {
            "name": self.name, "kind": self.kind, "reason": self.reason, "risks": list(self.risks),
            "meets_slo": self.holds,
        }  # fmt: skip
        if self.answer is None:
            return facts
        summary, scenario = self.answer.summary, self.answer.scenario
        window, requests = summary["cost"]["window"], summary["requests"]
        return facts | {
            "fleet": {
                pool: {"gpu": (one.gpu or scenario.gpu).name, "replicas": one.replicas, "market": one.market}
                for pool, one in scenario.fleet.all_pools().items()
                if one.replicas or scenario.has_machines
            },
            "usd_per_month": window.get("usd_per_month"),
            "usd_per_1m_output_tokens": window.get("usd_per_1m_output_tokens"),
            "usd_per_1m_tokens": window.get("usd_per_1m_tokens"),
            "fixed_usd_per_month": window.get("fixed_usd_per_month"),
            "on_top_usd_per_month": window.get("on_top_usd_per_month"),
            "by_volume_usd_per_month": window.get("by_volume_usd_per_month"),
            "compute_usd_per_month": window.get("compute_usd_per_month"),
            "either_way_usd_per_month": window.get("either_way_usd_per_month"),
            "output_tokens_per_day": window.get("output_tokens_per_day"),
            **{f"{metric[:-2]}_p95_s": summary["latency"][metric]["p95"] for metric in P95S},
            "goodput_fraction": summary["goodput"]["fraction"],
            "escalated_fraction": requests["escalated"] / requests["offered"] if requests["offered"] else None,
            "verdict": summary["slo"]["verdict"],
            "verdict_words": verdict_words(summary["slo"], requests["offered"]),
            "missed_by": summary["slo"]["missed_by"],
            "claim": summary["slo"]["claim"],
            "note": self.answer.note,
            "gpus_mean": summary["fleet"]["gpus_mean"],
            "gpus_max": summary["fleet"]["gpus_max"],
            "replicas": self.answer.point.replicas,
            "break_evens": [one.as_dict() for one in self.break_evens],
        }


def decide_options(options: Sequence[Option], on_row: Callable[[Row], None] = lambda row: None) -> list[Row]:
    """Every option sized and priced, then each that stands at home set against each API; cheapest first, those that
    miss the SLO after those that meet it."""
    solved = []
    for number, option in enumerate(options, start=1):
        watch_of_this_job().part = f"option {number} of {len(options)}, {option.name}"
        evaluate = ScenarioEvaluator(option.scenario)
        try:
            answer = solve(option.scenario, how_to_size(option.scenario), evaluate)
            row = Row(option, answer, risks=risks_of(option.scenario))
        except SimError as error:
            row = Row(option, None, str(error))
        solved.append((row, evaluate))
        on_row(row)
    apis = api_rows([row for row, _ in solved])
    rows = []
    for row, evaluate in solved:
        watch_of_this_job().part = f"break-even of {row.name}"
        rows.append(_with_break_evens(row, evaluate, apis))
    return sorted(rows, key=lambda row: (not row.holds, row.usd_per_month if math.isfinite(row.usd_per_month) else math.inf))


def how_to_size(scenario: Scenario) -> Solve:
    """An equal, static fleet is sized, and one of a prefill and a decode pool; what scales by itself, has other pools or no
    machine runs as it stands."""
    pools = scenario.fleet.all_pools().values()
    scaled = any(scenario.scales(pool) for pool in pools)
    mixed = bool(scenario.fleet.pools) and prefill_and_decode(scenario) is None
    if mixed or scaled or not scenario.has_machines or scenario.search.solve == "none":
        return "none"
    return "replicas"


def risks_of(scenario: Scenario) -> tuple[str, ...]:
    """What can go wrong that the dollars do not show."""
    found, pools = [], scenario.fleet.all_pools()
    if any(pool.market == "spot" for pool in pools.values()) and scenario.has_machines:
        hazard = scenario.spot.hazard is not None or any(p.spot is not None and p.spot.hazard for p in pools.values())
        found.append("spot: replicas are taken" if hazard else "spot price without evictions")
    if scenario.has_machines and all(len(pool.zones) < 2 for pool in pools.values()):
        found.append("one zone")
    if scenario.gateway.apis and len(scenario.gateway.apis) == 1:
        found.append("one provider")
    return tuple(found)


def api_rows(rows: Sequence[Row]) -> list[Row]:
    """The APIs alone that ran, cheapest first, those that miss the SLO after the others."""
    apis = [row for row in rows if row.kind == "API" and row.answer is not None and row.usd_per_month > 0]
    return sorted(apis, key=lambda row: (not row.holds, row.usd_per_month))


def month_of(answer: Answer) -> ApiMonth:
    """What an API alone billed, as a month that can be asked of other volumes."""
    window = answer.summary["cost"]["window"]
    bills = api_bills(answer.scenario, window)
    return ApiMonth(bills, by_volume_usd=window["either_way_usd_per_month"], fixed_usd=window["fixed_usd_per_month"])


def _with_break_evens(row: Row, evaluate: ScenarioEvaluator, apis: Sequence[Row]) -> Row:
    if row.answer is None or row.kind == "API":
        return row
    months = [
        (api.name.removeprefix("API "), month_of(api.answer))
        for api in apis
        if api.answer is not None and api.option.stands_for in (None, row.option.models)
    ]
    return replace(row, break_evens=find_break_evens(row.answer, evaluate, months))


def pace_words(rows: Sequence[Row]) -> str:
    """That the months repeat runs of different lengths; empty where all repeat the same window of arrivals. A burst that is
    over before half of its work is done has no other month (``sim.analysis.cost_tree.window_s``)."""
    windows = [row.answer.summary["cost"]["window"].get("window_s") for row in rows if row.answer is not None]
    known = [float(window) for window in windows if window]
    if not known or max(known) <= min(known) * (1 + TIE):
        return ""
    return (
        "The trace is over before half of its work is done, so each option's month repeats its own run "
        f"({min(known):.3g} to {max(known):.3g} s) and the months hold different numbers of requests: compare dollars per "
        "1M tokens, or give a longer trace."
    )


def answer_words(rows: Sequence[Row]) -> str:
    """The decision in one sentence."""
    holding = [row for row in rows if row.holds]
    if not holding:
        return "No option meets the SLO."
    best = holding[0]
    tied = [row.name for row in holding[1:] if row.usd_per_month <= best.usd_per_month * (1 + TIE)]
    words = f"Cheapest within the SLO: {best.name}, ${best.usd_per_month:,.2f} a month"
    if tied:
        words += f" (a tie within {TIE:.1%}: {', '.join(tied)})"
    other = next((row for row in holding if row.kind != best.kind), None)
    if other is not None:
        more = other.usd_per_month / best.usd_per_month - 1 if best.usd_per_month > 0 else math.inf
        words += f"; the cheapest {other.kind} option, {other.name}, costs ${other.usd_per_month:,.2f} ({more:+.0%})"
    failing = [row.name for row in rows if not row.holds and row.usd_per_month < best.usd_per_month]
    if failing:
        words += f"; cheaper but missing the SLO: {', '.join(failing)}"
    return words + "."

