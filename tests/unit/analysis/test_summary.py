from __future__ import annotations

import json

import pytest

from sim.analysis import price, summarize
from sim.analysis.laws import LAWS, requests_in_system_area_s, violations

TOP_LEVEL = {
    "schema_version", "requests", "attempts", "tokens", "latency", "throughput", "throughput_total", "goodput", "slo",
    "utilisation", "amplification", "preemptions", "prefix_hit_rate", "fleet", "cost", "energy", "simulation",
    "left_out", "why_missed", "by_route", "by_tenant", "insurance", "closed_formula", "disaggregation",
}  # fmt: skip


def test_the_schema(make_result) -> None:
    summary = summarize(make_result())
    assert set(summary) == TOP_LEVEL
    assert set(summary["requests"]) == {"offered", "completed", "escalated", "timed_out", "shed", "rejected", "failed"}
    assert set(summary["latency"]) == {"ttft_s", "tpot_s", "itl_s", "e2e_s", "queue_s"}
    assert set(summary["latency"]["itl_s"]) == {"mean", "p50", "p90", "p95", "p99", "max"}
    assert set(summary["utilisation"]) == {"gpu_busy", "batch", "kv", "token"}
    assert summary["utilisation"]["token"] is None
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_an_empty_run_is_undefined_not_zero(make_result) -> None:
    summary = summarize(make_result([], end_s=10.0))
    assert summary["requests"]["offered"] == 0
    assert summary["latency"]["ttft_s"]["p95"] is None
    assert summary["goodput"]["fraction"] is None
    assert summary["cost"]["usd_per_1m_output_tokens"] is None
    assert summary["cost"]["total_usd"] == pytest.approx(1.8 / 360)
    assert summary["slo"]["verdict"] == "undecided"


def test_costs_divide_by_what_their_names_say(make_result) -> None:
    rows = [{}, {"outcome": "timed_out", "output_tokens": 0}]
    summary = summarize(make_result(rows, end_s=3600.0))
    assert summary["cost"]["usd_per_hour"] == pytest.approx(1.8)
    assert summary["cost"]["usd_per_1m_output_tokens"] == pytest.approx(1.8e6 / 11)
    assert summary["cost"]["usd_per_1m_tokens"] == pytest.approx(1.8e6 / 111)
    assert summary["cost"]["usd_per_1m_goodput_tokens"] == pytest.approx(1.8e6 / 11)


def test_the_window_cuts_answers_fairly(make_result, make_scenario) -> None:
    scenario = make_scenario(workload={"path": "x.csv", "warmup_s": 1.0})
    rows = [
        {"arrival_s": 0.0, "first_token_s": 0.5, "finish_s": 1.5, "output_tokens": 10},
        {"arrival_s": 2.0, "first_token_s": 2.5, "finish_s": 5.5, "output_tokens": 30},
        {"arrival_s": 4.0, "first_token_s": 4.5, "finish_s": 5.5, "output_tokens": 10},
    ]
    summary = summarize(make_result(rows, scenario=scenario))
    assert summary["throughput"]["output_tokens_per_s"] == pytest.approx((5 + 15) / 3)
    assert summary["throughput"]["requests_per_s"] == pytest.approx(1 / 3)
    assert summary["throughput"]["input_tokens_per_s"] == pytest.approx(100 / 3)
    assert summary["throughput_total"]["output_tokens_per_s"] == pytest.approx(50 / 5.5)


def test_utilisations(make_result) -> None:
    replica = {"busy_s": 6.0, "starting_s": 2.0, "ready_s": 2.0, "seq_s": 32.0, "kv_block_s": 200.0}
    found = summarize(make_result([{}], replicas=[replica], end_s=10.0))["utilisation"]
    assert found == {"gpu_busy": 0.6, "batch": 0.5, "kv": 0.25, "token": None}


def test_amplification_is_one_when_nothing_repeats(make_result) -> None:
    assert summarize(make_result())["amplification"] == {"attempts": 1.0, "tokens": 1.0}
    rows = [{"attempts": 3, "wasted_tokens": 22}]
    assert summarize(make_result(rows))["amplification"] == {"attempts": 3.0, "tokens": 3.0}


def test_fleet_counts_concurrent_replicas(make_result) -> None:
    replicas = [
        {"billed_start_s": 0.0, "billed_stop_s": 50.0, "busy_s": 0.0},
        {"billed_start_s": 50.0, "billed_stop_s": 100.0, "busy_s": 0.0},
        {"billed_start_s": 25.0, "billed_stop_s": 75.0, "busy_s": 0.0, "gpus": 2},
    ]
    fleet = summarize(make_result([{}], replicas=replicas, end_s=100.0))["fleet"]
    assert fleet == {
        "gpu_hours": pytest.approx(200 / 3600), "replicas_mean": 1.5, "replicas_max": 2, "gpus_mean": 2.0, "gpus_max": 3,
    }  # fmt: skip


def test_the_cost_tree_given_is_the_one_used(make_result) -> None:
    result = make_result()
    assert summarize(result, cost=price(result)) == summarize(result)


def test_an_honest_run_breaks_no_law(make_result) -> None:
    assert violations(make_result()) == []


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        ({"requests": [{"request_id": 1}, {"request_id": 1}]}, "outcomes_partition"),
        ({"requests": [{"outcome": "lost"}]}, "outcomes_partition"),
        ({"requests": [{"first_token_s": -1.0}]}, "causality"),
        ({"requests": [{"arrival_s": 2.0}, {"arrival_s": 1.0}]}, "causality"),
        ({"requests": [{"finish_s": 50.0}], "end_s": 40.0}, "causality"),
        ({"requests": [{"queue_s": 0.7}]}, "causality"),
        ({"requests": [{}], "replicas": [{"output_tokens": 12}]}, "tokens_conserved"),
        ({"requests": [{"cached_tokens": 101}]}, "tokens_conserved"),
        ({"requests": [{}], "replicas": [{"busy_s": 1e3}]}, "gpu_seconds_conserved"),
        ({"requests": [{}], "replicas": [{"kv_block_s": 1e6}]}, "gpu_seconds_conserved"),
    ],
)
def test_a_broken_law_is_named(make_result, broken, law: str) -> None:
    assert any(found.startswith(law) for found in violations(make_result(**broken)))


def test_littles_law_is_an_identity(make_result) -> None:
    rows = [{"arrival_s": a, "first_token_s": a + 0.1, "finish_s": a + d} for a, d in [(0, 5), (1, 1), (1, 7), (8, 2)]]
    assert requests_in_system_area_s(make_result(rows)) == pytest.approx(15.0)
    assert len(LAWS) == len({law.__name__ for law in LAWS})
