"""LiteLLM's cooldowns: a deployment that fails gets no request for a while.

    refused (429), not the only deployment                                 out at once
    all of this minute's requests failed, at least 1,000 of them           out
    more than half failed of at least 5, not the only deployment           out
    out for Retry-After where the refusal had one, else 5 s; while all are out, requests fail

The minute is the clock's, counters start anew with it. Left out: 401 and 404, which cool at once (nothing here has them),
``allowed_fails`` policies, and callers' own cooldown callbacks. A replica that dies counts as a 5xx.

Source: litellm ``router_utils/cooldown_handlers.py`` (``_should_cooldown_deployment``), ``litellm/constants.py``,
``Router.deployment_callback_on_failure`` (the priority of Retry-After), ``RouterRateLimitError`` when all cool down.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim.gateway.ejection import Ejection, T, Target
from sim.gateway.request import Failure
from sim.spec.gateway.retrying import LitellmCooldown

_MINUTE_S = 60.0


class LitellmCooldowns:
    """See the module's head."""

    def __init__(self, spec: LitellmCooldown) -> None:
        self._spec = spec
        self._counts: dict[int, tuple[int, int, int]] = {}
        """Target -> minute, requests that ended in it, those that failed."""
        self._until_s: dict[int, float] = {}
        self._news: list[Ejection] = []

    def usable(self, targets: Sequence[T], now_s: float) -> Sequence[T]:
        """See ``OutlierDetector``."""
        until_s = self._until_s
        return [target for target in targets if until_s.get(target.index, 0.0) <= now_s] if until_s else targets

    def sent(self, target: Target, now_s: float) -> None:
        """See ``OutlierDetector``."""

    def ended(self, target: Target, failure: Failure | None, targets: Sequence[Target], now_s: float) -> None:
        """See ``OutlierDetector``."""
        minute = int(now_s // _MINUTE_S)
        then, total, failed = self._counts.get(target.index, (minute, 0, 0))
        if then != minute:
            total = failed = 0
        total, failed = total + 1, failed + (failure is not None)
        self._counts[target.index] = (minute, total, failed)
        if failure is None or not self._cools(failure, total, failed, alone=len(targets) <= 1):
            return
        for_s = self._spec.cooldown_s if failure.retry_after_s is None else failure.retry_after_s
        self._until_s[target.index] = now_s + for_s
        self._news.append(Ejection(target.name, for_s, "refused" if failure.kind == "shed" else "failures"))

    def _cools(self, failure: Failure, total: int, failed: int, *, alone: bool) -> bool:
        spec = self._spec
        if failure.kind == "shed" and not alone:
            return True
        if failed == total and total >= spec.single_min_requests:
            return True
        return failed > spec.failed_share * total and total >= spec.min_requests and not alone

    def called_off(self, target: Target) -> None:
        """See ``OutlierDetector``."""

    def news(self) -> list[Ejection]:
        """See ``OutlierDetector``."""
        news, self._news = self._news, []
        return news
