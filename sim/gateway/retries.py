"""Retry policies: how long to wait before the next attempt, or that there is none. Plain code without a clock.

    wait before the n-th retry = min(base x 2^(n-1), max), jittered

Sources: AWS Architecture Blog "Exponential Backoff And Jitter" (full and equal jitter); Envoy
``source/common/common/backoff_strategy.cc`` (``JitteredExponentialBackOffStrategy``: full jitter over a doubling interval,
capped before the draw); gRPC proposal A6 and grpc-go ``stream.go`` (0.8 to 1.2); botocore ``retries/standard.py``
(``ExponentialBackoff``); openai-python ``_base_client._calculate_retry_timeout``; litellm's
``Router._time_to_sleep_before_retry`` and ``utils._calculate_retry_after``. Left out: that no proxy can retry a stream that
has begun (a replica that dies fails all its requests alike here), and that gRPC's wait starts anew after a pushback.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from sim.gateway.request import Failure, RequestView
from sim.plugins import RETRY_POLICIES, Plugins
from sim.spec.gateway.retrying import BackoffRetries, LitellmRetries, PluginRetries, Retries


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
        if spec.honour_retry_after and told_s is not None:
            if told_s <= spec.max_retry_after_s:
                return told_s
            if spec.beyond_retry_after == "give_up":
                return None
        wait = _backoff_s(spec.base_s, spec.max_s, request.attempts)
        match spec.jitter:
            case "full":
                return wait * float(self._rng.random())
            case "equal":
                return wait * (0.5 + 0.5 * float(self._rng.random()))
            case "quarter":
                return wait * (1.0 - 0.25 * float(self._rng.random()))
            case "fifth":
                return wait * (0.8 + 0.4 * float(self._rng.random()))
            case "none":
                return wait


class LitellmPolicy:
    """LiteLLM's router, see ``LitellmRetries``; ``healthy()`` says how many replicas may be tried now, and how many are
    there."""

    def __init__(self, spec: LitellmRetries, rng: np.random.Generator, healthy: Callable[[], tuple[int, int]]) -> None:
        self._spec = spec
        self._rng = rng
        self._healthy = healthy

    def wait_s(self, request: RequestView, failure: Failure) -> float | None:
        """See ``RetryPolicy``."""
        spec = self._spec
        usable, there = self._healthy()
        if request.attempts > spec.num_retries or not usable:
            return None
        if there > 1:
            return 0.0
        told_s = failure.retry_after_s
        known = told_s is not None and 0 < told_s <= spec.max_retry_after_s
        wait = told_s if known and told_s is not None else _backoff_s(spec.base_s, spec.max_s, request.attempts)
        return wait + spec.jitter_s * float(self._rng.random())


def _backoff_s(base_s: float, max_s: float, attempts: int) -> float:
    """The wait after ``attempts`` attempts, before any jitter."""
    return min(base_s * 2.0 ** min(attempts - 1, 64), max_s)


def make_retries(
    spec: Retries, rng: np.random.Generator, healthy: Callable[[], tuple[int, int]], plugins: Plugins
) -> RetryPolicy:
    """The policy that ``spec`` names; ``healthy`` as ``LitellmPolicy`` takes it."""
    match spec:
        case BackoffRetries():
            return BackoffPolicy(spec, rng)
        case LitellmRetries():
            return LitellmPolicy(spec, rng, healthy)
        case PluginRetries():
            plugin: RetryPolicy = plugins.make(RETRY_POLICIES, spec.name, spec.options)
            return plugin
