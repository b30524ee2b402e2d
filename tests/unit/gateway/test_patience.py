"""How long clients wait: for an attempt or for the whole call, whatever is under way when their patience ends.

Sources: gRPC proposal A6 ("the call deadline applies across all attempts"); the head of ``sim.gateway.patience``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.analysis.laws import violations
from sim.gateway.request import ClientRequest
from sim.gateway.waiting import WaitingRoom
from sim.record import Result
from sim.workload import Trace
from tests.laws.test_gateway import API, run

SLOW = {"max_num_seqs": 1, "num_gpu_blocks_override": 800, "max_model_len": 4096}
RETRIES = {"kind": "backoff", "max_attempts": 4, "base_s": 0.1, "jitter": "none"}


def queued(n: int = 4, gap_s: float = 0.0, **gateway: Any) -> Result:
    """``n`` requests for one seat; each answer takes about 20 s."""
    trace = Trace(np.arange(n) * gap_s, np.full(n, 100), np.full(n, 600))
    result = run(gateway, trace, replicas=1, engine=SLOW)
    assert violations(result) == []
    return result


def waited(result: Result) -> list[float]:
    return (result.requests["finish_s"] - result.requests["arrival_s"]).round(6).tolist()


def test_a_deadline_of_the_call_covers_all_attempts() -> None:
    """10 s for the call: all give up at 10 s after one attempt. For each attempt: 4 x 10 s and the waits of 0.1, 0.2, 0.4 s."""
    patience = {"client_timeout_s": 10.0, "retries": RETRIES}
    call = queued(client_timeout_covers="call", **patience)
    assert waited(call) == [10.0] * 4
    assert set(call.requests["attempts"]) == {1}
    attempt = queued(**patience)
    assert waited(attempt)[-1] == pytest.approx(40.7)
    assert attempt.requests["attempts"].tolist()[-1] == 4


def test_a_deadline_passes_during_back_off() -> None:
    """Refused at 0 and at 4 s; the next try would be at 12 s: the client is gone at 10 s, after two attempts."""
    retries = {**RETRIES, "base_s": 4.0, "max_s": 60.0}
    result = queued(6, 0.1, client_timeout_s=10.0, client_timeout_covers="call", max_queue_requests=1, retries=retries)
    refused = result.requests[result.requests["attempts"] == 2]
    assert len(refused) == 4  # one has the seat, one waits for it
    assert set(refused["outcome"]) == {"timed_out"}
    assert waited(result) == [10.0] * 6


@pytest.mark.parametrize("covers", ["call", "attempt"])
@pytest.mark.parametrize(
    "gateway",
    [
        {"passes": [{"stage": "before", "latency_s": 30.0}]},
        {"passes": [{"stage": "before", "pool": "main", "output_tokens": 2000}]},
        {"passes": [{"stage": "after", "pool": "main", "output_tokens": 2000}]},
        {"hybrid": {"api_first": True}, "apis": {"big": {**API, "ttft_p50_s": 20.0, "ttft_p95_s": 21.0}}},
        {"hybrid": {"api_first": True, "after_failure": False},
         "apis": {"big": {**API, "outages": [{"start_s": 0, "duration_s": 1e6}], "max_attempts": 20}}},
        {"queue": {"max_in_flight": 1}},
        {"cache": {"latency_s": 30.0}, "dedupe": True},
    ],
    ids=["pass by latency", "pass before", "pass after", "slow provider", "provider down", "queue", "slow cache"],
)  # fmt: skip
def test_nobody_waits_longer_than_the_client(gateway: dict[str, Any], covers: str) -> None:
    n = 4
    labels = {"prompt_id": np.array(["p"] * n, dtype=object)}
    trace = Trace(np.array([0.0, 0.0, 3.0, 9.0]), np.full(n, 100), np.full(n, 150), labels)
    result = run({**gateway, "client_timeout_s": 5.0, "client_timeout_covers": covers}, trace, replicas=1, engine=SLOW)
    assert violations(result) == []
    assert (result.requests["finish_s"] - result.requests["arrival_s"] <= 5.0 + 1e-9).all()
    assert (result.requests["outcome"] == "timed_out").any()


def test_an_old_try_s_deadline_does_not_end_a_later_one() -> None:
    """Refused at 0.1 s and told to come at 4 s; then served for about 5 s: the first try's deadline at 6.1 s is void."""
    limit = {"kind": "rate_limit", "requests_per_s": 0.25}
    trace = Trace(np.array([0.0, 0.1]), np.full(2, 100), np.array([10, 200]))
    result = run({"client_timeout_s": 6.0, "admission": [limit], "retries": RETRIES}, trace, replicas=1, engine=SLOW)
    assert result.requests["outcome"].tolist() == ["completed"] * 2
    assert result.requests["attempts"].tolist() == [1, 2]
    assert 8.0 < result.requests["finish_s"][1] < 10.0


def test_who_comes_again_stands_behind_those_who_came_meanwhile() -> None:
    room = WaitingRoom(fair=False, weights={})
    first, second = ClientRequest(0, 0.0, 100), ClientRequest(1, 0.0, 100)
    room.push(first)
    room.push(second)
    room.remove(first)
    room.push(first)
    assert [room.pop(), room.pop(), room.pop()] == [second, first, None]


def test_attempts_of_a_request_that_the_run_gives_up_on_are_in_the_records() -> None:
    """Nobody is there after 0.5 s: requests that are still being tried when the run ends count their tries."""
    retries = {"kind": "backoff", "max_attempts": 100, "base_s": 0.2, "max_s": 86_400.0, "jitter": "none"}
    trace = Trace(np.arange(3) * 1.0, np.full(3, 100), np.full(3, 500))
    lost = [{"kind": "replica_loss", "at_s": 0.5, "repair": "none"}]
    result = run({"retries": retries, "queue": {"ttl_s": 1.0}}, trace, replicas=1, timeline=lost)
    assert violations(result) == []
    assert (result.requests["outcome"] != "completed").all()
