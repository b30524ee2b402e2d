"""Laws of a fleet that lives: what is provisioned is accounted for and billed, what dies says no more, nothing is lost
from the books, and a longer notice never hurts."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis import price
from sim.analysis.laws import violations
from sim.record import Result
from sim.run import simulate
from sim.spec import Scenario, parse_scenario
from sim.workload import Trace
from tests.conftest import L40S, LLAMA3_8B

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
FAST_START = {
    "provisioning": {"kind": "lognormal", "median_s": 8.0, "sigma": 0.5},
    "image": {"kind": "constant", "seconds": 2.0},
    "weights_gib_per_s": 5.0,
    "engine_start": {"kind": "uniform", "low_s": 1.0, "high_s": 4.0},
}
RETRY = {"retries": {"kind": "backoff", "max_attempts": 8}}


def a_trace(n: int, rate_per_s: float, seed: int) -> Trace:
    rng = np.random.default_rng(seed)
    arrival = np.cumsum(rng.exponential(1 / rate_per_s, n))
    prompt = np.clip(rng.lognormal(6, 1, n), 1, 4000).astype(np.int64)
    return Trace(arrival - arrival[0], prompt, np.clip(rng.lognormal(4.5, 0.8, n), 1, 800).astype(np.int64))


def a_scenario(**changes: Any) -> Scenario:
    data: dict[str, Any] = {"model": LLAMA3_8B, "gpu": L40S, "workload": {"path": "by-hand.csv"}, **changes}
    data["fleet"] = {"cold_start": FAST_START, "billing": {"minimum_s": 0.0, "increment_s": 0.0}, **data.get("fleet", {})}
    return parse_scenario(data)


AUTOSCALERS = (
    {"kind": "tokens_in_flight", "target": 4000.0, "scale_down_window_s": 20.0},
    {"kind": "requests_in_flight", "target": 4.0, "scale_down_window_s": 20.0},
    {"kind": "qps", "target": 1.0, "staleness_s": 20.0},
    {"kind": "queue_length", "target": 1.0},
    {"kind": "kv_occupancy", "target": 0.05, "scale_down_window_s": 10.0},
    {"kind": "backlog_s", "target": 0.1},
    {"kind": "hpa_v2", "target": 4.0, "scale_down_window_s": 30.0},
    {"kind": "keda", "target": 2.0, "cooldown_s": 30.0, "scale_down_window_s": 10.0},
    {"kind": "knative_kpa", "target": 6.0},
    {"kind": "sla_planner", "interval_s": 20.0, "scrape_s": 20.0},
)
HAZARDS = (
    None,
    {"kind": "exponential", "mean_life_h": 0.02},
    {"kind": "weibull", "scale_h": 0.02, "shape": 0.7},
    {"kind": "time_of_day", "mean_life_h": 0.02, "multipliers": [1.0, 0.0]},
    {
        "kind": "zone_runs", "up_mean_h": 0.02, "up_median_h": 0.015, "down_mean_h": 0.005, "down_median_h": 0.004,
    },
)  # fmt: skip

HEDGED = {**RETRY, "hedging": {"delay_s": 1.0, "max_hedges": 3}, "queue": {"max_in_flight": 8}}
CHANGES: tuple[list[dict[str, Any]], ...] = (
    [],
    [{"kind": "deploy", "at_s": 10.0, "max_surge": 1}],
    [{"kind": "deploy", "at_s": 10.0, "max_surge": 0, "max_unavailable": 1}],
    [{"kind": "replica_loss", "at_s": 12.0, "repair": "restart"}],
    [{"kind": "replica_loss", "at_s": 12.0, "repair": "none", "count": 5}],
    [{"kind": "zone_loss", "at_s": 12.0, "zone": "a", "until_s": 40.0}, {"kind": "pool_size", "at_s": 20.0, "replicas": 3}],
)


@st.composite
def living_fleets(draw: st.DrawFn) -> Scenario:
    return a_scenario(
        fleet={
            "replicas": draw(st.integers(1, 3)),
            "min_replicas": draw(st.integers(0, 1)),
            "max_replicas": 5,
            "market": "spot",
            "warm_replicas": draw(st.integers(0, 1)),
            "zones": ["a", "b"],
            "drain_timeout_s": draw(st.sampled_from([0.0, 5.0, 300.0])),
            "billing": {
                "starts": draw(st.sampled_from(["requested", "instance", "ready"])),
                "increment_s": draw(st.sampled_from([0.0, 1.0, 3600.0])),
                "minimum_s": draw(st.sampled_from([0.0, 60.0])),
            },
            "failures": {
                "gpu_mtbf_h": draw(st.sampled_from([None, 0.05])),
                "zone_mtbf_h": draw(st.sampled_from([None, 0.02])),
                "zone_outage_s": 15.0,
                "detect_s": draw(st.sampled_from([0.0, 7.0])),
            },
            "headroom_replicas": draw(st.integers(0, 1)),
            "gpu_budget": draw(st.sampled_from([None, 6])),
            "background": draw(st.sampled_from([None, {"tasks": 20, "input_tokens": 300, "output_tokens": 100}])),
        },
        autoscaler=draw(st.sampled_from(AUTOSCALERS)),
        spot={
            "hazard": draw(st.sampled_from(HAZARDS)),
            "notice_s": draw(st.sampled_from([0.0, 3.0, 120.0])),
            "on_notice": draw(st.sampled_from(["drain", "hand_back", "ignore"])),
            "correlation": draw(st.sampled_from([0.0, 0.5, 1.0])),
            "fallback": draw(st.sampled_from(["none", "on_demand"])),
        },
        gateway=draw(st.sampled_from([{}, RETRY, HEDGED])),
        timeline=draw(st.sampled_from(CHANGES)),
        seed=draw(st.integers(0, 5)),
    )


@settings(max_examples=1000 if DEEP else 40)
@given(living_fleets(), st.integers(0, 3))
def test_whatever_happens_the_books_balance(scenario: Scenario, seed: int) -> None:
    result = simulate(scenario, a_trace(150, 3.0, seed))
    assert violations(result) == []
    assert len(result.requests) == 150
    assert_dollars_are_seconds_times_price(result)
    assert_no_token_from_the_dead(result)


def assert_dollars_are_seconds_times_price(result: Result) -> None:
    """The bill is recomputed from the states alone, replica by replica."""
    listed = {"spot": L40S["price"]["spot_usd_per_hour"], "on_demand": L40S["price"]["on_demand_usd_per_hour"]}
    billing, usd = result.scenario.fleet.billing, []
    for row in result.replicas.to_dict("records"):
        used_s = math.fsum(row[part] for part in ("busy_s", "idle_s", "starting_s", "draining_s", "dead_s"))
        billed_s = used_s
        handed_back = row["billed_start_s"] + used_s < result.end_s - 1e-6  # it may be taken before its death is known
        if handed_back and used_s > 1e-9:
            billed_s = max(used_s, billing.minimum_s)
            if billing.increment_s:
                billed_s = math.ceil(billed_s / billing.increment_s - 1e-9) * billing.increment_s
        usd.append(billed_s * row["gpus"] * listed[row["market"]] / 3600)
    compute = price(result).find("compute")
    assert compute is not None
    assert compute.usd == pytest.approx(math.fsum(usd), abs=0.005)


def assert_no_token_from_the_dead(result: Result) -> None:
    answered = result.requests[result.requests["outcome"] == "completed"]
    lives = result.replicas.set_index("replica")
    stopped = lives["stopped_s"].reindex(answered["replica"].astype(str)).to_numpy()
    ready = lives["ready_s"].reindex(answered["replica"].astype(str)).to_numpy()
    assert (answered["finish_s"].to_numpy() <= stopped + 1e-9).all()
    assert (answered["first_token_s"].to_numpy() >= ready - 1e-9).all()


def test_every_request_in_flight_at_an_eviction_is_accounted_for() -> None:
    scenario = a_scenario(
        fleet={"replicas": 3, "market": "spot", "failures": {"detect_s": 0.0}},
        spot={"hazard": {"kind": "exponential", "mean_life_h": 0.01}, "notice_s": 0.0},
    )
    lost = simulate(scenario, a_trace(400, 6.0, 1))
    evicted = sum(event["requests"] for event in lost.events if event["event"] == "eviction")
    assert evicted > 20
    assert (lost.requests["reason"] == "evicted").sum() == evicted
    retried = simulate(replace(scenario, gateway=parse_scenario(_plain(RETRY)).gateway), a_trace(400, 6.0, 1))
    evictions = [event for event in retried.events if event["event"] == "eviction"]
    assert (retried.requests["attempts"] - 1).sum() == retried.gateway["retries"] > 0
    failed = (retried.requests["outcome"] == "failed").sum()
    assert sum(event["requests"] for event in evictions) == retried.gateway["retries"] + failed
    # a step in progress counts as sampled, so the tokens that evictions lost are the replicas' waste
    assert sum(event["tokens"] for event in evictions) == retried.replicas["wasted_tokens"].sum()


def _plain(gateway: dict[str, Any]) -> dict[str, Any]:
    return {"model": LLAMA3_8B, "gpu": L40S, "workload": {"path": "by-hand.csv"}, "gateway": gateway}


def test_more_notice_never_loses_more_tokens() -> None:
    """Paired seeds: the machines go at the same drawn ages; more is known, earlier."""
    lost: dict[float, int] = {}
    for notice_s in (0.0, 30.0, 120.0):
        lost[notice_s] = 0
        for seed in range(4):
            scenario = a_scenario(
                fleet={"replicas": 3, "market": "spot"},
                spot={"hazard": {"kind": "exponential", "mean_life_h": 0.06}, "notice_s": notice_s},
                gateway=RETRY,
                seed=seed,
            )
            result = simulate(scenario, a_trace(500, 2.0, seed))
            lost[notice_s] += int(result.replicas["wasted_tokens"].sum())
    assert lost[0.0] > lost[30.0] >= lost[120.0]


def test_a_static_fleet_makes_no_event_of_its_own() -> None:
    trace = a_trace(100, 3.0, 0)
    plain = simulate(a_scenario(fleet={"replicas": 2}), trace)
    assert plain.events == []
    assert (plain.replicas["idle_s"] + plain.replicas["busy_s"]).to_numpy() == pytest.approx(plain.end_s)


def test_a_replica_of_two_gpus_dies_whole_and_a_restart_is_on_the_same_machine() -> None:
    scenario = a_scenario(
        fleet={"replicas": 1}, engine={"tensor_parallel_size": 2}, gateway=RETRY,
        timeline=[{"kind": "replica_loss", "at_s": 10.0, "repair": "restart"}],
    )  # fmt: skip
    result = simulate(scenario, a_trace(100, 2.0, 0))
    old, new = result.replicas.to_dict("records")
    assert old["dead_s"] == pytest.approx(30.0)
    assert new["billed_start_s"] == pytest.approx(old["billed_stop_s"]) == pytest.approx(40.0)
    assert new["starting_s"] < 10.0  # neither provisioning nor image
    failed = result.requests[result.requests["outcome"] != "completed"]
    assert failed["finish_s"].between(10.0, 40.0).all()  # sent to the dead replica until its death was known


def test_a_pool_never_exceeds_its_gpu_budget() -> None:
    scenario = a_scenario(fleet={"replicas": 1, "gpu_budget": 2}, autoscaler={"kind": "queue_length", "target": 0.01})
    result = simulate(scenario, a_trace(300, 20.0, 0))
    series = result.timeseries
    assert (series["replicas_ready"] + series["replicas_starting"]).max() == 2
    assert any(event["event"] == "quota" for event in result.events)
