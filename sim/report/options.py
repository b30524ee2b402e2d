"""Options side by side: the page, the terminal's table, and Markdown; all print the same cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.markup import escape as rich_escape
from rich.table import Table

from sim.analysis.judge import verdict_words
from sim.decision import Row
from sim.decision.break_even import BreakEven
from sim.decision.table import answer_words, pace_words
from sim.report.bars import Bar, bar_figure
from sim.report.decision import volume_words
from sim.report.first_screen import gateway_words
from sim.report.frontier import percent
from sim.report.names import fleet_of, traffic_name
from sim.report.page import NOTHING, charts, page, paragraph, part, section, table
from sim.report.scale import number, usd

HEAD = (
    "option", "what", "US$ a month", "of it fixed", "US$/1M out", "US$/1M all", "TTFT p95 s", "TPOT p95 s", "E2E p95 s",
    "goodput", "to the API", "GPUs mean / peak", "SLO", "what it misses, how sure it is", "break-even, output tokens a day",
    "what flips it", "risks",
)  # fmt: skip
_PIPED = 100
_TEXT = (0, 1, 12, 13, 14, 15, 16)


def option_cells(row: Row) -> list[str]:
    """A row of the table, in the order of ``HEAD``."""
    if row.answer is None:
        return [row.name, row.kind, *["–"] * 10, "cannot run", row.reason.splitlines()[0], "–", "–", ", ".join(row.risks)]
    summary = row.answer.summary
    window, latency, fleet, requests = summary["cost"]["window"], summary["latency"], summary["fleet"], summary["requests"]
    goodput, offered = summary["goodput"]["fraction"], requests["offered"]
    verdict = summary["slo"]["verdict"]
    metrics = ("ttft_s", "tpot_s", "e2e_s")
    p95s = ["overloaded" if verdict == "overloaded" else number(latency[metric]["p95"]) for metric in metrics]
    gpus = f"{number(fleet['gpus_mean'])} / {fleet['gpus_max']}" if fleet["gpus_max"] else "none"
    return [
        row.name, what_words(row), usd(window.get("usd_per_month")), usd(window.get("fixed_usd_per_month")),
        number(window.get("usd_per_1m_output_tokens")), number(window.get("usd_per_1m_tokens")), *p95s,
        percent(math.nan if goodput is None else goodput), percent(requests["escalated"] / offered if offered else math.nan),
        gpus, verdict, verdict_words(summary["slo"], offered), *nearest_words(row),
        ", ".join(row.risks) or "–",
    ]  # fmt: skip


def what_words(row: Row) -> str:
    """``6 x l40s``; of an API its model and price."""
    scenario = row.answer.scenario if row.answer is not None else row.option.scenario
    apis = [
        f"{one.model or name} at ${number(one.input_usd_per_1m)} / ${number(one.output_usd_per_1m)}"
        for name, one in scenario.gateway.apis.items()
    ]
    if row.kind == "API":
        return ", ".join(apis)
    return " + ".join([fleet_of(scenario), *apis])


def nearest_words(row: Row) -> tuple[str, str]:
    """The break-even with the cheapest API, and what flips the cheaper of the two today."""
    if not row.break_evens:
        return "–", "–"
    found = row.break_evens[0]
    if found.tokens_per_day is None:
        return f"{found.why} (against {found.against}{f', {found.how}' if found.how else ''})", flip_words(found)
    return f"{volume_words(found.tokens_per_day)} against {found.against} ({found.how})", flip_words(found)


BREAK_EVEN_HEAD = (
    "option", "against", "break-even, output tokens a day", "of today's", "90 % interval", "how", "what flips it today",
)  # fmt: skip


def break_even_cells(rows: Sequence[Row]) -> list[list[str]]:
    """A line for each option at home and each API, in the order of ``BREAK_EVEN_HEAD``."""
    return [
        [
            row.name, found.against, break_even_words(found), _times_words(found), interval_words(found), found.how or "–",
            flip_words(found),
        ]
        for row in rows
        for found in row.break_evens
    ]  # fmt: skip


def break_even_words(found: BreakEven) -> str:
    """``27.4M``, or why there is none."""
    if found.tokens_per_day is None:
        return found.why
    return volume_words(found.tokens_per_day) + (f" ({found.why})" if found.why else "")


def _times_words(found: BreakEven) -> str:
    return "–" if found.times_today is None else f"{number(found.times_today)} x"


def interval_words(found: BreakEven) -> str:
    """``20M to 40M``."""
    if found.spread is None:
        return "–"
    low, high = ("never" if end is None else volume_words(end) for end in (found.spread.low, found.spread.high))
    return low if low == high else f"{low} to {high}"


_FLIPS = {
    "usd_per_gpu_hour": "GPU-hour at $", "replica speed": "replicas x ", "api_output_usd_per_1m": "API output at $",
    "api_input_usd_per_1m": "API prompts at $", "input_per_output": "prompt per answer token ",
    "fixed_usd_per_month": "fixed a month $",
}  # fmt: skip


def flip_words(found: BreakEven, most: int = 2) -> str:
    """The inputs that flip the cheaper of home and API with the least change, at today's volume."""
    near = sorted(
        (one for one in found.flips if one.flips_at and one.today > 0),
        key=lambda one: abs(math.log((one.flips_at or 1.0) / one.today)),
    )
    words = [f"{_FLIPS[one.name]}{number(one.flips_at)} (today {number(one.today)})" for one in near[:most]]
    return "; ".join(words) or "–"


