"""The laws over records hold for whatever the engine, the gateway and the fleet did."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis import CostNode, price, request_costs_usd, summarize
from sim.analysis.laws import violations
from sim.cli.compose import composed_scenario
from sim.run import simulate
from sim.spec import GeneratorSpec, Scenario
from sim.spec.workload import GammaArrivals, LognormalLengths


@pytest.fixture(scope="module")
def base() -> Scenario:
    return composed_scenario(["fleet.replicas=1", "workload.rate_scale=1"])


def _scenario(base: Scenario, rate: float, cv: float, cap: int, replicas: int, seed: int) -> Scenario:
    generator = GeneratorSpec(
        arrivals=GammaArrivals(rate_per_s=rate, cv=cv),
        input_tokens=LognormalLengths(mu=5.5, sigma=1.0, max_tokens=4000),
        output_tokens=LognormalLengths(mu=3.5, sigma=1.0, max_tokens=400),
        duration_s=30.0,
    )
    return replace(
        base,
        workload=replace(base.workload, packaged=None, generator=generator, name="law"),
        engine=replace(base.engine, max_num_seqs=cap),
        fleet=replace(base.fleet, replicas=replicas),
        seed=seed,
    )


def _adds_up(node: CostNode) -> bool:
    return not node.children or (
        node.usd == math.fsum(child.usd for child in node.children) and all(map(_adds_up, node.children))
    )


@settings(max_examples=12, deadline=None)
@given(st.floats(0.5, 12.0), st.floats(0.5, 4.0), st.sampled_from([2, 8, 64]), st.integers(1, 3), st.integers(0, 99))
def test_laws_hold_on_every_run(base: Scenario, rate: float, cv: float, cap: int, replicas: int, seed: int) -> None:
    result = simulate(_scenario(base, rate, cv, cap, replicas, seed))
    assert violations(result) == []
    tree = price(result)
    assert _adds_up(tree)
    busy = tree.find("compute", "busy")
    assert busy is not None
    assert math.fsum(request_costs_usd(result, tree)) == pytest.approx(busy.usd, rel=1e-9, abs=1e-12)
    summary = summarize(result, cost=tree)
    counts = summary["requests"]
    assert counts["offered"] == sum(count for name, count in counts.items() if name != "offered")
    assert summary["amplification"]["attempts"] in (None, 1.0)
    assert summary["cost"]["total_usd"] == tree.usd


@pytest.mark.parametrize("fleet", ["plain", "disaggregated"])
def test_laws_hold_on_a_run_that_a_search_stops_early(fleet: str) -> None:
    scenario = composed_scenario([f"fleet={fleet}", "workload.limit=60", "workload.rate_scale=4", "check_invariants=true"])
    heard: list[float] = []

    def after_ten(ttft_s: float, tpot_s: float, e2e_s: float, answered: bool, reason: str, rejected: bool) -> str | None:
        heard.append(e2e_s)
        return "heard enough" if len(heard) == 10 else None

    result = simulate(scenario, give_up=after_ten)
    assert result.stopped_early == "heard enough"
    assert len(result.requests) < int(result.timeseries["arrivals"].sum())
