from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.analysis import check_slo, good_mask, missed_by, summarize
from sim.analysis.overload import is_overloaded, mann_kendall_z, theil_sen_slope
from sim.search import CertainMiss
from sim.spec import Slo


def test_targets_are_checked_in_the_latency_table() -> None:
    latency = {"ttft_s": {"p95": 2.4}, "tpot_s": {"p95": 0.05, "p99": 0.2}}
    checks = check_slo(latency, Slo(ttft_p95_s=2.0, tpot_p95_s=0.1))
    assert [(c.target, c.limit, c.attained, c.met) for c in checks] == [
        ("ttft_p95_s", 2.0, 2.4, False),
        ("tpot_p95_s", 0.1, 0.05, True),
    ]
    assert missed_by(checks, 0.05, 0.01) == "TTFT p95 2.4 s > 2 s; 5.0% of requests failed > 1.0%"


def test_verdicts(make_result, make_scenario) -> None:
    many = [{"arrival_s": i * 0.1, "output_tokens": 21} for i in range(2000)]
    assert summarize(make_result(many))["slo"]["verdict"] == "pass"
    assert summarize(make_result(many[:5]))["slo"]["verdict"] == "undecided"
    slow = [{**row, "first_token_s": row["arrival_s"] + 3.0, "finish_s": row["arrival_s"] + 4.0} for row in many]
    assert summarize(make_result(slow))["slo"]["verdict"] == "fail"
    lost = [{**row, "outcome": "shed" if i % 10 == 0 else "completed"} for i, row in enumerate(many)]
    summary = summarize(make_result(lost))
    assert summary["slo"]["verdict"] == "fail"
    assert summary["slo"]["missed_by"] == "10.0% of requests failed > 1.0%"
    assert summarize(make_result(many, stopped_early="certain miss"))["slo"]["verdict"] == "fail"
    assert summarize(make_result(many, scenario=make_scenario(slo={})))["slo"]["verdict"] == "undecided"  # nothing asked
    tolerant = make_scenario(slo={"ttft_p95_s": 2.0, "max_failed_fraction": 0.2})
    assert summarize(make_result(lost, scenario=tolerant))["slo"]["verdict"] == "pass"


def test_route_targets_bind_their_route(make_result, make_scenario) -> None:
    slo = {"ttft_p95_s": 2.0, "routes": {"chat": {"ttft_p95_s": 0.4}}}
    rows = [{"arrival_s": i * 0.1, "route": "chat" if i % 2 else "batch", "output_tokens": 21} for i in range(60)]
    summary = summarize(make_result(rows, scenario=make_scenario(slo=slo)))
    assert summary["slo"]["met"] == {"ttft_p95_s": True, "route.chat.ttft_p95_s": False}
    assert summary["slo"]["missed_by"] == "TTFT p95 of chat 0.5 s > 0.4 s"
    assert summary["goodput"]["fraction"] == 0.5


def test_tenant_targets_bind_their_tenant_as_routes_do(make_result, make_scenario) -> None:
    targets = {"a": {"ttft_p95_s": 0.4}}
    slo = {"ttft_p95_s": 2.0, "tenants": targets, "routes": {"chat": {"e2e_p95_s": 9.0}}}
    rows = [
        {"arrival_s": i * 0.1, "tenant": "ab"[i % 2], "route": "chat" if i % 4 < 2 else "", "output_tokens": 21}
        for i in range(60)
    ]
    summary = summarize(make_result(rows, scenario=make_scenario(slo=slo)))
    assert summary["slo"]["met"] == {"ttft_p95_s": True, "route.chat.e2e_p95_s": True, "tenant.a.ttft_p95_s": False}
    assert summary["slo"]["missed_by"] == "TTFT p95 of a 0.5 s > 0.4 s"
    assert summary["goodput"]["fraction"] == 0.5
    assert summary["by_tenant"]["a"]["goodput"]["fraction"] == 0.0


@pytest.mark.parametrize(
    ("reason", "stated", "missed"),
    [
        ("safety", {}, False), ("too_long", {}, True), ("safety", True, True), ("too_long", False, False),
        ("too_long", {"too_long": False}, False), ("safety", {"safety": True}, True), ("exceeds_kv_cache", {}, True),
    ],
)  # fmt: skip
def test_a_rejection_by_policy_is_an_answer(make_result, make_scenario, reason: str, stated: Any, missed: bool) -> None:
    """5 % of prompts blocked by a safety pass made every fleet fail."""
    row = {"outcome": "rejected", "reason": reason, "output_tokens": 0, "first_token_s": np.nan}
    rows = [{"arrival_s": i * 0.1, "output_tokens": 21, **(row if i % 20 == 0 else {})} for i in range(2000)]
    scenario = make_scenario(slo={"ttft_p95_s": 2.0, "rejected_is_miss": stated})
    summary = summarize(make_result(rows, scenario=scenario))
    assert summary["slo"]["verdict"] == ("fail" if missed else "pass")
    assert summary["slo"]["failed_fraction"] == (0.05 if missed else 0.0)
    assert summary["goodput"]["fraction"] == (0.95 if missed else 1.0)
    assert summary["requests"]["rejected"] == 100
    give_up = CertainMiss(scenario.slo, 60)
    reasons = [give_up(np.nan, np.nan, np.nan, False, reason, True) for _ in range(3)]
    assert (reasons[-1] == "max_failed_fraction") == missed


def test_goodput_counts_every_target_and_every_failure(make_result) -> None:
    rows = [{}, {"outcome": "failed"}, {"first_token_s": 5.0, "finish_s": 6.0}, {"output_tokens": 1}]
    good = good_mask(make_result(rows).requests, Slo(ttft_p95_s=2.0, tpot_p95_s=0.1))
    assert good.tolist() == [True, False, False, True]


def _waiting(queue_s: np.ndarray, span_s: float) -> list[dict[str, float]]:
    arrivals = np.linspace(0, span_s, len(queue_s))
    return [
        {"arrival_s": a, "queue_s": q, "first_token_s": a + q + 0.1, "finish_s": a + q + 1.1}
        for a, q in zip(arrivals, queue_s, strict=True)
    ]


def test_a_growing_queue_is_overloaded(make_result) -> None:
    rng = np.random.default_rng(1)
    growing = np.linspace(0, 30, 400) + rng.exponential(1.0, 400)
    summary = summarize(make_result(_waiting(growing, 600.0)))
    assert summary["slo"]["verdict"] == "overloaded"


@pytest.mark.parametrize("seed", range(5))
def test_a_bursty_but_stable_queue_is_not(make_result, seed: int) -> None:
    waits = np.random.default_rng(seed).exponential(3.0, 400)
    assert not is_overloaded(make_result(_waiting(waits, 600.0)).requests)


def test_a_burst_in_the_middle_is_not(make_result) -> None:
    waits = np.concatenate([np.zeros(150), np.linspace(0, 30, 50), np.linspace(30, 0, 50), np.zeros(150)])
    assert not is_overloaded(make_result(_waiting(waits, 600.0)).requests)


def test_trend_statistics() -> None:
    assert mann_kendall_z(np.arange(10.0)) == pytest.approx(44 / np.sqrt(125))
    assert mann_kendall_z(-np.arange(10.0)) < -2.3
    assert mann_kendall_z(np.ones(10)) == 0.0
    assert theil_sen_slope(np.arange(5.0), np.array([0, 2, 4, 6, 100.0])) == 2.0
