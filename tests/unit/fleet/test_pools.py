"""Pools: mixed ones under one gateway, headroom, quota and stock-outs, warm replicas, scale to zero."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sim.analysis import price
from sim.engine.policies import make_scheduler
from sim.engine.request import EngineRequest
from sim.errors import ConfigError
from sim.fleet.blueprint import Blueprint
from sim.record import Result
from sim.run import simulate
from tests.conftest import L40S
from tests.laws.test_fleet import RETRY, a_scenario, a_trace

H100 = {**L40S, "name": "fast", "bandwidth_gb_s": 3350, "tflops_bf16": 989, "memory_gib": 79.6}
SMALL = {"kind": "requests_in_flight", "target": 4.0, "scale_down_window_s": 10.0}


def test_pools_of_two_gpus_and_two_markets_share_the_traffic_and_are_billed_apart() -> None:
    fleet = {"pools": {"slow": {"replicas": 2}, "fast": {"replicas": 1, "gpu": H100, "market": "spot"}}}
    result = simulate(a_scenario(fleet=fleet), a_trace(300, 6.0, 0))
    served = result.requests["replica"].astype(str).str.partition("-")[0].value_counts()
    assert served["fast"] > served["slow"] / 2  # one fast replica answers sooner, so it is the least loaded more often
    assert (result.requests["outcome"] == "completed").all()
    hours = result.end_s / 3600
    compute = price(result).find("compute")
    assert compute is not None
    usd = 2 * L40S["price"]["on_demand_usd_per_hour"] + H100["price"]["spot_usd_per_hour"]
    assert compute.usd == pytest.approx(usd * hours, rel=1e-6)


def test_a_pool_that_a_route_does_not_reach_serves_nothing() -> None:
    """Two models under one gateway: the hybrid's larger pool gets only what is escalated to it."""
    fleet = {"pools": {"main": {"replicas": 2}, "large": {"replicas": 1}}}
    scenario = a_scenario(fleet=fleet, gateway={"pools": ["main"]})
    result = simulate(scenario, a_trace(100, 3.0, 0))
    assert set(result.requests["replica"].astype(str).str.partition("-")[0]) == {"main"}
    assert result.replicas.set_index("pool")["busy_s"]["large"] == 0


def test_headroom_is_on_top_of_what_the_signal_asks_for() -> None:
    trace = a_trace(300, 4.0, 0)
    plain, spare = (
        simulate(a_scenario(fleet={"replicas": 1, "max_replicas": 8, "headroom_replicas": n}, autoscaler=SMALL), trace)
        for n in (0, 1)
    )
    assert spare.timeseries["replicas_ready"].max() == plain.timeseries["replicas_ready"].max() + 1
    assert spare.requests["ttft_s"].quantile(0.95) <= plain.requests["ttft_s"].quantile(0.95)


def test_headroom_stands_beside_a_fleet_that_nobody_scales_and_is_replaced() -> None:
    loss = [{"kind": "replica_loss", "at_s": 10.0}, {"kind": "pool_size", "at_s": 90.0, "replicas": 1}]
    result = simulate(a_scenario(fleet={"replicas": 2, "headroom_replicas": 1}, timeline=loss), a_trace(300, 3.0, 0))
    ready = result.timeseries["replicas_ready"]
    assert ready.iloc[0] == 3
    assert 3 in ready[result.timeseries["time_s"] > 12].to_numpy()
    assert ready.iloc[-1] == 2


def test_headroom_of_a_fleet_that_is_scaled_stays_below_the_most_replicas() -> None:
    fleet = {"replicas": 2, "headroom_replicas": 2, "max_replicas": 3}
    assert len(simulate(a_scenario(fleet=fleet, autoscaler=SMALL), a_trace(20, 2.0, 0)).replicas) == 3


@pytest.mark.parametrize(
    ("fleet", "begins"),
    [
        ({"replicas": 70}, 70),
        ({"replicas": 70, "headroom_replicas": 3}, 73),
        ({"replicas": 3, "max_replicas": 2}, 3),
        ({"pools": {"a": {"replicas": 66}, "b": {"replicas": 1, "headroom_replicas": 64}}}, 131),
        ({"replicas": 70, "pools": {"a": {"replicas": 3, "max_replicas": 1, "autoscaler": {"kind": "none"}}}}, 3),
    ],
)
def test_a_size_that_is_stated_is_cut_by_no_quota(fleet: dict[str, Any], begins: int) -> None:
    """``max_replicas`` (64 by default) is what an autoscaler gets."""
    assert len(simulate(a_scenario(fleet=fleet), a_trace(5, 1.0, 0)).replicas) == begins


@pytest.mark.parametrize("replicas", [0, 70])
def test_a_size_on_the_timeline_is_stated_too(replicas: int) -> None:
    sized = [{"kind": "pool_size", "at_s": 1.0, "replicas": replicas}]
    events = simulate(a_scenario(fleet={"replicas": 2}, timeline=sized), a_trace(20, 2.0, 0)).events
    assert [event["replicas"] for event in events if event["event"] == "scale"] == [replicas]


