"""What routes, features and tenants got, as text; page and terminal print the same cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from sim.report.frontier import percent
from sim.report.page import NOTHING, paragraph, table
from sim.report.scale import number

_MOST = 30


def label_cells(row: Mapping[str, Any]) -> list[str]:
    """Requests, share within the SLO, TTFT and TPOT p95, dollars of the busy share, and those per 1M output tokens."""
    good, latency = row["goodput"]["fraction"], row["latency"]
    return [
        f"{row['requests']['offered']:,}",
        percent(math.nan if good is None else good),
        number(latency["ttft_s"]["p95"]),
        number(latency["tpot_s"]["p95"]),
        number(row["usd"]),
        number(row["usd_per_1m_output_tokens"]),
    ]


def label_section(label: str, rows: Mapping[str, Mapping[str, Any]]) -> Markup:
    """A table of one label, dearest first; empty for fewer than two values."""
    if len(rows) < 2:
        return NOTHING
    head = [label, "requests", "within SLO", "TTFT p95 s", "TPOT p95 s", "busy US$", "busy US$/1M out"]
    body = [[name, *label_cells(row)] for name, row in list(rows.items())[:_MOST]]
    more = paragraph(f"and {len(rows) - _MOST} more in summary.json") if len(rows) > _MOST else NOTHING
    return table(head, body, text=(0,)) + more
