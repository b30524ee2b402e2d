"""Retry policies and retry budgets: plain code without a clock.

A policy says how long to wait before the next attempt, or None for no further one. A budget says whether the system as a
whole can afford one more retry now. Sources: AWS Architecture Blog "Exponential Backoff And Jitter" (full and equal
jitter); Envoy ``retry_state_impl.cc`` and ``retry_budget``; gRPC proposal A6; AWS SDK reference "Retry behavior", standard
mode; openai-python ``_base_client._calculate_retry_timeout``.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from sim.gateway.plugins import RETRY_POLICIES, load_plugin
from sim.gateway.request import Failure, RequestView
from sim.spec.gateway.retrying import AwsBudget, BackoffRetries, Budget, EnvoyBudget, GrpcBudget, PluginRetries, Retries


class RetryPolicy(Protocol):
    """A retry policy."""

    def wait_s(self, request: RequestView, failure: Failure) -> float | None:
        """Seconds until the next attempt after ``failure``; None gives up. ``request.attempts`` counts those made."""
        ...


class BackoffPolicy:
    """Exponential back-off with jitter, see ``BackoffRetries``."""

    def __init__(self, spec: BackoffRetries, rng: np.random.Generator) -> None:
        self._spec = spec
        self._rng = rng

    def wait_s(self, request: RequestView, failure: Failure) -> float | None:
        """See ``RetryPolicy``."""
        spec = self._spec
        if failure.kind not in spec.on or request.attempts >= spec.max_attempts:
            return None
        told_s = failure.retry_after_s
        if spec.honour_retry_after and told_s is not None and told_s <= spec.max_retry_after_s:
            return told_s
        nth = request.attempts
        factor = 2.0 ** (nth - 1) if spec.growth == "doubling" else 2.0**nth - 1.0
        wait = min(spec.base_s * factor, spec.max_s)
        match spec.jitter:
            case "full":
                return wait * float(self._rng.random())
            case "equal":
                return wait * (0.5 + 0.5 * float(self._rng.random()))
            case "quarter":
                return wait * (1.0 - 0.25 * float(self._rng.random()))
            case "none":
                return wait


class RetryBudget(Protocol):
    """How many retries the gateway as a whole allows."""

    def withdraw(self, failure: Failure, under_way: int) -> bool:
        """May a retry start? ``under_way``: requests without an outcome."""
        ...

    def ended(self, *, retried: bool, answered: bool) -> None:
        """An attempt has ended; ``retried`` = it was a retry that ``withdraw`` allowed."""
        ...


class EnvoyRetryBudget:
    """At most max(``min_retries``, ``share`` x requests under way) retries at once, back-off included."""

    def __init__(self, spec: EnvoyBudget) -> None:
        self._spec = spec
        self.retries = 0

    def withdraw(self, failure: Failure, under_way: int) -> bool:
        """See ``RetryBudget``."""
        if self.retries >= max(self._spec.min_retries, self._spec.share * under_way):
            return False
        self.retries += 1
        return True

    def ended(self, *, retried: bool, answered: bool) -> None:
        """See ``RetryBudget``."""
        self.retries -= retried


class GrpcRetryBudget:
    """A bucket that failures empty and successes slowly fill; retries only above half."""

    def __init__(self, spec: GrpcBudget) -> None:
        self._spec = spec
        self.tokens = spec.max_tokens

    def withdraw(self, failure: Failure, under_way: int) -> bool:
        """See ``RetryBudget``."""
        return self.tokens > self._spec.max_tokens / 2

    def ended(self, *, retried: bool, answered: bool) -> None:
        """See ``RetryBudget``."""
        change = self._spec.token_ratio if answered else -1.0
        self.tokens = min(max(self.tokens + change, 0.0), self._spec.max_tokens)


class AwsRetryBudget:
    """A quota that retries take and successes return. A retry's success returns the ordinary cost, whatever it took."""

    def __init__(self, spec: AwsBudget) -> None:
        self._spec = spec
        self.tokens = spec.capacity

    def withdraw(self, failure: Failure, under_way: int) -> bool:
        """See ``RetryBudget``."""
        cost = self._spec.timeout_cost if failure.kind == "timeout" else self._spec.retry_cost
        if cost > self.tokens:
            return False
        self.tokens -= cost
        return True

    def ended(self, *, retried: bool, answered: bool) -> None:
        """See ``RetryBudget``."""
        if answered:
            refund = self._spec.retry_cost if retried else self._spec.success_refund
            self.tokens = min(self.tokens + refund, self._spec.capacity)


def make_retries(spec: Retries, rng: np.random.Generator) -> RetryPolicy:
    """The policy that ``spec`` names."""
    match spec:
        case BackoffRetries():
            return BackoffPolicy(spec, rng)
        case PluginRetries():
            plugin: RetryPolicy = load_plugin(RETRY_POLICIES, spec.name, spec.options)
            return plugin


def make_budget(spec: Budget) -> RetryBudget:
    """The budget that ``spec`` names."""
    match spec:
        case EnvoyBudget():
            return EnvoyRetryBudget(spec)
        case GrpcBudget():
            return GrpcRetryBudget(spec)
        case AwsBudget():
            return AwsRetryBudget(spec)
