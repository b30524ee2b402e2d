"""The decision on the page: this fleet's bill beside every API, the volumes at which it turns, what to measure first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from sim.analysis.economics import Decision, OtherVolumes
from sim.analysis.ranges import DRAWS
from sim.cost.break_even import curve, flips
from sim.report.bars import Bar, bar_figure
from sim.report.chart import Chart, Series, figure
from sim.report.page import NOTHING, captioned, charts, paragraph, section, table
from sim.report.scale import number, tick_label, usd

_CURVES = 3
"""So many APIs are drawn, the cheapest first; the table has them all."""


def decision_section(decisions: Sequence[Decision], command: str = "servecap decide") -> Markup:
    """A section, whose sentence (``decision_sentence``) stands on the page's first screen; empty without a decision.
    ``command`` is what finds the capacity where none was searched."""
    if not decisions:
        return NOTHING
    at_home, found = decisions[0].at_home, decisions[0].other_volumes
    head = ["by the token", "US$/1M in / out", "US$ a month"]
    head += ["break-even, output tokens a day", "cheaper today"] if at_home else ["of today's bill"]
    rows = [
        [api_name(one), _price_words(one), usd(one.api_usd_per_month)]
        + ([break_even_words(one), one.cheaper] if at_home else [f"{1 - saved_share(one):.0%}"])
        for one in decisions
    ]
    parts = [table(head, rows, text=(0, 3, 4) if at_home else (0,))]
    if found is None:
        parts.append(paragraph(no_capacity_sentence(command, at_home)))
    else:
        parts += [
            paragraph(confidence_sentence(decisions[0], found)),
            charts(_curve(decisions), _tornado(found)),
            charts(_flips(decisions[0], found), _screening(found)),
            paragraph(_capacity_words(found), quiet=True),
        ]
    title = "Self-host or API" if at_home else "Which API"
    return section(title, *parts, paragraph(_source_words(decisions), quiet=True))


def api_name(one: Decision) -> str:
    """``llama-3.1-8b-instant at groq``."""
    models = " + ".join(model.rpartition("/")[2] for model in one.model.split(" + "))
    return f"{models} at {one.name}"


def _price_words(one: Decision) -> str:
    listed = " + ".join(f"${number(api.input_usd_per_1m)} / ${number(api.output_usd_per_1m)}" for api in one.apis)
    return listed + (", its contract's terms" if any(api.has_terms for api in one.apis) else "")


def decision_sentence(decisions: Sequence[Decision]) -> str:
    """The bill against the cheapest API at this traffic, in one or two sentences."""
    one = decisions[0]
    home, api = usd(one.home_usd_per_month), usd(one.api_usd_per_month)
    volume = f"{volume_words(one.today_tokens_per_day)} output tokens a day"
    if one.cheaper == "neither":
        verdict = "they cost the same within half a percent"
    else:
        verdict = f"{one.cheaper} is cheaper" if one.at_home else f"{saved_share(one):.0%} less"
    whose = "This fleet's" if one.at_home else "The API's"
    sentence = (
        f"{whose} bill is {home} a month for {volume}; the cheapest API that sells the model or is stated, "
        f"{api_name(one)}, asks {api} for the same tokens: {verdict}."
    )
    if not one.holds and one.at_home:
        sentence += " This fleet does not meet the SLO: as it stands it is no alternative, whatever it costs."
    if one.other_volumes is not None:
        sentence += f" Break-even {break_even_words(one)}."
    return sentence


def saved_share(one: Decision) -> float:
    """What the API asks less than the bill, as a share of the bill."""
    return 1 - one.api_usd_per_month / one.home_usd_per_month


def no_capacity_sentence(command: str, at_home: bool = True) -> str:
    """Why there is no break-even, and the command that finds it."""
    if not at_home:
        return f"No machine stands at home: `{command}` sizes a fleet, and finds its break-even with each API."
    return (
        "No break-even is shown: other volumes need the load that each number of replicas sustains within the SLO, and this "
        f"run searched none. `{command}` simulates it."
    )


def confidence_sentence(one: Decision, found: OtherVolumes) -> str:
    """How sure that is when every input may lie anywhere in its stated range, and what to measure first."""
    never = f"; in {found.spread.never_share:.0%} of them no volume pays" if found.spread.never_share else ""
    return (
        f"Against {one.name}, with every input anywhere in its stated range, self-hosting is cheaper at today's "
        f"volume in {found.spread.home_share:.0%} of {DRAWS} draws{never}. "
        f"Measure {found.screening[0].name} first, then {found.screening[1].name}: they move the difference most."
    )


def break_even_words(one: Decision) -> str:
    """``12.3M a day (8M to 20M)``, that there is none, or that nobody searched."""
    found = one.other_volumes
    if found is None:
        return "not searched"
    low, high = found.spread.low, found.spread.high
    if found.break_even_tokens_per_day is None:
        if low is None:
            return "at no volume: the API costs less than the machines alone"
        return f"at no volume as it stands; 90 % interval {volume_words(low)} a day to never"
    until = "never" if high is None else volume_words(high)
    return f"{volume_words(found.break_even_tokens_per_day)} a day (90 % interval {volume_words(low or 0.0)} to {until})"


def volume_words(tokens: float) -> str:
    """``27.4M``: tokens for people."""
    return f"{number(tokens / 1e6)}M" if tokens < 1e9 else tick_label(float(f"{tokens:.3g}"))


def _capacity_words(found: OtherVolumes) -> str:
    counts = ", ".join(map(str, found.simulated))
    return (
        f"What replicas carry within the SLO was simulated for {counts} of them, on this traffic with its bursts and "
        "prompts; for other counts it is a closed form between these (the headroom of n replicas grows with the root of n)."
    )


def _source_words(decisions: Sequence[Decision]) -> str:
    days = sorted({api.date or "no day stated" for one in decisions for api in one.apis})
    sources = sorted({api.source or "stated in the configuration" for one in decisions for api in one.apis})
    either_way = decisions[0].either_way_usd_per_month
    beside = f" {usd(either_way)} of each month are paid whoever answers (logs, egress, commitments)." if either_way else ""
    return (
        f"API prices as listed on {', '.join(days)} ({'; '.join(sources)}), with what a stated contract adds or takes off; "
        f"rate limits are left out. The months are those of the traffic simulated, repeated without a pause (730 h).{beside}"
    )


def _curve(decisions: Sequence[Decision]) -> Markup:
    shown = [one for one in decisions if one.other_volumes is not None][:_CURVES]
    first = shown[0].other_volumes
    assert first is not None
    anchors = [one.today_tokens_per_day for one in shown]
    anchors += [
        one.other_volumes.break_even_tokens_per_day
        for one in shown
        if one.other_volumes is not None and one.other_volumes.break_even_tokens_per_day
    ]
    volumes = np.geomspace(max(min(anchors) / 30, 1e4), max(anchors) * 10, 160).tolist()
    series = [Series("self-host", volumes, [r["self_host_usd_per_month"] for r in curve(first.numbers, volumes)], colour=0)]
    for colour, one in enumerate(shown, start=1):
        assert one.other_volumes is not None
        rows = curve(one.other_volumes.numbers, volumes)
        series.append(Series(f"API ({one.name})", volumes, [r["api_usd_per_month"] for r in rows], colour=colour))
    chart = Chart(
        "Dollars a month over daily volume",
        "output tokens a day",
        "US$ a month",
        series,
        decision_sentence(decisions),
        x_log=True,
        y_log=True,
        verticals=[(shown[0].today_tokens_per_day, "today")],
        height=300,
    )
    return figure(chart)


def _tornado(found: OtherVolumes) -> Markup:
    swings = found.swings
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
        "What moves the month at home, one input at a time",
        bars,
        description="US$ a month at today's volume with each input at the ends of its range: "
        + "; ".join(f"{bar.name} {bar.text}" for bar in bars)
        + ".",
        unit="US$ a month",
        centre=swings[0].base,
    )


def _screening(found: OtherVolumes) -> Markup:
    rows = [[one.name, number(one.mu_star), number(one.sigma)] for one in found.screening]
    caption = "Morris's screening: what moves US$ a month saved at home, all inputs together"
    return captioned(caption, table(["input", "mean effect", "its spread"], rows, text=(0,)))


_WORDS = {
    "usd_per_gpu_hour": "US$ per GPU-hour", "replica speed": "replicas so many times as fast",
    "api_output_usd_per_1m": "API US$ per 1M output tokens", "api_input_usd_per_1m": "API US$ per 1M prompt tokens",
    "input_per_output": "prompt tokens per output token", "fixed_usd_per_month": "fixed US$ a month",
}  # fmt: skip


def _flips(one: Decision, found: OtherVolumes) -> Markup:
    rows = [
        [_WORDS[flip.name], number(flip.today), number(flip.flips_at) if flip.flips_at is not None else "nothing does"]
        for flip in flips(found.numbers, one.today_tokens_per_day)
        if flip.flips_at is None or math.isfinite(flip.flips_at)
    ]
    caption = f"What would flip it against {one.name} at today's volume, the rest unchanged"
    return captioned(caption, table(["input", "today", "flips at"], rows, text=(0,)))
