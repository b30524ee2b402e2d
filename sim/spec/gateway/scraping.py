"""How often a gateway reads its replicas' metrics."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

_SHORTEST_S = 0.001


def _check(period_s: float) -> float:
    if 0 < period_s < _SHORTEST_S:
        raise ValueError(f"a scraping period is 0 (the numbers of now) or at least {_SHORTEST_S} s, but got {period_s!r}")
    return period_s


ScrapePeriod = Annotated[float, Field(ge=0, json_schema_extra={"legal": f"0 | >= {_SHORTEST_S}"}), AfterValidator(_check)]
"""Seconds; 0 = numbers are read at the moment they are asked for."""
