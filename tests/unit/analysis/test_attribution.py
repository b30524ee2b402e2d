from __future__ import annotations

import pytest

from sim.analysis import summarize
from sim.analysis.attribution import tail_attribution, why_words
from sim.analysis.by_label import MOST, OTHERS, by_label
from sim.analysis.cost_tree import price


def _slow(queue_s: float, prefill_s: float, **more) -> dict:
    return {"arrival_s": 10.0, "queue_s": queue_s, "first_token_s": 10 + queue_s + prefill_s, "finish_s": 60.0, **more}


def test_queue_and_prefill_split_the_wait(make_result) -> None:
    shares = tail_attribution(make_result([_slow(6.0, 2.0)]))
    assert shares["queue"] == pytest.approx(0.75)
    assert shares["prefill"] == pytest.approx(0.25)
    assert sum(shares.values()) == pytest.approx(1.0)


def test_a_retried_request_waited_for_its_retry(make_result) -> None:
    assert tail_attribution(make_result([_slow(8.0, 2.0, attempts=2)]))["retry"] == pytest.approx(0.8)


def test_cold_start_and_full_kv_are_read_from_the_series(make_result) -> None:
    result = make_result([_slow(10.0, 0.0)])
    series = result.timeseries
    series.loc[series["time_s"].between(11, 14), "replicas_starting"] = 1
    series.loc[series["time_s"].between(13, 18), "kv_used"] = 1.0
    shares = tail_attribution(result)
    assert shares["cold start"] == pytest.approx(0.4)
    assert shares["KV"] == pytest.approx(0.4)
    assert shares["queue"] == pytest.approx(0.2)


def test_no_answer_no_tail(make_result) -> None:
    assert tail_attribution(make_result([{"outcome": "failed"}])) == {}


def test_labels_share_the_busy_bill(make_result) -> None:
    rows = [{"tenant": "a"}, {"tenant": "a"}, {"tenant": "b", "output_tokens": 111}, {"outcome": "failed"}]
    result = make_result(rows)
    found = by_label(result, "tenant")
    assert set(found) == {"a", "b", "(none)"}
    assert sum(row["usd"] for row in found.values()) == pytest.approx(price(result).find("compute", "busy").usd)
    assert next(iter(found.values()))["usd"] == max(row["usd"] for row in found.values())
    assert found["a"]["requests"]["offered"] == 2
    assert found["(none)"]["requests"] == {
        "offered": 1, "completed": 0, "escalated": 0, "timed_out": 0, "shed": 0, "rejected": 0, "failed": 1,
    }  # fmt: skip


def test_many_tenants_are_summed_without_loss(make_result) -> None:
    rows = [{"tenant": f"t{i}", "output_tokens": 10 + i} for i in range(MOST + 50)]
    result = make_result(rows)
    found = by_label(result, "tenant")
    assert len(found) == MOST + 1
    assert list(found)[-1] == OTHERS
    assert found[OTHERS]["requests"]["offered"] == 50
    assert sum(row["usd"] for row in found.values()) == pytest.approx(price(result).find("compute", "busy").usd)
    assert by_label(make_result([{}]), "tenant") == {}


def test_why_missed_names_every_missed_target(make_result, make_scenario) -> None:
    slow = [_slow(i * 10.0, 8.0) | {"tenant": "a"} for i in range(40)]
    lost = [
        {"arrival_s": 400.0 + i, "outcome": "timed_out", "reason": "client_timeout", "output_tokens": 0} for i in range(4)
    ]
    scenario = make_scenario(slo={"ttft_p95_s": 2.0, "tpot_p95_s": 1e-6, "tenants": {"a": {"e2e_p95_s": 1e-3}}})
    summary = summarize(make_result(slow + lost, scenario=scenario))
    assert set(summary["why_missed"]) == {"ttft_p95_s", "tpot_p95_s", "tenant.a.e2e_p95_s", "max_failed_fraction"}
    assert all(sum(causes.values()) == pytest.approx(1.0) for causes in summary["why_missed"].values())
    assert summary["why_missed"]["max_failed_fraction"] == {"timed_out client_timeout": 1.0}
    assert "lost: timed_out client_timeout 100%" in why_words(summary["why_missed"])
    assert summarize(make_result([{}] * 30))["why_missed"] == {}
