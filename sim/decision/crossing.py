"""What a search for a break-even comes back with."""

from __future__ import annotations

from typing import NamedTuple


class Crossing(NamedTuple):
    """A volume in output tokens a day, or why there is none."""

    tokens_per_day: float | None
    why: str = ""
    how: str = "simulated"
    """Or ``closed form``."""
    replicas: int | None = None
    """At home there."""
