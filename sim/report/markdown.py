"""The answer as Markdown: the same facts as the page, for a ticket or a pull request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sim.report.frontier import HEAD, Row, best_words, cheapest, table_row
from sim.report.rates import shown_rates
from sim.report.scale import number, usd


def frontier_markdown(rows: Sequence[Row], *, answer: str = "", notes: Sequence[str] = ()) -> str:
    """A sweep: the answer, and a table of every point."""
    best = cheapest(rows)
    sentence = answer or (
        f"Cheapest within the SLO: {best_words(best)} per 1M output tokens." if best else "Nothing meets the SLO."
    )
    lines = [f"**{_text(sentence)}**", "", _line(HEAD), _line("---" for _ in HEAD)]
    lines += [_line(table_row(row)) for row in rows]
    return "\n".join([*lines, "", *(f"- {_text(note)}" for note in notes)]).rstrip() + "\n"


def run_markdown(summary: Mapping[str, Any], title: str = "Run") -> str:
    """A run: verdict, latency, cost."""
    slo, cost = summary["slo"], summary["cost"]["window"]
    overloaded = slo["verdict"] == "overloaded"
    missed = f": {_text(slo['missed_by'])}" if slo.get("missed_by") else ""
    lines = [f"## {_text(title)}", "", f"**{slo['verdict']}**{missed}", ""]
    names = ("mean", "p50", "p90", "p95", "p99", "max")
    lines += [_line(("seconds", *names)), _line("---" for _ in range(7))]
    for metric, statistics in summary["latency"].items():
        shown = ["overloaded" if overloaded else number(statistics[name]) for name in names]
        lines.append(_line((metric.removesuffix("_s"), *shown)))
    rates = shown_rates(summary)
    lines += [
        "",
        f"- {usd(cost.get('usd_per_month'))} a month, ${number(cost.get('usd_per_1m_output_tokens'))} per 1M output tokens",
        f"- {number(rates.output_tokens_per_s)} output tokens/s{rates.over}, "
        f"{summary['requests']['completed']:,} of {summary['requests']['offered']:,} requests completed",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Any) -> str:
    return "| " + " | ".join(_text(str(cell)) for cell in cells) + " |"


def _text(words: str) -> str:
    """``words`` in one line that Markdown takes for text: names come from other people's files."""
    one_line = " ".join(words.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", one_line)
