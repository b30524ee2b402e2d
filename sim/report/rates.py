"""How much a second: while traffic arrived, or where nothing was finished by then, over the whole run, and said so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Rates(NamedTuple):
    """Answers a second."""

    output_tokens_per_s: float | None
    requests_per_s: float | None
    over: str
    """`` over the whole run``, or nothing."""


def shown_rates(summary: Mapping[str, Any]) -> Rates:
    """``throughput`` of ``summary``; ``throughput_total`` where no request was finished before the last one arrived (a
    burst, a short or an overloaded run), which would read as a fleet that does nothing."""
    steady, total = summary["throughput"], summary["throughput_total"]
    if not steady["requests_per_s"] and total["requests_per_s"]:
        return Rates(total["output_tokens_per_s"], total["requests_per_s"], " over the whole run")
    return Rates(steady["output_tokens_per_s"], steady["requests_per_s"], "")
