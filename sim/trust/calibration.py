"""``Calibration``: what a fit found, how well it is known, and what is not known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.trust.rivals import TOO_WIDE, CapacityRange, Deciding


@dataclass(frozen=True)
class Calibration:
    """Fitted multipliers, how well they are known, and what they explain."""

    multipliers: dict[str, float]
    interval_95: dict[str, tuple[float, float]]
    """The values that the data do not rule out, the others fitted again; 0 and inf where no end was found. Those held by
    the user are not listed."""
    errors_before: dict[str, float]
    """Predicted / measured - 1 of mean TTFT, TPOT and E2E with every multiplier 1."""
    errors_after: dict[str, float]
    requests: int
    load_goes_on: bool
    """Whether the data are explained better if the load went on after the last request of a file."""
    anchored: bool = False
    """One multiplier for the whole step: the data say how fast the server is at their load, not why."""
    kept_at_1: tuple[str, ...] = ()
    """Multipliers that stay at 1 because the data do not rule that out."""
    capacity: tuple[CapacityRange, ...] = ()
    """What an engine sustains, over all explanations that stand; the data's own lengths first."""
    decides: Deciding | None = None
    """What to measure to tell these explanations apart; None where all say nearly the same."""
    replays: int = 0

    @property
    def unknown(self) -> list[str]:
        """Multipliers that the data do not contain: neither end of their interval was found."""
        return [name for name, (low, high) in self.interval_95.items() if low == 0.0 and math.isinf(high)]

    @property
    def ambiguous(self) -> bool:
        """Whether explanations stand that differ in what an engine sustains."""
        return any(each.high > TOO_WIDE * each.low for each in self.capacity)
