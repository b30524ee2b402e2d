"""The first screen of a run's page: what runs on what, verdict, month, cheapest alternative, what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from markupsafe import Markup

from sim.analysis.closed_formula import formula_words
from sim.analysis.economics import Decision
from sim.analysis.judge import verdict_words
from sim.record.result import Result
from sim.report.assumptions import hourly_words, regime_badge
from sim.report.decision import decision_sentence
from sim.report.frontier import percent
from sim.report.names import fleet_of, models_of, traffic_name
from sim.report.page import part, tiles
from sim.report.rates import shown_rates
from sim.report.scale import number, usd
from sim.spec import GatewaySpec, Scenario
from sim.spec.served_fleet import served_pools


def page_title(scenario: Scenario) -> str:
    """``llama3_8b on 6 x l40s: chat_synthetic``."""
    where = "on" if scenario.has_machines else "by"
    return f"{models_of(scenario)} {where} {fleet_of(scenario)}: {traffic_name(scenario)}"


def first_screen(result: Result, summary: Mapping[str, Any], decisions: Sequence[Decision]) -> Markup:
    """Heading, verdict with its dollars, the cheapest alternative, key numbers, and what moves the answer most."""
    scenario = result.scenario
    verdict = verdict_block(summary, scenario, decision_sentence(decisions) if decisions else "")
    rests = part("rests_on", rests_on(result, decisions))
    return part("first_screen", page_title(scenario), verdict, _tiles(summary), rests)


def verdict_block(summary: Mapping[str, Any], scenario: Scenario, against: str = "") -> Markup:
    """The verdict, what it means, the bill, what stands ``against`` it and the condition that would flip it."""
    slo = summary["slo"]
    verdict = slo["verdict"]
    targets = ", ".join(f"{name} <= {limit:g}" for name, limit in slo["targets"].items()) or "no target"
    words = verdict_words(slo, summary["requests"]["offered"])
    meaning = {
        "pass": f"This fleet meets the SLO {scenario.slo.name} ({targets}), {words}.",
        "fail": f"This fleet misses the SLO {scenario.slo.name}: {slo.get('missed_by') or slo.get('stopped_early') or ''}.",
        "overloaded": "More work arrives than the fleet can serve: waiting grows to the end of the run.",
        "undecided": f"The SLO {scenario.slo.name} ({targets}): {words}.",
    }[verdict]
    formula = formula_words(summary["closed_formula"], summary) if summary.get("closed_formula") else ""
    lines = [line for line in (against, formula, flip_words(summary)) if line]
    return part("verdict", verdict, f"{meaning} {dollar_words(summary)}".strip(), lines)


def dollar_words(summary: Mapping[str, Any]) -> str:
    """``$6,001 a month, $0.402 per 1M output tokens.``; empty where nothing was priced."""
    window = summary["cost"]["window"]
    month, each = window.get("usd_per_month"), window.get("usd_per_1m_output_tokens")
    if month is None:
        return ""
    return f"{usd(month)} a month" + (f", ${number(each)} per 1M output tokens." if each is not None else ".")


def flip_words(summary: Mapping[str, Any]) -> str:
    """The tightest target and how far it is from flipping the verdict."""
    slo = summary["slo"]
    ratios = {name: found / slo["targets"][name] for name, found in slo["attained"].items() if found is not None}
    if not ratios or slo["verdict"] == "overloaded":
        return ""
    name = max(ratios, key=lambda key: ratios[key])
    metric, statistic, _ = name.rsplit(".", 1)[-1].rsplit("_", 2)
    at = f"{metric.upper()} {statistic} at {number(slo['attained'][name])} s of {slo['targets'][name]:g} s"
    if slo["holds"]:
        return f"What flips it first: {at}, {percent(1 - ratios[name])} of headroom left."
    if ratios[name] > 1:
        return f"What must change: {at}, {percent(ratios[name] - 1)} over its limit."
    return f"Latency holds ({at}); too many requests are lost."


def _tiles(summary: Mapping[str, Any]) -> Markup:
    latency, window, requests = summary["latency"], summary["cost"]["window"], summary["requests"]
    overloaded = summary["slo"]["verdict"] == "overloaded"

    def p95(metric: str) -> str:
        return "overloaded" if overloaded else f"{number(latency[metric]['p95'])} s"

    goodput, fleet, rates = summary["goodput"]["fraction"], summary["fleet"], shown_rates(summary)
    gpus = [
        (percent(summary["utilisation"]["gpu_busy"] or 0.0), "GPU busy"),
        (number(fleet["gpus_mean"]), f"GPUs on average, {fleet['gpus_max']} at most"),
    ]
    return tiles(
        [
            (usd(window.get("usd_per_month")), "a month of this traffic"),
            (f"${number(window.get('usd_per_1m_output_tokens'))}", "per 1M output tokens"),
            (p95("ttft_s"), "TTFT p95"),
            (p95("tpot_s"), "TPOT p95"),
            (number(rates.output_tokens_per_s), f"output tokens/s{rates.over}"),
            (percent(goodput) if goodput is not None else "–", f"of {requests['offered']:,} requests within the SLO"),
            *(gpus if fleet["gpus_max"] else []),
        ]
    )


def rests_on(result: Result, decisions: Sequence[Decision]) -> list[str]:
    """What moves the answer most, one line each."""
    scenario = result.scenario
    lines = []
    found = decisions[0].other_volumes if decisions else None
    if found is not None:
        swings = "; ".join(
            f"{one.name} {usd(min(one.at_low, one.at_high))} to {usd(max(one.at_low, one.at_high))} a month"
            for one in found.swings[:3]
        )
        lines.append(f"The month at home over the stated range of one input each: {swings}.")
    lines += [
        *price_lines(scenario),
        f"{len(result.requests):,} requests over {number(result.last_arrival_s / 3600)} h stand for the month.",
        regime_badge(scenario) if scenario.has_machines else "",
        f"Gateway: {gateway_words(scenario.gateway)}.",
    ]
    return [line for line in lines if line]


def price_lines(scenario: Scenario) -> list[str]:
    """What a GPU-hour costs, where machines may stand, and what each API asks; with source and date."""
    pools = served_pools(scenario) if scenario.has_machines else ()
    prices = {pool.gpu.name: pool.gpu.price for pool in pools}
    return [
        f"{name} at {hourly_words(price)} ({price.source}, {price.date or 'undated'})."
        for name, price in prices.items()
    ] + [
        f"{name} at ${number(api.input_usd_per_1m)} in, ${number(api.output_usd_per_1m)} out per 1M tokens "
        f"({api.source or 'stated in the configuration'}, {api.date or 'undated'})."
        for name, api in scenario.gateway.apis.items()
    ]


def gateway_words(gateway: GatewaySpec) -> str:
    """The policies that are not the defaults, as the configuration names them; the router always."""
    plain, words = type(gateway)(), [f"router {gateway.router.kind}"]
    for field in fields(gateway):
        value = getattr(gateway, field.name)
        if field.name not in ("name", "router") and value != getattr(plain, field.name):
            words.append(f"{field.name} {_brief(value)}")
    return ", ".join(words) + (", nothing else" if len(words) == 1 else "")


def _brief(value: Any) -> str:
    if is_dataclass(value):
        kind = getattr(value, "kind", None) or getattr(value, "stage", None)
        return str(kind) if kind is not None else "on"
    if isinstance(value, Mapping):
        return "+".join(map(str, value))
    if isinstance(value, tuple | list):
        return "+".join(_brief(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