def test_who_begins_above_an_autoscalers_quota_is_brought_below_it_on_record() -> None:
    result = simulate(a_scenario(fleet={"replicas": 5, "max_replicas": 3}, autoscaler=SMALL), a_trace(300, 3.0, 0))
    scale = next(event for event in result.events if event["event"] == "scale")
    assert (scale["before"], scale["replicas"] <= 3) == (5, True)
    assert result.timeseries["replicas_ready"].iloc[0] == 5


def test_a_fleet_larger_than_its_budget_at_the_start_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fleet.gpu_budget: the fleet begins with 6 GPUs.*budget of 1"):
        simulate(a_scenario(fleet={"replicas": 6, "gpu_budget": 1}), a_trace(5, 1.0, 0))


@pytest.mark.parametrize("key", ["interval_s", "scrape_s"])
def test_no_control_loop_spins(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"autoscaler\.{key}.*0\.1"):
        a_scenario(autoscaler={"kind": "qps", key: 1e-320})


def test_a_stock_out_delays_a_launch_and_is_on_record() -> None:
    cold = {"provisioning": {"kind": "constant", "seconds": 5.0}, "stockout_probability": 0.7, "stockout_retry_s": 20.0}
    fleet = {"replicas": 1, "max_replicas": 4, "cold_start": cold}
    result = simulate(a_scenario(fleet=fleet, autoscaler=SMALL), a_trace(400, 5.0, 0))
    stock_outs = [event for event in result.events if event["event"] == "stock_out"]
    assert stock_outs
    waited = {event["replica"] for event in stock_outs}
    started = {e["replica"]: e["after_s"] for e in result.events if e["event"] == "ready"}
    assert all(started[name] >= 20.0 for name in waited & set(started))


def test_a_fleet_scaled_to_zero_starts_for_the_first_request() -> None:
    fleet = {"replicas": 0, "min_replicas": 0, "max_replicas": 2}
    result = simulate(a_scenario(fleet=fleet, autoscaler=SMALL, gateway=RETRY), a_trace(30, 1.0, 0))
    assert (result.requests["outcome"] == "completed").all()
    assert result.requests["ttft_s"].iloc[0] > 5.0  # a cold start
    assert result.timeseries["replicas_ready"].iloc[0] == 0


def test_a_warm_replica_is_ready_sooner_and_is_paid_for_asleep() -> None:
    trace = a_trace(300, 5.0, 0)
    scenario = a_scenario(fleet={"replicas": 1, "max_replicas": 2}, autoscaler=SMALL)
    warm = replace(scenario, fleet=replace(scenario.fleet, warm_replicas=1))
    cold_run, warm_run = simulate(scenario, trace), simulate(warm, trace)

    def second_at(result: Result) -> float:
        series = result.timeseries
        return float(series["time_s"][series["replicas_ready"] >= 2].min())

    assert second_at(warm_run) < second_at(cold_run)
    assert warm_run.replicas["idle_s"].sum() > 0
    assert warm_run.replicas["billed_start_s"].min() == 0.0
    assert (warm_run.replicas["billed_start_s"] == 0.0).sum() == 2


def test_who_is_waked_and_dies_at_the_same_moment_stays_dead() -> None:
    """A deploy sends sleepers home; one that a larger size has just waked is no sleeper any more."""
    timeline = [{"kind": "pool_size", "at_s": 10.0, "replicas": 2}, {"kind": "deploy", "at_s": 10.0}]
    for order in (timeline, timeline[::-1]):
        result = simulate(a_scenario(fleet={"replicas": 1, "warm_replicas": 1}, timeline=order), a_trace(200, 2.0, 0))
        assert (result.requests["outcome"] == "completed").all()
        assert len(result.replicas["replica"].unique()) == len(result.replicas)


def test_a_replica_that_slept_has_forgotten_its_prefixes() -> None:
    """vLLM's sleep discards the KV cache: what wakes finds nothing."""
    scenario = a_scenario()
    engine = Blueprint("main", scenario.model, scenario.gpu, scenario.engine).engine
    scheduler = make_scheduler(engine, 200, "main-0", lambda: 0.0)
    first, again, after = (
        EngineRequest(name, 160, 4, 0.0, content=((("system",), 160),)) for name in ("first", "again", "after")
    )

    def answered(request: EngineRequest) -> int:
        scheduler.add(request)
        while (batch := scheduler.compose()) is not None:
            scheduler.close(batch)
            scheduler.complete(batch)
        return request.cached_tokens

    assert answered(first) == 0
    assert answered(again) > 0
    scheduler.pool.clear()
    assert answered(after) == 0
    assert scheduler.pool.free == scheduler.pool.usable
