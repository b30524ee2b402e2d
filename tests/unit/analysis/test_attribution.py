from __future__ import annotations

import pytest

from sim.analysis.attribution import tail_attribution
from sim.analysis.by_label import by_label
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
    assert {row["name"] for row in found} == {"a", "b", "(none)"}
    assert sum(row["usd"] for row in found) == pytest.approx(price(result).find("compute", "busy").usd)
    assert found[0]["usd"] == max(row["usd"] for row in found)
    assert {row["name"]: row["requests"] for row in found}["a"] == 2
