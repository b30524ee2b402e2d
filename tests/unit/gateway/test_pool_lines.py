"""Requests that only one pool may take wait at the gateway while it has no server, and are its demand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.analysis.laws import violations
from sim.engine.clock import ARRIVAL, Clock
from sim.fleet.endpoints import Endpoints
from sim.gateway.queueing import Line
from sim.gateway.request import ClientRequest
from sim.gateway.waiting import WaitingRoom
from sim.record.result import Result
from sim.spec.gateway.admission import QueueSpec
from sim.workload import Trace
from tests.laws.test_gateway import run

ROUTES = {"routes": {"chat": "b"}}
LARGER = {"hybrid": {"larger_pool": "b", "uncertain_fraction": 0.5}}
BEFORE = {"passes": [{"stage": "before", "pool": "b", "routes": ["chat"]}]}
AFTER = {"passes": [{"stage": "after", "pool": "b", "routes": ["chat"]}]}
NAMED = pytest.mark.parametrize("gateway", [ROUTES, LARGER, BEFORE, AFTER], ids=["route", "larger", "before", "after"])


def trace(n: int = 60, gap_s: float = 10.0) -> Trace:
    routes = np.array([("chat", "code")[i % 2] for i in range(n)], dtype=object)
    return Trace(np.arange(n) * gap_s, np.full(n, 200), np.full(n, 20), {"route": routes})


def asleep(gateway: dict[str, Any], n: int = 60, **changes: Any) -> Result:
    pools = {"a": {"replicas": 1, "max_replicas": 1}, "b": {"replicas": 0, "min_replicas": 0, "max_replicas": 2}}
    return run(gateway, trace(n), fleet={"pools": pools}, autoscaler={"kind": "tokens_in_flight"}, **changes)


def outcomes(result: Result) -> dict[tuple[str, str], int]:
    requests = result.requests
    return requests.groupby([requests["outcome"].astype(str), requests["reason"].astype(str)]).size().to_dict()


@NAMED
def test_a_pool_at_zero_wakes_for_what_names_it(gateway: dict[str, Any]) -> None:
    result = asleep(gateway)
    assert set(result.requests["outcome"]) == {"completed"}, outcomes(result)
    assert violations(result) == []


def standing(gateway: dict[str, Any], timeline: list[dict[str, Any]], b: int = 1, n: int = 60) -> Result:
    pools = {"a": {"replicas": 1}, "b": {"replicas": b, "min_replicas": 0}}
    return run(gateway, trace(n), fleet={"pools": pools}, timeline=timeline)


@NAMED
def test_what_names_a_pool_without_a_server_goes_on_when_one_comes(gateway: dict[str, Any]) -> None:
    """No autoscaler: the pool's first server is asked for at 100 s."""
    result = standing(gateway, [{"kind": "pool_size", "pool": "b", "at_s": 100.0, "replicas": 1}], b=0)
    assert set(result.requests["outcome"]) == {"completed"}, outcomes(result)
    assert violations(result) == []


@NAMED
def test_those_who_wait_fail_when_the_pool_is_closed(gateway: dict[str, Any]) -> None:
    """It is given up at 155 s, while its first server comes; who asks for it later fails at once."""
    changes = [{"kind": "pool_size", "pool": "b", "at_s": at_s, "replicas": size} for at_s, size in ((100.0, 1), (155.0, 0))]
    requests = (result := standing(gateway, changes, b=0)).requests
    lost = requests[requests["outcome"] == "failed"]
    assert set(lost["reason"].astype(str)) == {"pass_unavailable" if "passes" in gateway else "no_replica"}
    early = lost["arrival_s"] < 155.0
    assert early.any() and not early.all()
    assert set(lost.loc[early, "finish_s"]) == {155.0}
    assert (lost.loc[~early, "finish_s"] - lost.loc[~early, "arrival_s"]).max() < 10.0
    assert violations(result) == []


def test_a_lost_server_s_pool_loses_only_what_was_there() -> None:
    result = standing(ROUTES, [{"kind": "replica_loss", "pool": "b", "at_s": 40.1}])
    assert (result.requests["outcome"] != "completed").sum() <= 2, outcomes(result)
    assert violations(result) == []


@pytest.mark.parametrize(
    ("policy", "outcome", "reason"),
    [
        ({"queue": {"max_requests": 3}}, "shed", "gateway_queue_full"),
        ({"queue": {"ttl_s": 30.0}}, "shed", "queue_ttl"),
        ({"client_timeout_s": 45.0}, "timed_out", "client_timeout"),
    ],
)
@NAMED
def test_the_queue_s_bounds_and_the_client_s_patience_hold_there_too(
    gateway: dict[str, Any], policy: dict[str, Any], outcome: str, reason: str
) -> None:
    """Whoever gave up was demand all the same: the pool woke."""
    result = asleep(gateway | policy)
    found = outcomes(result)
    assert set(found) == {("completed", ""), (outcome, reason)}
    assert violations(result) == []
    chat = result.requests[result.requests["route"] == "chat"] if "hybrid" not in gateway else result.requests
    assert (chat["outcome"] == "completed").any()


def test_who_waits_goes_on_in_order_of_priority() -> None:
    n = 20
    labels = {"route": np.full(n, "chat", dtype=object), "priority": np.arange(n)[::-1] % 2}
    waiting = Trace(np.arange(n) * 0.5, np.full(n, 200), np.full(n, 20), labels)
    pools = {"a": {"replicas": 1}, "b": {"replicas": 0}}
    resize = [{"kind": "pool_size", "pool": "b", "at_s": 100.0, "replicas": 1}]
    requests = run(ROUTES, waiting, fleet={"pools": pools}, timeline=resize).requests
    urgent = labels["priority"][requests["request_id"]] == 0
    assert requests.loc[urgent, "first_token_s"].max() <= requests.loc[~urgent, "first_token_s"].min()


def test_who_comes_again_in_the_same_try_has_a_time_to_live_of_its_own() -> None:
    """Out at 10 s, in again at 20 s: 30 s from then on, whatever the first wait's timer says; no demand is left over."""
    clock, endpoints, request = Clock(), Endpoints(["b"]), ClientRequest(0, 0.0, 100)
    line = Line(clock, endpoints, QueueSpec(ttl_s=30.0), (0,), WaitingRoom(True, {}))
    waiting: dict[float, tuple[int, float]] = {}
    demand = endpoints.demand[0]
    clock.at(0.0, ARRIVAL, lambda _: line.enter(request, 70))
    clock.at(10.0, ARRIVAL, lambda _: line.next())
    clock.at(20.0, ARRIVAL, lambda _: line.enter(request, 50))
    for at_s in (5.0, 15.0, 40.0, 60.0):
        clock.at(at_s, ARRIVAL, lambda _: waiting.update({clock.now: (len(line), demand.waiting_tokens)}))
    clock.run()
    assert waiting == {5.0: (1, 70.0), 15.0: (0, 0.0), 40.0: (1, 50.0), 60.0: (0, 0.0)}
    assert (demand.waited, demand.waiting_requests) == (1.0, 0.0)  # the one that was not sent
