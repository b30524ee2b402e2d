"""Laws of the gateway: whatever the policies, every request ends once, attempts and tokens add up, nobody reads the future."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis import price
from sim.analysis.laws import violations
from sim.record import Result
from sim.run import simulate
from sim.spec import parse_scenario
from sim.workload import Trace
from tests.conftest import L40S, LLAMA3_8B

API = {"input_usd_per_1m": 0.25, "output_usd_per_1m": 2.0, "guardrail_usd_per_1m": 0.1}


def run(gateway: dict[str, Any], trace: Trace, replicas: int = 3, **changes: Any) -> Result:
    scenario = parse_scenario(
        {
            "model": LLAMA3_8B, "gpu": L40S, "workload": {"path": "by-hand.csv"}, "gateway": gateway,
            "engine": {"max_num_seqs": 4, "num_gpu_blocks_override": 800, "max_model_len": 4096},
            "fleet": {"replicas": replicas}, "output": {"timeseries": False}, **changes,
        }
    )  # fmt: skip
    return simulate(scenario, trace)


def trace_of(seed: int, n: int = 80, rate: float = 12.0) -> Trace:
    rng = np.random.default_rng(seed)
    labels = {
        "tenant": rng.choice(np.array(["a", "b"], dtype=object), n),
        "route": rng.choice(np.array(["chat", "plain"], dtype=object), n),
        "session_id": rng.choice(np.array(["", "s1", "s2", "s3"], dtype=object), n),
        "prompt_id": rng.choice(np.array(["", "", "p1", "p2"], dtype=object), n),
        "priority": rng.integers(0, 3, n),
    }
    inputs = rng.integers(1, 1500, n)
    for prompt in ("p1", "p2"):
        inputs[labels["prompt_id"] == prompt] = 300
    arrival = np.cumsum(rng.exponential(1 / rate, n))
    return Trace(arrival - arrival[0], inputs, rng.integers(1, 120, n), labels)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


BUDGETS = maybe(st.sampled_from([{"kind": "envoy"}, {"kind": "grpc"}, {"kind": "aws_standard", "capacity": 20}]))
RETRIES = st.just({"kind": "litellm"}) | st.builds(
    lambda attempts, jitter, budget: {
        "kind": "backoff", "max_attempts": attempts, "base_s": 0.1, "jitter": jitter, "budget": budget,
    },
    st.integers(1, 4), st.sampled_from(["none", "full", "equal", "quarter", "fifth"]), BUDGETS,
)  # fmt: skip
OUTLIERS = st.sampled_from(
    [
        {"kind": "envoy", "consecutive_failures": 2, "max_ejected_share": 0.5},
        {"kind": "litellm"},
        {"kind": "circuit_breaker", "window_requests": 4, "open_s": 1.0, "half_open_requests": 2},
    ]
)
ROUTERS = st.sampled_from(
    [{"kind": kind} for kind in (
        "round_robin", "random", "power_of_two", "least_requests", "least_tokens_in_flight", "least_kv",
        "weighted_score", "session_affinity", "sglang_cache_aware", "static_weights",
    )] + [{"kind": "power_of_two", "signal": "tokens", "staleness_s": 0.2}]
)  # fmt: skip
ADMISSION = st.lists(
    st.sampled_from(
        [
            {"kind": "rate_limit", "requests_per_s": 8.0, "burst_requests": 4, "per": "tenant"},
            {"kind": "rate_limit", "tokens_per_s": 5000.0, "burst_tokens": 4000},
            {"kind": "saturation", "retry_after_s": 0.5, "protected_priority": 0},
            {"kind": "tenant_budget", "usd": {"a": 0.001}},
        ]
    ),
    max_size=2,
)
QUEUE = st.fixed_dictionaries(
    {"max_in_flight": maybe(st.integers(1, 6)), "max_requests": maybe(st.integers(0, 20)), "ttl_s": maybe(st.just(1.0))}
)
PASSES = st.lists(
    st.sampled_from(
        [
            {"stage": "before", "pool": "main", "output_tokens": 3, "template_tokens": 50, "block_probability": 0.1},
            {"stage": "before", "latency_s": 0.05, "added_prompt_fraction": 0.2},
            {"stage": "after", "pool": "main", "read_fraction": 0.5},
        ]
    ),
    max_size=2,
)
HYBRID = st.fixed_dictionaries(
    {
        "uncertain_fraction": st.sampled_from([0.0, 0.3]), "judged": st.sampled_from(["before", "after"]),
        "local_max_input_tokens": maybe(st.just(1000)), "overload_waiting": maybe(st.just(2)),
        "pinned_tenants": st.sampled_from([[], ["a"]]), "after_failure": st.booleans(),
    }
)  # fmt: skip
USERS = st.sampled_from([{"kind": "open"}, {"kind": "closed", "users": 9, "think_s": 0.2}, {"kind": "sessions"}])
GATEWAYS = st.fixed_dictionaries(
    {
        "router": ROUTERS, "users": USERS, "client_timeout_s": maybe(st.sampled_from([0.7, 3.0])),
        "abort_on_disconnect": st.booleans(), "max_queue_requests": maybe(st.just(3)), "retries": maybe(RETRIES),
        "client_timeout_covers": st.sampled_from(["attempt", "call"]),
        "hedging": maybe(st.sampled_from([{"delay_s": 0.2}, {"delay_s": 0.02, "max_hedges": 4}])),
        "outliers": maybe(OUTLIERS),
        "queue": QUEUE, "admission": ADMISSION, "cache": maybe(st.just({"ttl_s": 2.0})), "dedupe": st.booleans(),
        "passes": PASSES, "hybrid": maybe(HYBRID), "plain_routes": st.sampled_from([[], ["plain"]]),
        "apis": st.sampled_from([{}, {"big": API}, {"big": {**API, "requests_per_min": 5, "error_fraction": 0.3}}]),
    }
)  # fmt: skip


@given(gateway=GATEWAYS, seed=st.integers(0, 50))
@settings(max_examples=60)
def test_every_request_ends_once_and_tokens_attempts_and_dollars_add_up(gateway: dict[str, Any], seed: int) -> None:
    gateway = {key: value for key, value in gateway.items() if value is not None}
    trace = trace_of(seed)
    result = run(gateway, trace)
    assert violations(result) == []
    assert len(result.requests) == len(trace)
    assert sorted(result.requests["request_id"]) == list(range(len(trace)))
    billed = math.fsum(usd for bill in result.api_bill_usd.values() for usd in bill.values())
    assert billed == pytest.approx(result.requests["api_usd"].sum())
    tree = price(result)
    api = tree.find("api")
    assert (api.usd if api else 0.0) == pytest.approx(billed)


@given(gateway=GATEWAYS, seed=st.integers(0, 50))
@settings(max_examples=25)
def test_nothing_reads_the_true_output_length(gateway: dict[str, Any], seed: int) -> None:
    """Answers permuted: all that is decided before the first engine could be done is the same."""
    gateway = {key: value for key, value in gateway.items() if value is not None}
    trace = trace_of(seed)
    rng = np.random.default_rng(seed)
    long = Trace(trace.arrival_s, trace.input_tokens, rng.integers(400, 500, len(trace)), trace.labels)
    permuted = Trace(trace.arrival_s, trace.input_tokens, rng.permutation(long.output_tokens), trace.labels)
    first, second = run(gateway, long), run(gateway, permuted)
    until = min(_first_news_s(first), _first_news_s(second))
    assert until > 0
    assert _decided(first, until) == _decided(second, until)


def _first_news_s(result: Result) -> float:
    requests = result.requests
    by_length = requests["outcome"].isin(["completed", "escalated"])
    ended = requests["finish_s"][by_length]
    thrown_away = requests["finish_s"][requests["wasted_tokens"] > 0]
    return float(min(ended.min() if len(ended) else math.inf, thrown_away.min() if len(thrown_away) else math.inf, 2.0))


def _decided(result: Result, until_s: float) -> dict[int, tuple[Any, ...]]:
    """Losses before ``until_s`` and first tokens seen by then: where each request went, and when."""
    requests = result.requests
    rows: dict[int, tuple[Any, ...]] = {}
    for row in requests[requests["arrival_s"] < until_s].itertuples():
        lost = row.finish_s < until_s
        if lost or (pd.notna(row.first_token_s) and row.first_token_s < until_s and row.attempts == 1):
            rows[row.request_id] = (str(row.replica), str(row.reason) if lost else "", row.first_token_s if not lost else 0)
    return rows


def test_a_gateway_without_policies_and_one_whose_policies_never_act_give_the_same_run() -> None:
    trace = trace_of(1)
    plain = run({}, trace)
    idle = run({"retries": {"kind": "backoff"}, "client_timeout_s": 1e6, "admission": [{"kind": "tenant_budget"}]}, trace)
    for column in ("first_token_s", "finish_s", "queue_s", "replica", "output_tokens"):
        pd.testing.assert_series_equal(plain.requests[column], idle.requests[column])


def test_without_retries_nothing_is_amplified_and_aborting_wastes_no_more_than_finishing_the_dead() -> None:
    trace = trace_of(3, n=200, rate=40.0)
    kept = run({"client_timeout_s": 1.0, "abort_on_disconnect": False}, trace, replicas=1)
    dropped = run({"client_timeout_s": 1.0, "abort_on_disconnect": True}, trace, replicas=1)
    assert (kept.requests["attempts"] == 1).all()
    assert kept.requests["wasted_tokens"].sum() > dropped.requests["wasted_tokens"].sum()
    assert (kept.requests["outcome"] == "completed").sum() <= (dropped.requests["outcome"] == "completed").sum()


def test_pinned_tenants_never_leave_and_an_outage_is_survived_locally() -> None:
    trace = trace_of(5)
    hybrid = {"uncertain_fraction": 1.0, "pinned_tenants": ["a"], "after_failure": False}
    result = run({"hybrid": hybrid, "apis": {"big": API}}, trace)
    pinned = result.requests["tenant"] == "a"
    assert set(result.requests["outcome"][pinned]) == {"completed"}
    assert set(result.requests["outcome"][~pinned]) == {"escalated"}
    down = {**API, "outages": [{"start_s": 0, "duration_s": 1e6}], "max_attempts": 2}
    result = run({"hybrid": hybrid, "apis": {"down": down, "big": API}}, trace)
    assert set(result.requests["pool"][~pinned]) == {"big"}
    assert (result.requests["attempts"][~pinned] == 3).all()


def test_the_small_models_answer_stays_paid_when_the_larger_pool_answers() -> None:
    trace = trace_of(7)
    pools = {"small": {"replicas": 2}, "large": {"replicas": 1}}
    hybrid = {"uncertain_fraction": 0.5, "judged": "after", "larger_pool": "large"}
    result = run({"hybrid": hybrid}, trace, fleet={"pools": pools})
    again = result.requests["pool"] == "large"
    assert 0 < again.sum() < len(trace)
    assert (result.requests["wasted_tokens"][again] == result.requests["output_tokens"][again]).all()
    assert violations(result) == []


def test_a_closed_loop_never_has_more_under_way_than_users() -> None:
    result = run({"users": {"kind": "closed", "users": 4, "think_s": 0.0}}, trace_of(2))
    requests = result.requests
    at = np.sort(requests["arrival_s"].to_numpy())
    finish = np.sort(requests["finish_s"].to_numpy())
    under_way = np.arange(1, len(at) + 1) - np.searchsorted(finish, at, side="right")
    assert under_way.max() == 4


def test_a_turn_is_not_sent_before_the_last_one_has_its_outcome() -> None:
    result = run({"users": {"kind": "sessions", "min_think_s": 0.3}}, trace_of(4, rate=50.0), replicas=1)
    for session, turns in result.requests.groupby("session_id", observed=True):
        if session:
            gaps = turns["arrival_s"].to_numpy()[1:] - turns["finish_s"].to_numpy()[:-1]
            assert (gaps >= 0.3 - 1e-9).all()
