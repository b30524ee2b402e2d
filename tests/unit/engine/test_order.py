"""Other orders of the engine's queue, by hand. Sources: the head of ``sim.engine.order``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.analysis.laws import violations
from sim.errors import ConfigError
from sim.record import Result
from sim.spec import parse_scenario
from sim.spec.slo import RouteSlo, Slo
from sim.workload import Trace
from tests.laws.test_gateway import run

ONE_SEAT = {"max_num_seqs": 1, "num_gpu_blocks_override": 800, "max_model_len": 4096}
SLO = {"ttft_p95_s": 5.0, "routes": {"urgent": {"ttft_p95_s": 1.0}, "batch": {"ttft_p95_s": 60.0}}}


def served(policy: str, prompts: list[int], routes: list[str], **engine: Any) -> Result:
    """Request 0 has the seat while the others come, a tenth of a second apart."""
    n = len(prompts)
    trace = Trace(np.arange(n) * 0.1, np.array(prompts), np.full(n, 60), {"route": np.array(routes, dtype=object)})
    result = run({}, trace, replicas=1, engine={**ONE_SEAT, "scheduling_policy": policy, **engine}, slo=SLO)
    assert violations(result) == []
    return result


def order(result: Result) -> list[int]:
    return result.requests["first_token_s"].argsort().tolist()


def test_the_earliest_deadline_goes_first() -> None:
    """Due at 60.1, 5.2, 1.3 and 1.4 s."""
    routes = ["", "batch", "", "urgent", "urgent"]
    assert order(served("earliest_deadline", [100] * 5, routes)) == [0, 3, 4, 2, 1]
    assert order(served("fcfs", [100] * 5, routes)) == [0, 1, 2, 3, 4]


def test_the_shortest_prompt_goes_first_and_equals_by_arrival() -> None:
    assert order(served("shortest_prompt", [100, 900, 30, 300, 30], [""] * 5)) == [0, 2, 4, 3, 1]


@pytest.mark.parametrize("policy", ["earliest_deadline", "shortest_prompt"])
def test_a_retry_keeps_its_deadline_and_everybody_is_served(policy: str) -> None:
    trace = Trace(np.arange(40) * 0.02, np.arange(40) * 30 + 10, np.full(40, 20))
    gateway = {"client_timeout_s": 2.0, "retries": {"kind": "backoff", "max_attempts": 9}}
    result = run(gateway, trace, replicas=1, engine={**ONE_SEAT, "max_num_seqs": 4, "scheduling_policy": policy}, slo=SLO)
    assert violations(result) == []
    assert (result.requests["outcome"] == "completed").sum() >= 20


@pytest.mark.parametrize("policy", ["earliest_deadline", "shortest_prompt", "priority"])
def test_preempted_or_not_skipped_equals_stepped(policy: str) -> None:
    """A small pool, so that the largest key is preempted."""
    rng = np.random.default_rng(1)
    routes = rng.choice(np.array(["", "urgent", "batch"], dtype=object), 60)
    trace = Trace(np.arange(60) * 0.05, rng.integers(10, 400, 60), rng.integers(50, 200, 60), {"route": routes})
    engine = {"max_num_seqs": 16, "num_gpu_blocks_override": 120, "max_model_len": 1024, "scheduling_policy": policy}
    runs = [run({}, trace, replicas=1, engine={**engine, "skip_decode": skip}, slo=SLO) for skip in (True, False)]
    assert runs[0].requests["preemptions"].sum() > 0
    for column in ("first_token_s", "finish_s", "preemptions"):
        assert runs[0].requests[column].to_numpy() == pytest.approx(runs[1].requests[column].to_numpy(), abs=1e-9)
    assert violations(runs[0]) == []


def test_the_shortest_first_lowers_the_mean_and_deadlines_help_the_urgent() -> None:
    rng = np.random.default_rng(2)
    n = 150
    routes = rng.choice(np.array(["batch", "urgent"], dtype=object), n)
    trace = Trace(np.arange(n) * 0.2, rng.integers(50, 3500, n), np.full(n, 15), {"route": routes})
    engine = {"max_num_seqs": 2, "num_gpu_blocks_override": 800, "max_model_len": 4096}
    ttft = {
        policy: run({}, trace, replicas=1, engine={**engine, "scheduling_policy": policy}, slo=SLO).requests["ttft_s"].to_numpy()
        for policy in ("fcfs", "shortest_prompt", "earliest_deadline")
    }  # fmt: skip
    assert ttft["shortest_prompt"].mean() < 0.8 * ttft["fcfs"].mean()
    urgent = routes == "urgent"
    assert ttft["earliest_deadline"][urgent].mean() < 0.5 * ttft["fcfs"][urgent].mean()


def test_when_a_first_token_is_due() -> None:
    slo = Slo(
        ttft_p50_s=0.5, ttft_p95_s=2.0, routes={"a": RouteSlo(ttft_p95_s=1.0), "b": RouteSlo(tpot_p95_s=0.1)},
        tenants={"t": RouteSlo(ttft_p99_s=0.8)},
    )  # fmt: skip
    due = [slo.ttft_target_s(route, tenant) for route, tenant in (("", ""), ("a", ""), ("a", "t"), ("b", ""), ("b", "t"))]
    assert due == [2.0, 1.0, 0.8, float("inf"), 0.8]


def test_an_order_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="scheduling_policy"):
        parse_scenario(
            {"model": {}, "gpu": {}, "workload": {"path": "x"}, "engine": {"scheduling_policy": "longest_prompt"}}
        )
