"""Each attempt's busy share belongs to the request that caused it, answered or not."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis import price, request_costs_usd
from sim.analysis.by_label import by_label
from sim.analysis.laws import violations
from sim.cli.compose import composed_scenario
from sim.record.result import Result
from sim.run import simulate
from sim.spec import Scenario
from sim.workload import Trace

QUIET = ["output.timeseries=false", "fleet.replicas=1", "workload.warmup_s=0"]


def trace(n: int, route_of=lambda i: "ab"[i % 2], seed: int = 0, output: int = 120) -> Trace:
    random = np.random.default_rng(seed)
    return Trace(
        arrival_s=np.sort(random.uniform(0, n / 4, n)), input_tokens=random.integers(50, 2000, n),
        output_tokens=random.integers(2, 2 * output, n),
        labels={"route": np.array([route_of(i) for i in range(n)], dtype=object)},
    )  # fmt: skip


def costs_add_up(result: Result) -> None:
    tree = price(result)
    busy = tree.find("compute", "busy")
    batch = busy.find("background work").usd
    api = tree.find("api").usd if tree.find("api") else 0.0
    assert math.fsum(request_costs_usd(result, tree)) == pytest.approx(busy.usd - batch + api, rel=1e-12)
    assert violations(result) == []


SCENARIOS = {
    "plain": [],
    "retries without abort": ["gateway=openai_client", "gateway.client_timeout_s=4", "gateway.abort_on_disconnect=false"],
    "time-outs": ["gateway.client_timeout_s=3"],
    "drafts thrown away": ["api=gpt_4o_mini", "gateway.hybrid={uncertain_fraction: 0.3, judged: after}"],
    "passes": ["gateway.passes=[{stage: before, pool: main, output_tokens: 3}, {stage: after, pool: main}]"],
    "small cache": ["engine.num_gpu_blocks_override=260", "engine.max_model_len=4000"],
}  # fmt: skip


def scenario(name: str) -> Scenario:
    return composed_scenario([*QUIET, *SCENARIOS[name]])


@settings(max_examples=12)
@given(st.sampled_from(sorted(SCENARIOS)), st.integers(0, 5))
def test_the_shares_add_up_whatever_the_gateway_did(name: str, seed: int) -> None:
    result = simulate(scenario(name), trace(120, seed=seed))
    costs_add_up(result)
    sampled = sum(tokens[1].sum() for tokens in result.work.values())
    assert sampled == result.requests["sampled_tokens"].sum() == result.replicas["output_tokens"].sum()
    computed = sum(tokens[0].sum() for tokens in result.work.values())
    assert computed == result.requests["computed_tokens"].sum() == result.replicas["input_tokens"].sum()


def test_a_route_without_answers_has_its_cost() -> None:
    """It sampled nearly all tokens and was charged nothing: its work was paid by the route that got answers."""
    long_and_short = trace(200, lambda i: "b" if i % 10 else "a")
    outputs = np.where(long_and_short.labels["route"] == "b", 900, 5)
    result = simulate(
        composed_scenario([*QUIET, "gateway.client_timeout_s=6", "gateway.abort_on_disconnect=false"]),
        Trace(long_and_short.arrival_s, long_and_short.input_tokens, outputs, dict(long_and_short.labels)),
    )
    found = by_label(result, "route")
    lost, answered = found["b"], found["a"]
    assert (lost["requests"]["completed"], answered["requests"]["completed"] > 0) == (0, True)
    assert lost["usd"] > 10 * answered["usd"] > 0
    costs_add_up(result)


def test_a_draft_is_paid_by_the_request_that_left() -> None:
    result = simulate(scenario("drafts thrown away"), trace(300))
    work = result.requests.groupby("outcome", observed=True)[["sampled_tokens", "computed_tokens"]].mean()
    assert work.loc["escalated"].min() > 0.5 * work.loc["completed"].min()
    costs = pd.Series(request_costs_usd(result)) - result.requests["api_usd"]
    assert (costs[result.requests["outcome"] == "escalated"] > 0).all()
    costs_add_up(result)


@given(st.permutations(range(8)))
def test_permuting_answers_between_routes_changes_no_total(make_result, order) -> None:
    def total(routes: list[str]) -> tuple[float, float]:
        rows = [
            {"route": route, "output_tokens": 10 * i, "outcome": "timed_out" if i % 3 == 0 else "completed",
             "wasted_tokens": 5 * i}
            for i, route in enumerate(routes)
        ]  # fmt: skip
        result = make_result(rows)
        found = by_label(result, "route")
        return price(result).usd, sum(row["usd"] for row in found.values())

    routes = list("aaaabbcc")
    assert total([routes[i] for i in order]) == pytest.approx(total(routes), rel=1e-12)


def test_batch_work_is_nobodys(make_result) -> None:
    result = make_result([{}, {}], replicas=[{"background_tokens": 500, "output_tokens": 522}])
    busy = price(result).find("compute", "busy")
    assert math.fsum(request_costs_usd(result)) == pytest.approx(busy.usd - busy.find("background work").usd)