def options_page(rows: Sequence[Row], title: str) -> str:
    """``decide.html``."""
    words, pace = answer_words(rows), pace_words(rows)
    answered = bool(rows) and rows[0].holds
    priced = [row for row in rows if math.isfinite(row.usd_per_month)]
    bars = []
    for row in priced:
        text = usd(row.usd_per_month) + ("" if row.holds else " misses the SLO")
        bars.append(Bar(row.name, row.usd_per_month, colour=2 if row.holds else 1, text=text))
    chart = bar_figure("US$ a month of each option", bars, description=words, unit="US$ a month")
    rests = [
        f"{row.name}: {row.answer.summary['requests']['offered']:,} requests of {traffic_name(row.answer.scenario)} over "
        f"{number(row.answer.summary['cost']['window'].get('window_s', math.nan) / 3600)} h stand for the month; "
        f"{gateway_words(row.answer.scenario.gateway)}{f'; {row.answer.note}' if row.answer.note else ''}."
        for row in rows
        if row.answer is not None and row.kind != "API"
    ]
    return page(
        title,
        [
            part("answer", title, answered, words, [pace] if pace else []),
            charts(chart) if bars else NOTHING,
            section("Every option", _columns(rows, _FIGURES, answered, _FOLDED)),
            section("What it misses, what flips it, what can go wrong", _columns(rows, _WORDS, answered)),
            _break_even_section(rows),
            part("rests_on", rests),
            paragraph(
                "Every option was simulated on the same traffic under the same SLO; equal fleets were sized to the fewest "
                "replicas that hold it. Months are those of the traffic simulated, repeated without a pause (730 h). API "
                "latencies are stated assumptions: no provider publishes them. An API alone is charged its calls under its "
                "contract, logs, egress and GPUs committed to; engineers and the GPU-hours of evaluation are stated for "
                "servers at home, and an option of its own may state them for an API."
            ),
        ],
    )


def _break_even_section(rows: Sequence[Row]) -> Markup:
    cells = break_even_cells(rows)
    if not cells:
        return NOTHING
    return section(
        "Break-even with each API",
        table(list(BREAK_EVEN_HEAD), cells, text=(0, 1, 2, 5, 6)),
        paragraph(
            "The volume of such traffic from which an option at home stays cheaper than the API. Equal replicas are bought "
            "one by one; a fleet of pools or one that scales is taken as it stands. The interval lets prices and overhead "
            "lie anywhere in their stated ranges, for equal replicas their speed and the prompts' length too."
        ),
    )


_FIGURES = (0, 12, 2, 4, 5, 6, 7, 8, 9, 10, 11, 3)
_FOLDED = {"US$/1M of all tokens, what is fixed": (4, 11), "what the API takes": (9,)}
"""Of the first table, by place in ``_FIGURES``: columns that show themselves when asked for."""
_WORDS = (0, 1, 13, 14, 15, 16)


def _columns(
    rows: Sequence[Row], chosen: Sequence[int], answered: bool, folded: Mapping[str, Sequence[int]] | None = None
) -> Markup:
    """A table of some columns of ``HEAD``: all of them side by side fit no screen."""
    text = [place for place, column in enumerate(chosen) if column in _TEXT]
    body = [[cells[column] for column in chosen] for cells in map(option_cells, rows)]
    return table([HEAD[column] for column in chosen], body, text=text, best=0 if answered else None, folded=folded)


def options_markdown(rows: Sequence[Row], title: str) -> str:
    """``decide.md``."""
    told = [line for line in (answer_words(rows), pace_words(rows)) if line]
    lines = [f"# {title}", "", "\n\n".join(told), "", *_table_lines(HEAD, [option_cells(row) for row in rows])]
    found = break_even_cells(rows)
    if found:
        lines += ["", "## Break-even with each API", "", *_table_lines(BREAK_EVEN_HEAD, found)]
    return "\n".join(lines) + "\n"


def _table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_line(head), _line(["---"] * len(head)), *map(_line, rows)]


def print_options(rows: Sequence[Row], console: Console | None = None) -> None:
    """The table without its widest columns, then each break-even, then the answer."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=_PIPED)
    brief = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    shown = (0, 2, 4, 6, 7, 9, 11, 12)
    titles = ("option", "$ a month", "$/1M out", "TTFT p95", "TPOT p95", "goodput", "GPUs", "SLO")
    for column, title in zip(shown, titles, strict=True):
        fold = column == 0
        brief.add_column(title, justify="left" if column in _TEXT else "right", overflow="fold", no_wrap=not fold)
    for row in rows:
        cells = option_cells(row)
        brief.add_row(*(rich_escape(cells[column]) for column in shown), style="" if row.holds else "dim")
    console.print(brief)
    for row in rows:
        cells = option_cells(row)
        if not row.holds:
            console.print(f"{row.name}: {cells[13]}", highlight=False, markup=False)
    found = break_even_cells(rows)
    if found:
        meets = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for place, title in enumerate(("option", "against", "break-even, tokens a day", "of today's", "90 % interval")):
            meets.add_column(title, justify="left" if place < 3 else "right", overflow="fold")
        for cells in found:
            meets.add_row(*map(rich_escape, cells[:5]))
        console.print(meets)
    for told in filter(None, (pace_words(rows), answer_words(rows))):
        console.print(told, highlight=False, markup=False)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
