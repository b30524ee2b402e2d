"""The frontier of a sweep: cost and p95 against batch size, with the point where the SLO says stop.

Each row is one batch size on one pool of GPUs. The curve is what one replica costs per million output tokens at the
highest load it sustains within the SLO (continuous in the load); a dot is the fewest whole replicas that hold the SLO
at the load that was asked for. Where no fleet holds it the row has no dot, and the batch size is shaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from sim.report.chart import Chart, Mark, Series, figure
from sim.report.page import NOTHING, charts, page, paragraph, part, section, table
from sim.report.scale import number

Row = Mapping[str, Any]

USD_AXIS = "US$ per 1M output tokens"
_PERCENTILES = ("p50", "p95", "p99")
_POOLING = (
    "Dots can lie below the curve: several replicas behind one router share their bursts, which one replica alone must "
    "hold room for. They lie above it where whole replicas leave some of the last one unused."
)


def value(row: Row, key: str) -> float:
    """A number of a row, NaN when it is missing or undefined; ``a.b`` looks into nested dicts or finds the flat key."""
    found: Any = row.get(key)
    if found is None and "." in key:
        head, rest = key.split(".", 1)
        inner = row.get(head)
        return value(inner, rest) if isinstance(inner, Mapping) else math.nan
    try:
        return float(found) if found is not None and found != "" else math.nan
    except (TypeError, ValueError):
        return math.nan


def passes(row: Row) -> bool:
    """True when the row's fleet meets the SLO."""
    return bool(row.get("holds", row.get("verdict") == "pass"))


def cheapest(rows: Sequence[Row]) -> Row | None:
    """The row that answers the question: the cheapest that passes. Within 0.5 % it is a tie, which goes to the smaller
    batch size."""
    priced = [row for row in rows if passes(row) and math.isfinite(value(row, "usd_per_1m_output_tokens"))]
    least = min((value(row, "usd_per_1m_output_tokens") for row in priced), default=math.nan)
    tied = [row for row in priced if value(row, "usd_per_1m_output_tokens") <= least * 1.005]
    return min(tied, key=lambda row: (value(row, "max_num_seqs"), value(row, "usd_per_1m_output_tokens")), default=None)


def latency_text(row: Row, key: str) -> str:
    """A latency in seconds, or ``overloaded`` where a percentile would only measure the length of the run."""
    return "overloaded" if row.get("verdict") == "overloaded" else number(value(row, key))


def pool_name(row: Row) -> str:
    """How a row's pool is called in pictures."""
    return str(row.get("gpu") or "fleet")


def _pools(rows: Sequence[Row]) -> dict[str, list[Row]]:
    pools: dict[str, list[Row]] = {}
    for row in rows:
        if math.isfinite(value(row, "max_num_seqs")):
            pools.setdefault(pool_name(row), []).append(row)
    return {name: sorted(group, key=lambda row: value(row, "max_num_seqs")) for name, group in pools.items()}


def cost_chart(rows: Sequence[Row], best: Row | None = None) -> Chart:
    """The hero picture: cost against batch size, curve and dots, the stop point ringed."""
    best = best or cheapest(rows)
    pools = _pools(rows)
    series: list[Series] = []
    for index, (pool, group) in enumerate(pools.items()):
        name = f"{pool}: " if len(pools) > 1 else ""
        caps = [value(row, "max_num_seqs") for row in group]
        curve = [value(row, "one_replica_usd_per_1m_output_tokens") for row in group]
        if any(map(math.isfinite, curve)):
            series.append(Series(f"{name}one replica at its highest load within the SLO", caps, curve, colour=index))
        held = [row for row in group if passes(row)]
        series.append(
            Series(
                f"{name}fewest whole replicas at the load asked for",
                [value(row, "max_num_seqs") for row in held],
                [value(row, "usd_per_1m_output_tokens") for row in held],
                kind="dots",
                colour=index,
                labels=[f"{value(row, 'replicas'):.0f}" for row in held],
            )
        )
    marks = []
    if best is not None:
        cost = value(best, "usd_per_1m_output_tokens")
        marks.append(Mark(value(best, "max_num_seqs"), cost, f"stop here: {best_words(best)}"))
    caps = sorted({value(row, "max_num_seqs") for group in pools.values() for row in group})
    missed = [cap for cap in caps if not any(passes(row) for row in rows if value(row, "max_num_seqs") == cap)]
    bands = [(cap / 2**0.3, cap * 2**0.3, "SLO missed" if cap == missed[0] else "") for cap in missed]
    words = f" The cheapest is {best_words(best)}." if best is not None else " No fleet that was allowed meets the SLO."
    return Chart(
        "Cost against batch size: fill the batch until p95 says stop",
        "max_num_seqs (batch size)",
        USD_AXIS,
        series,
        f"Cost per million output tokens at batch sizes {', '.join(f'{cap:.0f}' for cap in caps)}.{words}",
        x_log=True,
        x_ticks=caps,
        bands=bands,
        marks=marks,
        height=320,
    )


