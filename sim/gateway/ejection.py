"""What a policy that leaves failing replicas and providers out is asked, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from sim.gateway.request import Failure


class Target(Protocol):
    """Somebody who can be left out: a replica, or a provider (whose number is negative)."""

    index: int
    """Its number, which no other has."""
    name: str


T = TypeVar("T", bound=Target)


class Ejection(NamedTuple):
    """A target was left out."""

    target: str
    for_s: float
    """How long, as far as is known now."""
    cause: str


class OutlierDetector(Protocol):
    """Who is left out. ``targets`` are a cluster: all that could take the place of one another."""

    def usable(self, targets: Sequence[T], now_s: float) -> Sequence[T]:
        """Those of ``targets`` that may get an attempt now; maybe none."""
        ...

    def sent(self, target: Target, now_s: float) -> None:
        """``target`` gets an attempt."""
        ...

    def ended(self, target: Target, failure: Failure | None, targets: Sequence[Target], now_s: float) -> None:
        """An attempt at ``target``, one of ``targets``, was answered (``failure`` None) or failed."""
        ...

    def called_off(self, target: Target) -> None:
        """An attempt at ``target`` ended because another one won: it says nothing about ``target``."""
        ...

    def news(self) -> list[Ejection]:
        """Who was left out since the last call."""
        ...
