"""What n replicas carry within the SLO, from the loads that were simulated: ``replicas(load)`` and its inverse.

    c(n) = n x per(n)        the load that n replicas sustain
    per(n) is linear in 1 / sqrt(n) between the counts that were simulated (bursts are shared by more replicas: the headroom
    of a queue of n servers grows with the root of n), proportional below the least and above the most of them

A load that missed bounds c(n) from above. ``per`` never falls with n: what noise says otherwise is levelled. Loads
are in any one unit (output tokens a day, requests a second) of the traffic that was simulated, with its own prompts, bursts
and nights.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sim.errors import ConfigError


@dataclass(frozen=True)
class CapacityCurve:
    """Loads that held and loads that missed, as (replicas, load)."""

    held: tuple[tuple[int, float], ...]
    """The highest load that held, one entry a count of replicas, ascending; at least one."""
    missed: tuple[tuple[int, float], ...] = ()
    """The lowest load that missed, one entry a count."""
    speed: float = 1.0
    """Factor on all of them: how much faster the replicas are than those simulated."""

    def __post_init__(self) -> None:
        if not self.held or any(n < 1 or not volume > 0 for n, volume in self.held):
            raise ConfigError(f"a capacity curve needs loads that held, on 1 replica or more, but got {self.held!r}")

    @classmethod
    def of(cls, held: Iterable[tuple[int, float]], missed: Iterable[tuple[int, float]] = ()) -> CapacityCurve:
        """The curve of all points of a search, in any order."""
        best: dict[int, float] = {}
        for n, volume in held:
            best[n] = max(volume, best.get(n, 0.0))
        least: dict[int, float] = {}
        for n, volume in missed:
            if volume > best.get(n, 0.0):
                least[n] = min(volume, least.get(n, math.inf))
        levelled, most = [], 0.0
        for n in sorted(best):
            most = max(most, best[n] / n)
            levelled.append((n, most * n))
        return cls(tuple(levelled), tuple(sorted(least.items())))

    def faster(self, factor: float) -> CapacityCurve:
        """The curve of replicas ``factor`` times as fast."""
        return replace(self, speed=self.speed * factor)

    def measured(self, replicas: int) -> bool:
        """Whether ``replicas`` were simulated."""
        return any(n == replicas for n, _ in self.held)

    def load(self, replicas: int) -> float:
        """c(``replicas``); 0 for none."""
        if replicas < 1:
            return 0.0
        counts = [n for n, _ in self.held]
        place = bisect.bisect_left(counts, replicas)
        if place == 0 or place == len(counts):
            n, volume = self.held[min(place, len(counts) - 1)]
            found = volume / n * replicas
        else:
            (few, low), (many, high) = self.held[place - 1], self.held[place]
            share = (few**-0.5 - replicas**-0.5) / (few**-0.5 - many**-0.5)
            found = (low / few + (high / many - low / few) * share) * replicas
        bound = dict(self.missed).get(replicas, math.inf)
        return self.speed * (found if found < bound else math.nextafter(bound, 0.0))

    def replicas(self, load: float) -> int:
        """The fewest replicas that carry ``load``: 0 for no traffic."""
        if load <= 0:
            return 0
        high = 1
        while self.load(high) < load:
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            if self.load(middle) < load:
                low = middle
            else:
                high = middle
        return high