def best_words(row: Row) -> str:
    """The chosen point in a few words."""
    count = value(row, "replicas")
    fleet = row.get("fleet") or (f"{count:.0f} × {pool_name(row)}" if math.isfinite(count) else pool_name(row))
    return f"{value(row, 'max_num_seqs'):.0f} on {fleet}, ${number(value(row, 'usd_per_1m_output_tokens'))}"


def p95_chart(rows: Sequence[Row], targets: Mapping[str, float]) -> Chart:
    """p95 against batch size as shares of the SLO, whose line stands at 1."""
    best = cheapest(rows)
    group = _pools(rows).get(pool_name(best) if best else "") or next(iter(_pools(rows).values()), [])
    group = [row for row in group if row.get("verdict") != "overloaded"]
    caps = [value(row, "max_num_seqs") for row in group]
    series = []
    for index, (target, limit) in enumerate(targets.items()):
        words = f"{target.rsplit('_', 2)[0].upper()} {target.rsplit('_', 2)[1]}"
        shares = [value(row, target) / limit for row in group]
        if any(map(math.isfinite, shares)):
            series.append(Series(f"{words} / {limit:g} s", caps, shares, colour=index))
    return Chart(
        "p95 against batch size: waiting falls, tokens slow down",
        "max_num_seqs (batch size)",
        "share of the SLO's limit",
        series,
        "Latency percentiles at the fewest replicas of each batch size, divided by their limits; above 1 is a miss.",
        x_log=True,
        x_ticks=caps,
        limits=[(1.0, "SLO")],
    )


def load_chart(rows: Sequence[Row]) -> Chart:
    """What one replica sustains within the SLO, requests per second, against batch size."""
    series = []
    for index, (pool, group) in enumerate(_pools(rows).items()):
        rates = [value(row, "one_replica_load.requests_per_s") for row in group]
        if any(map(math.isfinite, rates)):
            series.append(Series(pool, [value(row, "max_num_seqs") for row in group], rates, colour=index))
    return Chart(
        "The most that one replica sustains within the SLO",
        "max_num_seqs (batch size)",
        "requests per second",
        series,
        "The highest arrival rate at which one replica still meets the SLO, by batch size.",
        x_log=True,
        x_ticks=sorted({x for one in series for x in one.x}),
    )


def pareto_chart(rows: Sequence[Row]) -> Chart:
    """Cost against TTFT p95 of every cell that meets the SLO, the Pareto set joined, its knee ringed."""
    held = [row for row in rows if passes(row) and math.isfinite(value(row, "ttft_p95_s"))]
    chosen = sorted((row for row in held if row.get("pareto")), key=lambda row: value(row, "ttft_p95_s"))
    series = [
        Series(
            "no other is cheaper and faster", [value(row, "ttft_p95_s") for row in chosen],
            [value(row, "usd_per_1m_output_tokens") for row in chosen], colour=0,
        ),
        Series(
            "meets the SLO", [value(row, "ttft_p95_s") for row in held],
            [value(row, "usd_per_1m_output_tokens") for row in held], kind="dots", colour=2,
        ),
    ]  # fmt: skip
    marks = [
        Mark(value(row, "ttft_p95_s"), value(row, "usd_per_1m_output_tokens"), f"knee: {best_words(row)}")
        for row in chosen
        if row.get("knee")
    ]
    bend = marks[0].text if marks else "no knee: none of the set lies below the line between its ends"
    return Chart(
        f"Cost against TTFT p95 over all cells ({bend})", "TTFT p95, s", USD_AXIS, series,
        f"{len(chosen)} of {len(held)} cells that meet the SLO are beaten by none in both cost and TTFT p95.",
        x_log=True, marks=marks,
    )  # fmt: skip


