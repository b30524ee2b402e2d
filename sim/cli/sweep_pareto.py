"""Cost against p95 over all cells of a sweep, whatever its axes: which cells no other beats, and the knee."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sim.search.pareto import knee, pareto_set

LATENCY = "ttft_p95_s"


def with_pareto(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """``rows`` of the page with ``pareto`` (in the set) and ``knee``; only cells that meet the SLO compete."""
    points = [point_of(row) for row in rows]
    chosen = pareto_set(points)
    best = knee(points, chosen)
    return [row | {"pareto": i in chosen, "knee": i == best} for i, row in enumerate(rows)]


def point_of(row: Mapping[str, Any]) -> tuple[float, float]:
    """US$ per 1M output tokens and TTFT p95 of a row; infinite where it does not compete."""
    usd, p95 = row.get("usd_per_1m_output_tokens"), row.get(LATENCY)
    if not row.get("holds") or usd is None or p95 is None:
        return (math.inf, math.inf)
    return (float(usd), float(p95))


def pareto_facts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``answer.json``'s ``pareto``: the set by cost, the knee marked."""
    found = [
        {
            "job": row["job"], "overrides": list(row["overrides"]), "replicas": row["replicas"],
            "usd_per_1m_output_tokens": row["usd_per_1m_output_tokens"], LATENCY: row[LATENCY], "knee": row["knee"],
        }
        for row in rows
        if row.get("pareto")
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one["usd_per_1m_output_tokens"], one[LATENCY]))
