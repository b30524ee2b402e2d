"""The spreadsheet beside the simulation: the rate that it assumes, the rate that was simulated, and what lies between.

    spreadsheet   GPU $ per hour / (assumed tokens per second x 3600) x 1,000,000, times (1 + what stands on top)

The hourly price is this fleet's own, so that the two differ by the rate alone: the assumed one is a statement about
prompts, load and SLO that nobody made; the simulated one follows from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.cost import cost_per_1m_usd
from sim.spec import Scenario
from sim.units import HOURS_PER_MONTH, SECONDS_PER_DAY


def closed_formula(scenario: Scenario, summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """``summary["closed_formula"]``; None where no rate is assumed (``cost.assumed_tokens_per_s``) or nothing stands."""
    assumed, window = scenario.cost.assumed_tokens_per_s, summary["cost"]["window"]
    compute, month = window.get("compute_usd_per_month"), window.get("usd_per_month")
    if assumed is None or not compute or not month:
        return None
    hourly = compute / HOURS_PER_MONTH
    on_top = window["on_top_usd_per_month"] / compute
    return {
        "assumed_tokens_per_s": assumed,
        "gpu_usd_per_hour": hourly,
        "usd_per_1m_output_tokens": cost_per_1m_usd(hourly, assumed),
        "usd_per_1m_output_tokens_with_on_top": cost_per_1m_usd(hourly, assumed, on_top),
        "simulated_tokens_per_s": window["output_tokens_per_day"] / SECONDS_PER_DAY,
        "simulated_usd_per_1m_output_tokens": window["usd_per_1m_output_tokens"],
    }


def formula_words(found: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """The difference and its reasons, in two or three sentences."""
    assumed, simulated = found["assumed_tokens_per_s"], found["simulated_tokens_per_s"]
    tokens, slo, busy = summary["tokens"], summary["slo"], summary["utilisation"]
    words = (
        f"A spreadsheet that assumes {assumed:,.0f} output tokens/s at ${found['gpu_usd_per_hour']:,.2f} an hour says "
        f"${found['usd_per_1m_output_tokens']:.2f} per 1M, ${found['usd_per_1m_output_tokens_with_on_top']:.2f} with what "
        f"stands on top; simulated are {simulated:,.0f} tokens/s and ${found['simulated_usd_per_1m_output_tokens']:.2f}."
    )
    ratio = simulated / assumed
    if 0.95 <= ratio <= 1.05:
        return words + " The assumed rate holds here."
    prompts = tokens["input"] / tokens["output"] if tokens["output"] else 0.0
    tight = [
        (found_s / slo["targets"][name], name) for name, found_s in slo["attained"].items() if found_s is not None
    ]
    limit = f"; {max(tight)[1]} stands at {max(tight)[0]:.0%} of its limit" if tight else ""
    why = f" This traffic brings {prompts:.1f} prompt tokens with every output token{limit}"
    if ratio > 1:
        return f"{words}{why}. The fleet delivers {ratio:.1f} times the assumed rate, which so speaks of idle time."
    waits = busy["batch"]
    return words + why + (f", with {waits:.0%} of the batch filled on average." if waits is not None else ".")
