"""``Calibration``: what a fit found, how well it is known, what is not known, and the words for it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from sim.trust.known_servers import KNOWN, SPREAD
from sim.trust.rivals import TOO_WIDE, CapacityRange, Deciding

ANCHORED = (
    "anchored to means: the whole step takes so many times as long; what it spends on compute, memory and host is not told "
    "apart, so trust it near the measured load and measure idle and busy, short and long prompts for more"
)
"""What is said wherever an anchor is shown."""
CARRIES = {
    "compute": "this GPU's matrix products beside its preset",
    "memory": "this GPU's bandwidth beside its preset",
    "link": "the link between the GPUs",
    "host": "this CPU: a step, a sequence, a layer",
    "front_end": "the API server: a request, a prompt token",
}
"""What each multiplier carries over to another model on the same server."""
OF_A_KIND = ", ".join(f"{name} x {KNOWN[name][0]:.2f} to {KNOWN[name][1]:.2f}" for name in SPREAD)
"""What servers of a kind have."""


@dataclass(frozen=True)
class Calibration:
    """Fitted multipliers, how well they are known, and what they explain."""

    multipliers: dict[str, float]
    interval_95: dict[str, tuple[float, float]]
    """Of the multipliers that the data determine (``Interval.determines``), the values that are not ruled out, the others
    fitted again; 0 and inf where no end was found."""
    errors_before: dict[str, float]
    """Predicted / measured - 1 of mean TTFT, TPOT and E2E with every multiplier 1."""
    errors_after: dict[str, float]
    requests: int
    load_goes_on: bool
    """Whether the data are explained better if the load went on after the last request of a file."""
    anchored: bool = False
    """One multiplier for the whole step: the data say how fast the server is at their load, not why."""
    not_determined: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Of the others likewise: 1 is among these values, and so are many more. ``multipliers`` has what the fit goes by: 1,
    unless the means are clearly better with another."""
    known_kind: bool = False
    """The data allow a server of the kind that was measured before: fit and intervals stay within what such servers have
    (``sim.trust.known_servers``)."""
    capacity: tuple[CapacityRange, ...] = ()
    """What an engine sustains, over all explanations that stand; the data's own lengths first."""
    decides: Deciding | None = None
    """What to measure to tell these explanations apart; None where all say nearly the same."""
    replays: int = 0
    launches_nothing: bool = False
    """The device is far from its preset's kind and taken for one that runs kernels where they are called, as a CPU does."""

    @property
    def ambiguous(self) -> bool:
        """Whether explanations stand that differ in what an engine sustains."""
        return any(each.high > TOO_WIDE * each.low for each in self.capacity)

    def known(self, name: str) -> str:
        """How well multiplier ``name`` is known, in words."""
        if name in self.interval_95:
            return f"95 % {between(*self.interval_95[name])}"
        if name in self.not_determined:
            return f"not determined by these data, may be {between(*self.not_determined[name])}"
        return "anchored" if self.anchored else "held"

    def words(self) -> list[str]:
        """What the fit explains and what it leaves open, a line each."""
        lines = [
            f"mean {name.upper():<5} off by {100 * self.errors_before[name]:+.1f} % before, {100 * after:+.1f} % after"
            for name, after in self.errors_after.items()
        ]
        if self.launches_nothing:
            times = self.multipliers["compute"]
            lines.append(f"compute x {times:,.0f}: taken for a device that launches no kernels (a CPU)")
        if self.anchored:
            return [*lines, ANCHORED]
        if self.known_kind:
            lines.append(f"taken for a server of a known kind: {OF_A_KIND} (--any-server lets the data speak alone)")
        for each in self.capacity:
            whose = " (the data's own lengths)" if each.own else ""
            lines.append(
                f"one engine sustains {each.fitted:,.0f} output tokens/s of {each.input_tokens:,} in and "
                f"{each.output_tokens:,} out{whose}; the data allow {each.low:,.0f} to {each.high:,.0f}"
            )
        if self.ambiguous:
            lines.append("these data have more than one explanation: trust this near the measured load and lengths only")
        if self.decides is not None:
            lines.append(f"to decide: {self.decides.words}")
        return lines

    def as_data(self) -> dict[str, Any]:
        """As plain data for JSON; an end that was not found is null."""
        data = asdict(self)
        for name in ("interval_95", "not_determined"):
            data[name] = {key: [low, None if math.isinf(high) else high] for key, (low, high) in data[name].items()}
        return {**data, "ambiguous": self.ambiguous, "words": self.words()}


def between(low: float, high: float) -> str:
    """An interval in words."""
    if low <= 0.0:
        return "anything" if math.isinf(high) else f"at most {high:.3g}"
    return f"at least {low:.3g}" if math.isinf(high) else f"{low:.3g} to {high:.3g}"
