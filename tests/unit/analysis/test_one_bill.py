"""One bill: the month is that of the fleet that was simulated, and the tail after the last arrival decides nothing."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace

import pytest

from sim.analysis import cost_tree, month, price, summarize, tiers
from sim.analysis.cost_tree import window_s
from sim.analysis.economics import decide
from sim.cli.compose import composed_scenario
from sim.run import simulate
from sim.search import solve

SHORT = ["workload.duration_s=120", "workload.rate_scale=1", "output.timeseries=false"]


def test_the_month_is_the_machines(make_result) -> None:
    rows = [{"arrival_s": float(i), "finish_s": i + 20.0} for i in range(101)]
    result = make_result(rows)
    window = summarize(result)["cost"]["window"]
    assert (result.end_s, window_s(result)) == (120.0, 100.0)
    assert window["usd_per_month"] == pytest.approx(1.8 * 730, rel=1e-12)
    assert window["usd_per_month"] == month(result).usd
    assert window["total_usd"] == pytest.approx(1.8 * 100 / 3600)
    assert summarize(result)["cost"]["total_usd"] == pytest.approx(1.8 * 120 / 3600)


def test_the_tail_decides_nothing(make_result) -> None:
    """The same tokens on the same machines cost the same, however long the last answer takes."""
    rows = [{"arrival_s": float(i), "finish_s": i + 1.5} for i in range(101)]
    slow = [*rows[:-1], rows[-1] | {"finish_s": 140.0}]
    fast, late = (summarize(make_result(one))["cost"] for one in (rows, slow))
    assert fast["usd_per_1m_output_tokens"] < late["usd_per_1m_output_tokens"]
    assert fast["window"]["usd_per_1m_output_tokens"] == pytest.approx(late["window"]["usd_per_1m_output_tokens"], rel=1e-12)


def test_a_burst_with_more_tail_than_arrivals_is_priced_whole(make_result) -> None:
    result = make_result([{"arrival_s": 0.0, "finish_s": 60.0}, {"arrival_s": 1.0, "finish_s": 61.0}])
    assert window_s(result) == 61.0
    assert summarize(make_result([{"arrival_s": 0.0, "finish_s": 5.0}]))["cost"]["window"]["usd_per_month"] > 0


def test_every_node_of_a_full_bill_is_in_the_month() -> None:
    result = simulate(composed_scenario([*SHORT, "cost=full", "fleet.replicas=2"]))
    window, monthly = summarize(result)["cost"]["window"], month(result)
    parts = ("compute", "on_top", "fixed", "by_volume")
    assert sum(window[f"{part}_usd_per_month"] for part in parts) == pytest.approx(monthly.usd, rel=1e-12)
    assert monthly.find("engineering").usd == pytest.approx(1.5 * 220_000 / 12)
    assert monthly.find("compute").usd == pytest.approx(2 * result.scenario.gpu.price.on_demand_usd_per_hour * 730)
    assert price(result).usd > price(result, window_s(result)).usd


@pytest.fixture(scope="module")
def searched():
    return solve(composed_scenario([*SHORT, "cost=full"]), "replicas")


def test_the_decision_prices_the_bill_and_the_capacity_that_was_simulated(searched) -> None:
    """It took the delivered rate for the capacity and divided it by a utilisation of 60 %."""
    for one in decide(searched.scenario, searched.summary):
        numbers, today = one.other_volumes.numbers, one.today_tokens_per_day
        assert one.home_usd_per_month == searched.summary["cost"]["window"]["usd_per_month"]
        assert numbers.self_host_usd_per_month(today) == pytest.approx(one.home_usd_per_month, rel=1e-9)
        assert numbers.capacity.replicas(today) == searched.point.replicas
        assert numbers.api_usd_per_month(today) == pytest.approx(one.api_usd_per_month, rel=1e-9)


def test_the_capacity_says_what_was_simulated_and_what_missed(searched) -> None:
    points = searched.summary["capacity"]
    assert {point["holds"] for point in points} == {True, False}
    assert {point["replicas"] for point in points} >= {1, searched.point.replicas}


@pytest.mark.parametrize(
    "overrides", [["fleet=spot", "spot=aws"], ["autoscaler=tokens_in_flight", "fleet.replicas=1", "fleet.max_replicas=4"]]
)
def test_the_decision_prices_the_fleet_that_ran(overrides) -> None:
    """It priced the replicas that the fleet had at its start."""
    result = simulate(composed_scenario([*SHORT, *overrides]))
    summary = summarize(result)
    decisions = decide(result.scenario, summary)
    assert decisions
    assert {one.home_usd_per_month for one in decisions} == {month(result).usd}
    assert {one.other_volumes for one in decisions} == {None}


def test_two_fleets_that_cost_the_same_are_a_tie() -> None:
    """TP2 on two GPUs was preferred to two TP1 by its shorter tail."""
    both = [
        composed_scenario([*SHORT, *one])
        for one in (["fleet.replicas=2"], ["engine.tensor_parallel_size=2", "fleet.replicas=1"])
    ]
    usd = [summarize(simulate(one))["cost"]["window"]["usd_per_1m_output_tokens"] for one in both]
    assert usd[0] == pytest.approx(usd[1], rel=1e-12)
    assert summarize(simulate(replace(both[0], seed=1)))["cost"]["window"]["usd_per_month"] > 0


def test_an_api_that_is_stated_is_compared_where_nobody_sells_the_model() -> None:
    stated = ["model=mistral_nemo_12b", "engine.max_model_len=8192", "api=gpt_4o_mini"]
    result = simulate(composed_scenario([*SHORT, *stated, "fleet.replicas=2"]))
    (found,) = decide(result.scenario, summarize(result))
    assert (found.name, found.apis[0].output_usd_per_1m) == ("gpt_4o_mini", 0.6)


def test_every_node_of_any_bill_has_its_place_in_the_month() -> None:
    """A node that is in none of the parts would be in the bill and not in a break-even."""
    source = inspect.getsource(cost_tree) + inspect.getsource(tiers)
    shown = set(re.findall(r'CostNode(?:\.of)?\(\s*"([a-z A-Z]+)"', source)) | set(re.findall(r'"([a-zKV ]+)": _rented_usd', source))
    inner = {"total", "busy", "committed GPUs", "on-demand hours that it covers"}
    assert shown - inner == {"compute", *cost_tree.ON_TOP, *cost_tree.FIXED, *cost_tree.BY_VOLUME}
