"""The decision on the page: self-host, API or hybrid over daily volume, what flips it, and what to measure first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sim.analysis.economics import Decision
from sim.analysis.ranges import DRAWS
from sim.cost.break_even import curve, flips
from sim.report.bars import Bar, bar_figure
from sim.report.chart import Chart, Series, figure
from sim.report.page import charts, paragraph, section, table
from sim.report.scale import number, tick_label


def decision_section(decisions: Sequence[Decision]) -> str:
    """A section; the dearest API is drawn, as it is the first that self-hosting can beat. Empty without a decision."""
    if not decisions:
        return ""
    shown = max(decisions, key=lambda one: one.numbers.api_usd_per_month(1.0))
    rows = [
        [
            f"{one.api.model.rpartition('/')[2]} at {one.api.provider}",
            f"${number(one.api.input_usd_per_1m)} / ${number(one.api.output_usd_per_1m)}",
            break_even_words(one),
            one.cheaper,
        ]
        for one in decisions
    ]
    return section(
        "Self-host, API or hybrid",
        paragraph(decision_sentence(shown)),
        paragraph(confidence_sentence(shown)),
        charts(_curve(shown), _tornado(shown)),
        table(
            ["the same model by the token", "US$/1M in / out", "break-even, output tokens a day", "cheaper today"],
            rows,
            text=(0, 2, 3),
        ),
        charts(_flips(shown), _screening(shown)),
        paragraph(
            f"Stated assumptions: a replica is used to {shown.numbers.utilisation:.0%} of what it delivered here, "
            f"{shown.numbers.home_share:.0%} of the traffic stays at home in the hybrid; API prices of "
            f"{shown.api.date.isoformat()} ({shown.api.source}).",
            quiet=True,
        ),
    )


def decision_sentence(one: Decision) -> str:
    """The decision in one sentence, with the number that flips it."""
    volume = one.today_tokens_per_day
    home, api = one.numbers.self_host_usd_per_month(volume), one.numbers.api_usd_per_month(volume)
    return (
        f"At {tick_label(round(volume, -6))} output tokens a day {one.cheaper} is cheaper: ${home:,.0f} a month at home, "
        f"${api:,.0f} at {one.api.provider}; break-even {break_even_words(one)}."
    )


def confidence_sentence(one: Decision) -> str:
    """How sure that is when every input may lie anywhere in its stated range, and what to measure first."""
    spread = one.spread
    never = f"; in {spread.never_share:.0%} of them no volume pays" if spread.never_share else ""
    return (
        "With every input anywhere in its stated range self-hosting is cheaper at today's volume in "
        f"{spread.home_share:.0%} of {DRAWS} draws{never}. "
        f"Measure {one.screening[0].name} first, then {one.screening[1].name}: they move the difference most."
    )


def break_even_words(one: Decision) -> str:
    """``12.3M a day (8M to 20M)``, or that there is none."""
    if one.break_even_tokens_per_day is None:
        if one.spread.low is None:
            return "at no volume: the API costs less than the machines alone"
        return f"at no volume as it stands; 90 % interval {_volume(one.spread.low)} a day to never"
    return (
        f"{_volume(one.break_even_tokens_per_day)} a day (90 % interval {_volume(one.spread.low)} to "
        f"{_volume(one.spread.high)})"
    )


def _volume(tokens: float | None) -> str:
    if tokens is None:
        return "never"
    return f"{number(tokens / 1e6)}M" if tokens else "any volume"


def _curve(one: Decision) -> str:
    anchors = [one.today_tokens_per_day, one.break_even_tokens_per_day or one.today_tokens_per_day]
    low, high = min(anchors) / 30, max(anchors) * 10
    volumes = np.geomspace(max(low, 1e4), high, 160).tolist()
    rows = curve(one.numbers, volumes)
    chart = Chart(
        "Dollars a month over daily volume",
        "output tokens a day",
        "US$ a month",
        [
            Series("self-host", volumes, [row["self_host_usd_per_month"] for row in rows], colour=0),
            Series(f"API ({one.api.provider})", volumes, [row["api_usd_per_month"] for row in rows], colour=1),
            Series("hybrid", volumes, [row["hybrid_usd_per_month"] for row in rows], colour=2),
        ],
        decision_sentence(one),
        x_log=True,
        y_log=True,
        verticals=[(one.today_tokens_per_day, "today")],
        height=300,
    )
    return figure(chart)


def _tornado(one: Decision) -> str:
    swings = one.swings
    bars = [
        Bar(
            swing.name,
            max(swing.at_low, swing.at_high),
            min(swing.at_low, swing.at_high),
            colour=index,
            text=f"{number(min(swing.at_low, swing.at_high))} to {number(max(swing.at_low, swing.at_high))}",
        )
        for index, swing in enumerate(swings)
    ]
    return bar_figure(
        "What moves the cost at home, one input at a time",
        bars,
        description="US$ per 1M output tokens with each input at the ends of its range: "
        + "; ".join(f"{bar.name} {bar.text}" for bar in bars)
        + ".",
        unit="US$ per 1M output tokens",
        centre=swings[0].base,
    )


def _screening(one: Decision) -> str:
    rows = [[found.name, number(found.mu_star), number(found.sigma)] for found in one.screening]
    return (
        "<figure><figcaption>Morris's screening: what moves US$ per 1M saved at home, all inputs together</figcaption>"
        f"{table(['input', 'mean effect', 'its spread'], rows, text=(0,))}</figure>"
    )


_WORDS = {
    "utilisation": "utilisation of a replica", "usd_per_replica_hour": "US$ per replica-hour",
    "api_output_usd_per_1m": "API US$ per 1M output tokens", "tokens_per_day": "output tokens a replica delivers a day",
    "retry_amplification": "tokens produced per token delivered", "input_per_output": "prompt tokens per output token",
    "fixed_usd_per_month": "fixed US$ a month",
}  # fmt: skip


def _flips(one: Decision) -> str:
    rows = [
        [_WORDS[flip.name], number(flip.today), number(flip.flips_at) if flip.flips_at is not None else "nothing does"]
        for flip in flips(one.numbers, one.today_tokens_per_day)
        if flip.flips_at is None or math.isfinite(flip.flips_at)
    ]
    return (
        "<figure><figcaption>What would flip it at today's volume, the rest unchanged</figcaption>"
        f"{table(['input', 'today', 'flips at'], rows, text=(0,))}</figure>"
    )