HEAD = (
    "GPU", "batch", "replicas", *(f"{metric} {p} s" for metric in ("TTFT", "TPOT", "E2E") for p in _PERCENTILES),
    "out tok/s", "GPU busy", "batch full", "KV full", "tok / SLO tok", "US$/1M out", "one replica req/s",
    "its US$/1M out", "SLO", "missed by", "why",
)  # fmt: skip

_FOLDED = {
    "p50 and p99": [place for place, name in enumerate(HEAD) if name.endswith((" p50 s", " p99 s"))],
    "how full": [HEAD.index(name) for name in ("GPU busy", "batch full", "KV full", "tok / SLO tok")],
    "one replica at its highest load": [HEAD.index(name) for name in ("one replica req/s", "its US$/1M out")],
    "why": [HEAD.index("why")],
}
"""Columns that show themselves when asked for: all of them side by side fit no screen."""


def table_row(row: Row) -> list[str]:
    """A row of the sweep's table, as text, in the order of ``HEAD``."""
    latency = [
        latency_text(row, f"{metric}_{percentile}_s") for metric in ("ttft", "tpot", "e2e") for percentile in _PERCENTILES
    ]
    shares = [percent(value(row, f"utilisation.{name}")) for name in ("gpu_busy", "batch", "kv", "token")]
    return [
        pool_name(row), number(value(row, "max_num_seqs")), number(value(row, "replicas")), *latency,
        number(value(row, "output_tokens_per_s")), *shares, number(value(row, "usd_per_1m_output_tokens")),
        number(value(row, "one_replica_load.requests_per_s")),
        number(value(row, "one_replica_usd_per_1m_output_tokens")),
        str(row.get("verdict") or "cannot run"), str(row.get("missed_by") or row.get("reason") or ""),
        str(row.get("why_missed") or ""),
    ]  # fmt: skip


def percent(share: float) -> str:
    """A share as a percentage, an en dash when undefined."""
    return f"{share:.0%}" if math.isfinite(share) else "–"


def frontier_html(
    rows: Sequence[Row],
    *,
    title: str = "Which batch size, how many replicas, at what cost",
    answer: str = "",
    against: str = "",
    targets: Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
    extra: Markup = NOTHING,
) -> str:
    """The sweep's page: the answer, the hero picture, p95 against the SLO, and every row.

    Args:
        rows: one dict a job: ``max_num_seqs gpu replicas ttft_p50_s ... usd_per_1m_output_tokens verdict missed_by
            one_replica_load one_replica_usd_per_1m_output_tokens reason``; what is missing is shown as undefined.
        title: the page's heading.
        answer: the answer in one sentence; made from the cheapest row when empty.
        against: what stands against the answer, in one sentence: the cheapest API.
        targets: the SLO's limits by name (``ttft_p95_s``), seconds.
        notes: assumptions to state below (prices with date and source, the trace).
        extra: HTML of a further section: the answer beside the APIs.
    """
    best = cheapest(rows)
    sentence = answer or (
        f"The cheapest that meets the SLO: {best_words(best)} per 1M output tokens." if best else
        "Nothing that was allowed meets the SLO."
    )  # fmt: skip
    place = next((index for index, row in enumerate(rows) if row is best), None)
    figures = []
    if _pools(rows):
        figures.append(figure(cost_chart(rows, best)))
        if targets:
            figures.append(figure(p95_chart(rows, targets)))
        if sum(bool(row.get("pareto")) for row in rows) > 1:
            figures.append(figure(pareto_chart(rows)))
        load = load_chart(rows)
        if load.series:
            figures.append(figure(load))
    return page(
        title,
        [
            part("answer", title, best is not None, sentence, [against] if against else []),
            charts(*figures),
            paragraph(_POOLING, quiet=True) if figures else NOTHING,
            extra,
            section("Every point", table(HEAD, map(table_row, rows), text=(0, 20, 21, 22), best=place, folded=_FOLDED)),
            section("Assumptions", *(paragraph(note, quiet=True) for note in notes)),
        ],
        "Percentiles are linear-interpolated over answered requests; TTFT from the client's send, queue included; TPOT "
        "without the first token. US$ per 1M output tokens = the bill without the tail after the last arrival / output "
        "tokens delivered.",
    )
