"""Retry budgets: whether the system as a whole can afford one more retry now. Plain code without a clock.

Sources: Envoy ``source/common/upstream/resource_manager_impl.h`` (``RetryBudgetImpl``) and ``retry_state_impl.cc`` (a retry
is held from its back-off to its end); gRPC proposal A6, "Throttling Retry Attempts"; botocore ``retries/quota.py`` and
``retries/standard.py`` (``RetryQuotaChecker``).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from sim.gateway.request import Failure
from sim.spec.gateway.retrying import AwsBudget, Budget, EnvoyBudget, GrpcBudget


class RetryBudget(Protocol):
    """How many retries the gateway as a whole allows."""

    def withdraw(self, failure: Failure, being_served: int) -> float | None:
        """What a retry after ``failure`` takes from the budget now, to be told to ``ended``; None = it may not start.
        ``being_served``: requests that wait for no retry."""
        ...

    def ended(self, failure: Failure | None, withdrawn: float | None) -> None:
        """A try was answered (``failure`` None) or failed; ``withdrawn``: what was taken for it, None = it was the first."""
        ...


class EnvoyRetryBudget:
    """Fewer than max(``min_retries``, floor(``share`` x requests being served)) retries at once, back-off included."""

    def __init__(self, spec: EnvoyBudget) -> None:
        self._spec = spec
        self.retries = 0

    def withdraw(self, failure: Failure, being_served: int) -> float | None:
        """See ``RetryBudget``."""
        if self.retries >= max(self._spec.min_retries, int(self._spec.share * being_served)):
            return None
        self.retries += 1
        return 1.0

    def ended(self, failure: Failure | None, withdrawn: float | None) -> None:
        """See ``RetryBudget``."""
        self.retries -= withdrawn is not None


class GrpcRetryBudget:
    """A bucket that failures empty and successes slowly fill; retries only above half. ``retried``: the kinds of failure
    that count, those which the policy tries again (None = all)."""

    def __init__(self, spec: GrpcBudget, retried: Collection[str] | None = None) -> None:
        self._spec = spec
        self._retried = retried
        self.tokens = spec.max_tokens

    def withdraw(self, failure: Failure, being_served: int) -> float | None:
        """See ``RetryBudget``."""
        return 0.0 if self.tokens > self._spec.max_tokens / 2 else None

    def ended(self, failure: Failure | None, withdrawn: float | None) -> None:
        """See ``RetryBudget``."""
        if failure is None:
            self.tokens = min(self.tokens + self._spec.token_ratio, self._spec.max_tokens)
        elif self._retried is None or failure.kind in self._retried:
            self.tokens = max(self.tokens - 1.0, 0.0)


class AwsRetryBudget:
    """A quota that retries take and the answers they bring return."""

    def __init__(self, spec: AwsBudget) -> None:
        self._spec = spec
        self.tokens = float(spec.capacity)

    def withdraw(self, failure: Failure, being_served: int) -> float | None:
        """See ``RetryBudget``."""
        cost = self._spec.timeout_cost if failure.kind == "timeout" else self._spec.retry_cost
        if cost > self.tokens:
            return None
        self.tokens -= cost
        return float(cost)

    def ended(self, failure: Failure | None, withdrawn: float | None) -> None:
        """See ``RetryBudget``."""
        if failure is None:
            returned = self._spec.success_refund if withdrawn is None else withdrawn
            self.tokens = min(self.tokens + returned, self._spec.capacity)


def make_budget(spec: Budget, retried: Collection[str] | None) -> RetryBudget:
    """The budget that ``spec`` names; ``retried`` as ``GrpcRetryBudget`` takes it."""
    match spec:
        case EnvoyBudget():
            return EnvoyRetryBudget(spec)
        case GrpcBudget():
            return GrpcRetryBudget(spec, retried)
        case AwsBudget():
            return AwsRetryBudget(spec)
