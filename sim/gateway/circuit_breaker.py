"""Circuit breakers: closed, open, half-open (Nygard, "Release It!"; the rules and defaults are Resilience4j's).

    closed      the last ``window_requests`` outcomes; ``failed_share`` of at least ``min_requests`` of them opens it
    open        nothing passes for ``open_s``, then it is half-open
    half-open   ``half_open_requests`` pass; when all have ended, their failed share opens or closes it anew

Every kind of failure counts, refusals too; an attempt that was called off gives its place back. What ends while the breaker
is open does not count. Left out: slow calls as failures (off by default).

Source: resilience4j ``CircuitBreakerConfig`` (defaults), ``CircuitBreakerStateMachine`` (states), ``CircuitBreakerMetrics``
(``minimumNumberOfCalls`` is at most the window, or the number permitted in half-open).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from sim.gateway.ejection import Ejection, T, Target
from sim.gateway.request import Failure
from sim.spec.gateway.retrying import CircuitBreaker


class _Breaker:
    """One target's."""

    __slots__ = ("failed", "half_open", "open_until_s", "outcomes", "trials")

    def __init__(self) -> None:
        self.outcomes: deque[bool] = deque()
        """Newest last; True = failed."""
        self.failed = 0
        """How many of them failed."""
        self.open_until_s: float | None = None
        """None = closed or half-open."""
        self.half_open = False
        self.trials = 0
        """Attempts let through while half-open, called-off ones given back."""

    def restart(self, *, half_open: bool) -> None:
        """Forget all outcomes."""
        self.outcomes.clear()
        self.failed = self.trials = 0
        self.half_open, self.open_until_s = half_open, None

    def note(self, failed: bool, window: int) -> None:
        """One more outcome; the oldest leaves the window."""
        self.outcomes.append(failed)
        self.failed += failed
        if len(self.outcomes) > window:
            self.failed -= self.outcomes.popleft()


class CircuitBreakers:
    """A breaker for each target."""

    def __init__(self, spec: CircuitBreaker) -> None:
        self._spec = spec
        self._breakers: dict[int, _Breaker] = {}
        self._news: list[Ejection] = []

    def usable(self, targets: Sequence[T], now_s: float) -> Sequence[T]:
        """See ``OutlierDetector``."""
        return [target for target in targets if self._lets_through(target.index, now_s)] if self._breakers else targets

    def _lets_through(self, target: int, now_s: float) -> bool:
        breaker = self._breakers.get(target)
        if breaker is None:
            return True
        if breaker.open_until_s is not None:
            return now_s >= breaker.open_until_s
        return not breaker.half_open or breaker.trials < self._spec.half_open_requests

    def sent(self, target: Target, now_s: float) -> None:
        """See ``OutlierDetector``."""
        breaker = self._breakers.get(target.index)
        if breaker is None:
            return
        if breaker.open_until_s is not None and now_s >= breaker.open_until_s:
            breaker.restart(half_open=True)
        breaker.trials += breaker.half_open

    def ended(self, target: Target, failure: Failure | None, targets: Sequence[Target], now_s: float) -> None:
        """See ``OutlierDetector``."""
        spec = self._spec
        breaker = self._breakers.get(target.index)
        if breaker is None:
            breaker = self._breakers[target.index] = _Breaker()
        if breaker.open_until_s is not None:
            return
        window = spec.half_open_requests if breaker.half_open else spec.window_requests
        breaker.note(failure is not None, window)
        least = window if breaker.half_open else min(spec.min_requests, window)
        if len(breaker.outcomes) < least:
            return
        if breaker.failed >= spec.failed_share * len(breaker.outcomes):
            breaker.restart(half_open=False)
            breaker.open_until_s = now_s + spec.open_s
            self._news.append(Ejection(target.name, spec.open_s, "circuit opened"))
        elif breaker.half_open:
            breaker.restart(half_open=False)

    def called_off(self, target: Target) -> None:
        """See ``OutlierDetector``."""
        breaker = self._breakers.get(target.index)
        if breaker is not None and breaker.half_open:
            breaker.trials -= 1

    def news(self) -> list[Ejection]:
        """See ``OutlierDetector``."""
        news, self._news = self._news, []
        return news
