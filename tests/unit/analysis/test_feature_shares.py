"""Who pays and who waits for adapters, drafts and dummy forwards: causes of a miss, nodes of the bill, columns over time."""

from __future__ import annotations

import pytest

from sim.analysis import summarize
from sim.analysis.attribution import tail_attribution
from sim.analysis.cost_tree import DUMMY, price
from sim.analysis.request_costs import request_costs_usd
from sim.cli.compose import composed_scenario
from sim.run.simulate import simulate

ADAPTERS = ["engine.lora.load_s=1.5", "workload.transforms=[{kind: adapters, count: 30, exponent: 0.2}]", "fleet.replicas=2"]


def test_a_tail_that_waits_for_adapters_says_so() -> None:
    few = simulate(composed_scenario([*ADAPTERS, "engine.max_loras=2", "workload.limit=150"]))
    shares = tail_attribution(few)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["adapter"] > 0.3
    many = simulate(composed_scenario([*ADAPTERS, "engine.max_loras=30", "engine.lora.load_s=0", "workload.limit=150"]))
    assert tail_attribution(many).get("adapter", 0.0) < 0.2
    plain = simulate(composed_scenario(["workload.limit=150"]))
    assert "adapter" not in tail_attribution(plain)


def test_loads_and_waits_over_time_are_those_of_the_run() -> None:
    result = simulate(composed_scenario([*ADAPTERS, "engine.max_loras=4", "workload.limit=150"]))
    series, features = result.timeseries, result.features
    assert features is not None
    counted = series["adapter_loads"].sum()
    assert 0 < counted <= features["adapter_slot_loads"].sum()
    assert series["adapter_wait_s"].sum() <= features["adapter_wait_s"].sum() + 1e-9
    assert "drafted_tokens" not in series


def test_drafts_over_time_are_those_of_the_run() -> None:
    result = simulate(composed_scenario(["speculative=eagle3_llama3_8b_sharegpt", "workload.limit=60", "fleet.replicas=1"]))
    assert result.features is not None
    counted, drafted = result.timeseries["drafted_tokens"].sum(), result.features["drafted_tokens"].sum()
    assert 0.9 * drafted < counted <= drafted, "the last interval is not whole"


def test_dummy_forwards_are_a_node_of_the_bill_that_requests_pay() -> None:
    overrides = ["model=qwen3_30b_a3b", "gpu=h100", "engine.data_parallel_size=2", "fleet.replicas=1", "workload.limit=40"]
    result = simulate(composed_scenario(overrides))
    tree = price(result)
    node, busy = tree.find("compute", "busy", DUMMY), tree.find("compute", "busy")
    assert node is not None and busy is not None and node.usd > 0
    assert node.usd == pytest.approx(summarize(result, result.scenario.slo)["ranks"]["dummy_usd"])
    assert request_costs_usd(result, tree).sum() == pytest.approx(busy.usd)
    alone = price(simulate(composed_scenario(["workload.limit=40"])))
    assert alone.find("compute", "busy", DUMMY) is None
