"""What the fleet's experiments share: a scenario from overrides and a generator, and a row of its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sim.analysis import summarize
from sim.cli.compose import composed_scenario
from sim.record import Result
from sim.run import simulate
from sim.spec import Scenario, parse_scenario, scenario_to_dict
from sim.workload.timeline import load_trace


def scenario_of(overrides: Sequence[str], workload: Mapping[str, Any] | None = None, **changes: Any) -> Scenario:
    """The default configuration with ``overrides``; ``workload`` and other top-level ``changes`` as plain data."""
    scenario = composed_scenario(list(overrides))
    if workload is not None:
        changes["workload"] = dict(workload)
    if not changes:
        return scenario
    parsed = parse_scenario({**scenario_to_dict(scenario), **changes})
    return replace(scenario, **{name: getattr(parsed, name) for name in changes})


def run(scenario: Scenario) -> tuple[Result, dict[str, Any]]:
    """Simulate and summarise."""
    result = simulate(scenario, load_trace(scenario))
    return result, summarize(result)


def row(name: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that every experiment shows."""
    latency = summary["latency"]
    return {
        "case": name,
        "usd": summary["cost"]["total_usd"],
        "usd_per_1m_output_tokens": summary["cost"]["usd_per_1m_output_tokens"],
        "ttft_p95_s": latency["ttft_s"]["p95"],
        "tpot_p95_s": latency["tpot_s"]["p95"],
        "goodput_pct": 100 * summary["goodput"]["fraction"],
    }
