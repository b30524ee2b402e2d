"""What the terminal shows: the frontier of a sweep and the summary of a run, as tables of rich."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sim.analysis.attribution import why_words
from sim.analysis.closed_formula import formula_words
from sim.analysis.handovers import handover_words
from sim.analysis.judge import verdict_words
from sim.report.energy_words import energy_words
from sim.report.fleet_sizes import monthly_fleets
from sim.report.frontier import Row, cheapest, passes, percent, pool_name, value
from sim.report.labels import label_cells
from sim.report.rates import shown_rates
from sim.report.scale import number, usd
from sim.workload.trace import left_out_sentences

_WIDE_COLUMNS = 130
_STYLES = {"pass": "green", "fail": "red", "overloaded": "red", "undecided": "yellow"}


def frontier_table(rows: Sequence[Row], *, wide: bool = True) -> Table:
    """One line a row; the cheapest that passes is bold. ``wide`` shows p50 / p95 / p99 and the utilisations, otherwise
    p95 alone, which fits into 100 columns."""
    best = cheapest(rows)
    several_pools = len({pool_name(row) for row in rows}) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=(0, 1))
    if several_pools:
        table.add_column("pool", overflow="fold")
    which = "p50/95/99" if wide else "p95"
    names = [
        "batch", "repl.", f"TTFT s\n{which}", f"TPOT ms\n{which}", f"E2E s\n{which}", "out\ntok/s",
        *(["busy/batch/\nKV/token %"] if wide else []), "$ per 1M\nout tok", "1 repl.\nreq/s", "1 repl.\n$/1M out",
    ]  # fmt: skip
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("SLO", overflow="fold", min_width=10)
    for row in rows:
        verdict = str(row.get("verdict") or "cannot run")
        why = str(row.get("missed_by") or row.get("reason") or "") if not passes(row) else ""
        colour = _STYLES.get(verdict, "yellow")
        shares = "/".join(_bare(value(row, f"utilisation.{name}")) for name in ("gpu_busy", "batch", "kv", "token"))
        cells = [
            number(value(row, "max_num_seqs")), number(value(row, "replicas")),
            *(_percentiles(row, metric, scale, wide) for metric, scale in (("ttft", 1), ("tpot", 1000), ("e2e", 1))),
            number(value(row, "output_tokens_per_s")), *([shares] if wide else []),
            number(value(row, "usd_per_1m_output_tokens")), number(value(row, "one_replica_load.requests_per_s")),
            number(value(row, "one_replica_usd_per_1m_output_tokens")),
            f"[{colour}]{verdict}[/]" + (f": {escape(why)}" if why else ""),
        ]  # fmt: skip
        table.add_row(*([escape(pool_name(row))] if several_pools else []), *cells, style="bold" if row is best else "")
    return table


def _percentiles(row: Row, metric: str, scale: float, wide: bool) -> str:
    if row.get("verdict") == "overloaded":
        return "overloaded"
    names = ("p50", "p95", "p99") if wide else ("p95",)
    return "/".join(number(value(row, f"{metric}_{name}_s") * scale, 2 if wide else 3) for name in names)


def _bare(share: float) -> str:
    return percent(share).removesuffix("%")


def print_frontier_table(rows: Sequence[Row], console: Console | None = None) -> None:
    """Print ``frontier_table``: wide where there is room, and always wide into a file or a pipe."""
    console = console or Console()
    if not console.is_terminal and console.width < _WIDE_COLUMNS:
        console = Console(file=console.file, width=_WIDE_COLUMNS + 30)
    console.print(frontier_table(rows, wide=console.width >= _WIDE_COLUMNS))


def print_run_summary(summary: Mapping[str, Any], console: Console | None = None, *, against: str = "") -> None:
    """Print what a run's summary says, on one screen, and what stands ``against`` its bill."""
    console = console or Console()
    verdict = summary["slo"]["verdict"]
    why = verdict_words(summary["slo"], summary["requests"]["offered"])
    requests, cost, rates = summary["requests"], summary["cost"]["window"], shown_rates(summary)
    latency = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)  # seven columns fit into 80
    for name in ("s", "mean", "p50", "p90", "p95", "p99", "max"):
        latency.add_column(name, justify="left" if name == "s" else "right", no_wrap=True)
    for metric, statistics in summary["latency"].items():
        label = metric.removesuffix("_s").upper() if metric != "queue_s" else "queue"
        shown = ["overloaded"] * 6 if verdict == "overloaded" else [number(found) for found in statistics.values()]
        latency.add_row(label, *shown)
    console.print(latency)
    lost = {name: count for name, count in requests.items() if name not in ("offered", "completed") and count}
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim")
    facts.add_column()
    facts.add_row(
        "requests",
        f"{requests['offered']:,} offered, {requests['completed']:,} completed"
        + "".join(f", {count:,} {name.replace('_', ' ')}" for name, count in lost.items()),
    )
    for sentence in left_out_sentences(summary.get("left_out") or {}):
        facts.add_row("traffic", escape(sentence))
    facts.add_row(
        "throughput",
        f"{number(rates.output_tokens_per_s)} output tokens/s, {number(rates.requests_per_s)} requests/s{rates.over}",
    )
    shares = summary["utilisation"]
    if summary.get("disaggregation"):
        facts.add_row("hand-overs", handover_words(summary["disaggregation"]))
    if summary["fleet"]["gpus_max"]:
        facts.add_row(
            "utilisation",
            ", ".join(
                f"{label} {percent(value(shares, name))}"
                for name, label in (("gpu_busy", "GPU busy"), ("batch", "batch"), ("kv", "KV"), ("token", "token"))
            ),
        )
    facts.add_row(
        "cost",
        f"{usd(cost.get('usd_per_month'))} a month, ${number(cost.get('usd_per_hour'))} an hour, "
        f"${number(cost.get('usd_per_1m_output_tokens'))} per 1M output tokens, "
        f"${number(cost.get('usd_per_1m_tokens'))} per 1M tokens",
    )
    if against:
        facts.add_row("against APIs", escape(against))
    drawn = energy_words(summary.get("energy"))
    if drawn:
        facts.add_row("energy", drawn)
    fleets = monthly_fleets(summary)
    if fleets is not None:
        facts.add_row(
            "GPUs a month",
            f"{usd(fleets.perfect)} perfect, {usd(fleets.configured)} this fleet"
            + (f", {usd(fleets.static_peak)} static at the peak" if math.isfinite(fleets.static_peak) else ""),
        )
    facts.add_row("SLO", f"[{_STYLES.get(verdict, '')}]{verdict}[/]" + (f": {why}" if why else ""))
    for note in summary["slo"].get("notes") or []:
        facts.add_row("note", escape(note))
    if summary.get("closed_formula"):
        facts.add_row("closed formula", formula_words(summary["closed_formula"], summary))
    if summary.get("why_missed"):
        facts.add_row("why", why_words(summary["why_missed"]))
    console.print(facts)
    for label in ("route", "tenant"):
        rows = summary.get(f"by_{label}") or {}
        if len(rows) > 1:
            console.print(label_table(label, rows))


def label_table(label: str, rows: Mapping[str, Mapping[str, Any]], most: int = 12) -> Table:
    """A line a route or tenant, dearest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(label, overflow="fold")
    for name in ("requests", "in SLO", "TTFT p95 s", "TPOT p95 s", "busy US$"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, row in list(rows.items())[:most]:
        table.add_row(escape(name), *label_cells(row)[:5])
    if len(rows) > most:
        table.add_row(f"and {len(rows) - most} more", *[""] * 5)
    return table
