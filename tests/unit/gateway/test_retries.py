"""Waits before a retry, by hand, for each system's rule. Sources: the head of ``sim.gateway.retries``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.gateway.request import ClientRequest, Failure
from sim.gateway.retries import BackoffPolicy, LitellmPolicy
from sim.spec.gateway.retrying import BackoffRetries, LitellmRetries

TIMEOUT = Failure("timeout", "")


def after(attempts: int) -> ClientRequest:
    request = ClientRequest(0, 0.0, 100)
    request.attempts = attempts
    return request


class Fixed:
    """A random number that is known."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


def backoff(u: float = 0.0, **spec: Any) -> BackoffPolicy:
    return BackoffPolicy(BackoffRetries(**spec), Fixed(u))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("jitter", "low", "high"),
    [("none", 1.0, 1.0), ("full", 0.0, 1.0), ("equal", 0.5, 1.0), ("quarter", 0.75, 1.0), ("fifth", 0.8, 1.2)],
)
def test_back_off_stays_within_its_jitter_and_its_cap(jitter: Any, low: float, high: float) -> None:
    policy = BackoffPolicy(BackoffRetries(max_attempts=9, jitter=jitter), np.random.default_rng(1))
    for attempts, wait in zip(range(1, 9), (0.5, 1, 2, 4, 8, 8, 8, 8), strict=True):
        waited = policy.wait_s(after(attempts), TIMEOUT)
        assert waited is not None
        assert wait * low <= waited <= wait * high
    assert policy.wait_s(after(9), TIMEOUT) is None


def test_envoys_interval_doubles_and_is_capped_before_the_draw() -> None:
    """``next_interval_``: 25, 50, 100, 200, then 250 ms; the wait is uniform below it. The documentation's (2^n - 1) x 25
    would be 25, 75, 175."""
    policy = backoff(0.9999, max_attempts=9, base_s=0.025, max_s=0.25, jitter="full", honour_retry_after=False)
    waits = [policy.wait_s(after(n), Failure("shed", "", 7.0)) for n in range(1, 7)]
    assert waits == pytest.approx([0.9999 * top for top in (0.025, 0.05, 0.1, 0.2, 0.25, 0.25)])


def test_grpcs_wait_is_a_fifth_more_or_less() -> None:
    """A6's example: 0.1, 0.2, 0.4 s, times 0.8 to 1.2."""
    spec = {"max_attempts": 4, "base_s": 0.1, "max_s": 1.0, "jitter": "fifth"}
    assert [backoff(0.0, **spec).wait_s(after(n), TIMEOUT) for n in (1, 2, 3)] == pytest.approx([0.08, 0.16, 0.32])
    assert [backoff(1.0, **spec).wait_s(after(n), TIMEOUT) for n in (1, 2, 3)] == pytest.approx([0.12, 0.24, 0.48])
    assert backoff(1.0, **spec).wait_s(after(4), TIMEOUT) is None


def test_retry_after_is_obeyed_up_to_its_limit() -> None:
    """openai-python 1.x: 60 s, longer ones are ignored; later ones: 120 s, and then no retry."""
    old = backoff(jitter="none")
    assert old.wait_s(after(1), Failure("shed", "", 7.0)) == 7.0
    assert old.wait_s(after(1), Failure("shed", "", 61.0)) == 0.5
    new = backoff(jitter="none", max_retry_after_s=120.0, beyond_retry_after="give_up")
    assert new.wait_s(after(1), Failure("shed", "", 61.0)) == 61.0
    assert new.wait_s(after(1), Failure("shed", "", 121.0)) is None


def test_what_is_not_to_be_retried_is_not() -> None:
    policy = backoff(on=("shed",))
    assert policy.wait_s(after(1), TIMEOUT) is None
    assert policy.wait_s(after(1), Failure("rejected", "")) is None
    assert policy.wait_s(after(1), Failure("shed", "")) is not None


@pytest.mark.parametrize(
    ("usable", "there", "waits"),
    [(2, 3, [0.0, 0.0, None]), (0, 3, [None] * 3), (1, 1, [0.5 + 0.75 * 0.4, 1.0 + 0.75 * 0.4, None]), (0, 0, [None] * 3)],
)
def test_litellm_retries_at_once_while_another_is_healthy(usable: int, there: int, waits: list[float | None]) -> None:
    """``_time_to_sleep_before_retry``: 0 with healthy deployments; the only one: 0.5 x 2^n s and up to 0.75 s; none: no."""
    policy = LitellmPolicy(LitellmRetries(), Fixed(0.4), lambda: (usable, there))  # type: ignore[arg-type]
    assert [policy.wait_s(after(n), TIMEOUT) for n in (1, 2, 3)] == waits


def test_litellm_adds_its_jitter_to_a_retry_after() -> None:
    policy = LitellmPolicy(LitellmRetries(), Fixed(1.0), lambda: (1, 1))  # type: ignore[arg-type]
    assert policy.wait_s(after(1), Failure("shed", "", 7.0)) == 7.75
    assert policy.wait_s(after(1), Failure("shed", "", 61.0)) == 1.25
