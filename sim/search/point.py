"""``Point``: what one simulated candidate showed, as far as a search needs to know it.

A search never sees a simulation. It asks an ``Evaluate`` for the point at (replicas, rate_scale) and reads whether the
service level objective held there. ``tightness`` is the worst ratio of an attained percentile to its limit: below 1 all
hold, above 1 one is missed; it is infinite where no percentile means anything (overload, a run given up early).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Verdict = Literal["pass", "fail", "undecided", "overloaded"]


@dataclass(frozen=True)
class Point:
    """One evaluated candidate."""

    replicas: int
    """Of all pools together."""
    rate_scale: float
    """Multiplier on the trace's arrival rate (``workload.rate_scale``)."""
    verdict: Verdict
    """Of the estimates: pass where every limit is met, however sure that is (``summary["slo"]`` says)."""
    attained: Mapping[str, float] = field(default_factory=dict)
    """Percentiles by target name (``ttft_p95_s``), seconds; NaN where undefined."""
    targets: Mapping[str, float] = field(default_factory=dict)
    """Limits by target name, seconds."""
    missed: tuple[str, ...] = ()
    """Why it does not hold, one short phrase each."""
    usd_per_hour: float = math.nan
    """``cost.window``'s, like the next: the tail after the last arrival decides nothing."""
    usd_per_1m_output_tokens: float = math.nan
    output_tokens_per_s: float = math.nan
    engine_steps: int = 0
    seed: int = 0
    stopped_early: str | None = None
    """Why the run was given up before its end (its miss was certain), or None."""
    pools: tuple[tuple[str, int], ...] = ()
    """Replicas by pool, where a search sizes pools."""
    part: str = ""
    """The part of the trace that was simulated, in words; "" = all of it."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """The whole ``summary.json`` of the run; empty when it was given up early."""

    @property
    def holds(self) -> bool:
        """True when every target of the objective was met."""
        return self.verdict == "pass"

    @property
    def tightness(self) -> float:
        """Worst attained / limit over the targets; infinite when overloaded, given up, or nothing was attained."""
        if self.verdict == "overloaded" or self.stopped_early is not None:
            return math.inf
        ratios = [self.attained.get(name, math.nan) / limit for name, limit in self.targets.items()]
        known = [ratio for ratio in ratios if not math.isnan(ratio)]
        return max(known, default=0.0 if self.holds else math.inf)


class Evaluate(Protocol):
    """Whatever can tell how a candidate fares; asking twice for the same one must cost nothing."""

    def __call__(self, *, replicas: int, rate_scale: float) -> Point:
        """The point at ``replicas`` and ``rate_scale``."""
        ...


@dataclass(frozen=True)
class Solution:
    """How a search ended: the best point that holds, or the nearest miss."""

    best: Point | None
    nearest: Point
    """``best``, or else the miss with the smallest tightness (ties: the most replicas, the least load)."""
    points: tuple[Point, ...]
    """Every point asked for, in order."""
    note: str = ""
    """What the reader must know about this end, e.g. that an allowed range was exhausted."""

    @property
    def feasible(self) -> bool:
        """True when some point holds."""
        return self.best is not None


def nearest_miss(points: tuple[Point, ...] | list[Point]) -> Point:
    """The point that came closest to holding."""
    return min(points, key=lambda point: (not point.holds, point.tightness, -point.replicas, point.rate_scale))
