from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.analysis import CostNode, per_month, price, request_costs_usd, with_costs


def _sums_hold(node: CostNode) -> bool:
    if not node.children:
        return True
    return node.usd == math.fsum(child.usd for child in node.children) and all(map(_sums_hold, node.children))


def test_one_replica_for_an_hour(make_result) -> None:
    tree = price(make_result([{}, {}], replicas=[{"busy_s": 900.0, "starting_s": 300.0}], end_s=3600.0))
    assert tree.usd == pytest.approx(1.8)
    assert tree.find("compute", "busy").usd == pytest.approx(0.45)
    assert tree.find("compute", "cold start").usd == pytest.approx(0.15)
    assert tree.find("compute", "idle").usd == pytest.approx(1.2)
    assert tree.find("overhead").usd == 0.0
    assert tree.find("compute", "nothing such") is None


def test_prompt_and_output_share_busy_time_by_weight(make_result, make_scenario) -> None:
    scenario = make_scenario(cost={"output_token_weight": 4.0})
    tree = price(make_result([{"input_tokens": 400, "output_tokens": 100}], scenario=scenario, end_s=3600.0))
    busy = tree.find("compute", "busy")
    assert busy.find("prompt tokens").usd == pytest.approx(0.45)
    assert busy.find("output tokens").usd == pytest.approx(0.45)


def test_abandoned_work_is_a_node_of_its_own(make_result) -> None:
    rows = [{"output_tokens": 50}, {"output_tokens": 0, "wasted_tokens": 50, "outcome": "timed_out"}]
    tree = price(make_result(rows, end_s=3600.0))
    busy = tree.find("compute", "busy")
    assert busy.find("retries and abandoned work").usd == pytest.approx(busy.usd / 2)


def test_instances_sold_together_leave_unused_gpus(make_result, make_scenario) -> None:
    gpu = {
        "name": "h", "memory_gib": 80, "bandwidth_gb_s": 3350, "tflops_bf16": 989, "link_gb_s_per_direction": 450,
        "price": {"on_demand_usd_per_hour": 6.88, "instance_gpus": 8},
    }  # fmt: skip
    scenario = make_scenario(gpu=gpu)
    tree = price(make_result([{}], replicas=[{}, {}, {}], scenario=scenario, end_s=3600.0))
    assert tree.usd == pytest.approx(8 * 6.88)
    assert tree.find("compute", "unused GPUs").usd == pytest.approx(5 * 6.88)


def test_stated_assumptions_are_nodes(make_result, make_scenario) -> None:
    cost = {
        "overhead_fraction": 0.3, "safety_fraction": 0.1, "engineers_fte": 1.0, "engineer_usd_per_year": 219_000.0,
        "eval_gpu_hours_per_month": 73.0, "log_bytes_per_token": 16, "storage_usd_per_gib_month": 0.023,
        "egress_bytes_per_output_token": 200, "egress_usd_per_gib": 0.09,
    }  # fmt: skip
    tree = price(make_result([{}], scenario=make_scenario(cost=cost), end_s=3600.0))
    assert tree.find("overhead").usd == pytest.approx(0.54)
    assert tree.find("safety passes").usd == pytest.approx(0.18)
    assert tree.find("engineering").usd == pytest.approx(25.0)
    assert tree.find("evaluation and batch").usd == pytest.approx(0.18)
    assert tree.find("storage of traces and logs").usd == pytest.approx(111 * 16 / 2**30 * 0.023)
    assert tree.find("egress").usd == pytest.approx(11 * 200 / 2**30 * 0.09)
    month = per_month(tree, 3600.0)
    assert month.find("engineering").usd == pytest.approx(219_000 / 12)
    assert _sums_hold(month)


def test_requests_carry_the_busy_share(make_result) -> None:
    pools = [{"pool": "a"}, {"pool": "b", "busy_s": 600.0}]
    rows = [
        {"pool": "a"},
        {"pool": "b"},
        {"pool": "b", "output_tokens": 111},
        {"pool": "", "outcome": "shed", "computed_tokens": 0, "sampled_tokens": 0},
    ]
    result = make_result(rows, replicas=pools, end_s=3600.0)
    tree = price(result)
    costs = with_costs(result, tree).requests["cost_usd"].to_numpy()
    assert math.fsum(costs) == pytest.approx(tree.find("compute", "busy").usd, rel=1e-12)
    assert costs[0] == pytest.approx(0.9)
    assert costs[2] / costs[1] == pytest.approx((100 + 4 * 111) / (100 + 4 * 11))
    assert costs[3] == 0.0


_SECONDS = st.floats(0, 1e5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(_SECONDS, _SECONDS, _SECONDS, _SECONDS, _SECONDS, st.sampled_from(["on_demand", "spot"])),
        min_size=1,
        max_size=6,
    ),
    st.floats(0, 2),
)
def test_the_tree_adds_up_whatever_the_fleet_did(make_result, make_scenario, fleet, overhead: float) -> None:
    replicas = [
        {"billed_start_s": a, "billed_stop_s": a + b, "busy_s": c, "starting_s": d, "draining_s": e, "market": market}
        for a, b, c, d, e, market in fleet
    ]
    scenario = make_scenario(cost={"overhead_fraction": overhead})
    result = make_result([{}, {}], replicas=replicas, scenario=scenario, end_s=2e5)
    tree = price(result)
    assert _sums_hold(tree)
    paid = sum(
        (row["billed_stop_s"] - row["billed_start_s"]) * (1.8 if row["market"] == "on_demand" else 0.9) for row in replicas
    )
    assert tree.usd == pytest.approx(paid / 3600 * (1 + overhead), rel=1e-9, abs=1e-12)
    assert all(child.usd >= 0 for child in tree.find("compute").children)
    costs = request_costs_usd(result, tree)
    assert np.sum(costs) == pytest.approx(tree.find("compute", "busy").usd, rel=1e-9, abs=1e-15)
