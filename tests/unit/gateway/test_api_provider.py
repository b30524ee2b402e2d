"""Providers by hand: the bill, the limits, the waits between calls, breakers before them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.cost.api_terms import call_usd
from sim.gateway.api_provider import ApiProvider, Reply
from sim.gateway.request import ClientRequest, Failure
from sim.record import Result
from sim.spec.gateway.answers import ApiSpec
from sim.workload import Trace
from tests.laws.test_gateway import run

PRICES = {"input_usd_per_1m": 1.0, "output_usd_per_1m": 10.0}
SURE = {**PRICES, "ttft_p50_s": 1.0, "ttft_p95_s": 1.0, "tokens_per_s_p50": 10.0, "tokens_per_s_p05": 10.0}


def provider(**spec: Any) -> ApiProvider:
    return ApiProvider(-1, "big", ApiSpec(**{**SURE, **spec}), np.random.default_rng(0))


def prompt(tokens: int = 1000) -> ClientRequest:
    return ClientRequest(0, 0.0, tokens)


def test_a_call_is_billed_by_its_parts() -> None:
    """1,000 in, 40 % of it cached at $0.1, 100 out, twice as dear at night, guardrails on all tokens."""
    api = provider(
        cached_input_usd_per_1m=0.1, cached_input_fraction=0.4, guardrail_usd_per_1m=0.5, output_tokens_factor=2.0,
        peak_hours=[{"from_hour": 0, "to_hour": 6, "factor": 2.0}],
    )  # fmt: skip
    reply = api.call(prompt(), 50, 3600.0)
    assert isinstance(reply, Reply)
    assert reply.output_tokens == 100
    assert reply.usd["prompt tokens"] == pytest.approx((600 * 1.0 + 400 * 0.1) * 2 / 1e6)
    assert reply.usd["output tokens"] == pytest.approx(100 * 10.0 * 2 / 1e6)
    assert reply.usd["guardrails"] == pytest.approx(1100 * 0.5 / 1e6)
    assert call_usd(api.spec, 1000, 100, 7 * 3600.0)["output tokens"] == pytest.approx(0.001)


def test_a_long_prompt_is_billed_at_its_tier_in_whole() -> None:
    api = provider(
        tiers=[{"from_input_tokens": 900, "input_usd_per_1m": 2, "cached_input_usd_per_1m": 2, "output_usd_per_1m": 20}]
    )
    assert call_usd(api.spec, 899, 10, 0.0)["prompt tokens"] == pytest.approx(899e-6)
    assert call_usd(api.spec, 900, 10, 0.0) == pytest.approx(
        {"prompt tokens": 1800e-6, "output tokens": 200e-6, "guardrails": 0.0, "logging": 0.0}
    )


def test_an_answer_takes_its_first_token_and_its_rate() -> None:
    reply = provider().call(prompt(), 51, 0.0)
    assert isinstance(reply, Reply)
    assert (reply.ttft_s, reply.duration_s) == pytest.approx((1.0, 6.0))


def test_a_minute_s_allowance_then_a_429_with_the_wait() -> None:
    api = provider(requests_per_min=2, tokens_per_min=60_000)
    assert isinstance(api.call(prompt(), 10, 0.0), Reply)
    assert isinstance(api.call(prompt(59_000), 10, 0.0), Reply)
    refused = api.call(prompt(2000), 10, 0.0)
    assert refused == Failure("shed", "big_rate_limit", 30.0)  # half a request a minute; 2,000 tokens take 2 s
    assert api.call(prompt(), 10, 29.9) == Failure("shed", "big_rate_limit", pytest.approx(0.1))


def played(apis: dict[str, Any], n: int = 1, gap_s: float = 100.0, **gateway: Any) -> Result:
    trace = Trace(np.arange(n) * gap_s, np.full(n, 100), np.full(n, 11))
    return run({"hybrid": {"api_first": True, "after_failure": False}, "apis": apis, **gateway}, trace, replicas=1)


def test_waits_between_calls_double_as_openai_s_client_s_do() -> None:
    """Five calls that fail after 0.1 s each: between them 0.5, 1, 2, 4 s less up to a quarter, then no sixth."""
    down = {**SURE, "outages": [{"start_s": 0, "duration_s": 1e6}], "max_attempts": 5}
    requests = played({"down": down}).requests
    waited = float(requests["finish_s"][0]) - 0.5
    assert 0.75 * 7.5 <= waited <= 7.5
    assert requests["attempts"][0] == 5
    assert requests["reason"][0] == "down_outage"


def test_the_next_provider_answers_and_who_was_abandoned_is_paid() -> None:
    slow = {**SURE, "ttft_p50_s": 50.0, "ttft_p95_s": 50.0}
    requests = played({"slow": slow}, client_timeout_s=5.0).requests
    assert requests["outcome"][0] == "timed_out"
    assert requests["api_usd"][0] == pytest.approx((100 * 1.0 + 11 * 10.0) / 1e6)


def test_a_breaker_stands_before_a_provider() -> None:
    """Ten failures open it for a minute: the next requests go to the second at once, without a call to the first."""
    down = {**SURE, "outages": [{"start_s": 0, "duration_s": 1e6}], "max_attempts": 1}
    breaker = {"kind": "circuit_breaker", "window_requests": 10, "open_s": 1e6}
    result = played({"down": down, "up": SURE}, 30, 1.0, outliers=breaker)
    assert set(result.requests["pool"]) == {"up"}
    assert result.gateway["api_calls"] == 10 + 30
    assert [event["provider"] for event in result.events if event["event"] == "breaker"] == ["down"]


def test_litellm_spares_an_only_provider() -> None:
    """Each API is a group of its own there: its refusals do not cool it."""
    limited = {**SURE, "requests_per_min": 1, "max_attempts": 1}
    result = played({"limited": limited}, 20, 1.0, outliers={"kind": "litellm"})
    assert result.gateway["ejections"] == 0
    assert result.gateway["api_calls"] == 20
