"""Runs side by side, as text: a table that fits into 80 columns, and the same as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sim.analysis.compare import Difference
from sim.report.scale import number

_NARROW = 80
_HIDDEN = frozenset({"cost.usd_per_1m_output_tokens", "cost.usd_per_hour"})
"""Whole-run money: in the JSON; money is compared on the window of arrivals."""
_LABELS = {
    "goodput.fraction": "within SLO %", "cost.window.usd_per_1m_output_tokens": "$/1M output",
    "cost.window.usd_per_month": "$ a month", "throughput.output_tokens_per_s": "output tok/s",
    "utilisation.gpu_busy": "GPU busy %", "fleet.replicas_mean": "replicas", "fleet.gpus_mean": "GPUs",
}  # fmt: skip
HEAD = ("", "base", "this", "difference", "95 % interval", "")


def print_comparison(
    base: str, verdicts: Mapping[str, str], found: Mapping[str, Sequence[Difference]], console: Console | None = None
) -> None:
    """Verdicts, then a table for each side against ``base``."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=_NARROW)
    for name, words in verdicts.items():
        console.print(f"{escape(name)}\n  SLO {escape(words)}", highlight=False)
    for name, differing in found.items():
        table = Table(title=escape(f"{name}  against  {base}"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for place, title in enumerate(HEAD):
            table.add_column(title, justify="left" if place in (0, 5) else "right", no_wrap=place not in (0, 5))
        for cells in difference_rows(differing):
            table.add_row(*map(escape, cells))
        console.print(table)


def comparison_markdown(base: str, verdicts: Mapping[str, str], found: Mapping[str, Sequence[Difference]]) -> str:
    """The same as Markdown."""
    lines = [f"- `{name}`: SLO {words}" for name, words in verdicts.items()]
    for name, differing in found.items():
        lines += ["", f"**{name} against {base}**", "", _line(HEAD), _line(["---"] * len(HEAD))]
        lines += [_line(cells) for cells in difference_rows(differing)]
    return "\n".join(lines) + "\n"


def difference_rows(differing: Sequence[Difference]) -> Iterator[list[str]]:
    """A row of the table for each difference that is shown, in the order of ``HEAD``."""
    for one in differing:
        if one.metric in _HIDDEN:
            continue
        label, factor = label_of(one.metric)
        low, high = one.low * factor, one.high * factor
        interval = "–" if math.isnan(low) else f"{number(low)} … {number(high)}"
        change = one.difference * factor
        sign = "+" if change > 0 else ""
        yield [
            label, number(one.a * factor), number(one.b * factor), f"{sign}{number(change)}", interval, _word(one),
        ]  # fmt: skip


def label_of(metric: str) -> tuple[str, float]:
    """What a metric is called, and the factor of its unit: TPOT in ms, shares in per cent."""
    route, _, name = metric.rpartition(": ")
    where = f"{route}: " if route else ""
    if name.endswith(" share"):
        return f"{name.removesuffix(' share').replace('_', ' ')} %", 100.0
    if name in _LABELS:
        return _LABELS[name], 100.0 if _LABELS[name].endswith("%") else 1.0
    kind, percentile, *_ = name.split("_")
    return f"{where}{kind.upper()} {percentile} {'ms' if kind == 'tpot' else 's'}", 1000.0 if kind == "tpot" else 1.0


def _word(one: Difference) -> str:
    if one.significant is None:
        return "same" if one.difference == 0 else "one number"
    if one.low == one.high == 0:
        return "same"
    return one.words() if one.significant else "no sig. diff."


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
