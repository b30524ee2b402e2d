"""The perfect, the configured and the static peak fleet: their order, and the closed form they are sized by."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.analysis import summarize
from sim.analysis.insurance import insurance, perfect_replicas
from sim.analysis.steady import steady_replica
from sim.cli.compose import composed_scenario
from sim.perf.steady import POOLED
from sim.record.result import Result
from sim.run import simulate
from sim.spec import Scenario
from sim.workload import Trace


def steady_trace(rate_per_s: float, duration_s: float) -> Trace:
    """Equal requests at equal distances."""
    n = int(rate_per_s * duration_s)
    return Trace(arrival_s=(np.arange(n) + 0.5) / rate_per_s, input_tokens=np.full(n, 600), output_tokens=np.full(n, 120))


def scaled(**fleet: object) -> Scenario:
    scenario = composed_scenario(["autoscaler=requests_in_flight", "autoscaler.target=16", "output.timeseries=false"])
    return replace(scenario, fleet=replace(scenario.fleet, **{"replicas": 2, "max_replicas": 12, **fleet}))


def ran(trace: Trace, **fleet: object) -> Result:
    return simulate(scaled(**fleet), trace)


def test_steady_demand_needs_no_foresight() -> None:
    result = ran(steady_trace(6.0, 600.0))
    found = insurance(result, True)
    assert found["perfect_usd"] == pytest.approx(found["static_peak_usd"])
    assert found["perfect_replicas_max"] == found["perfect_replicas_mean"]


def test_the_perfect_fleet_is_what_the_closed_form_says() -> None:
    scenario = scaled()
    rate = POOLED * steady_replica(scenario, 600.0, 120.0).rate_per_s
    result = ran(steady_trace(2.5 * rate, 240.0))
    assert set(perfect_replicas(result)[:-1]) == {3.0}
    assert insurance(result, True)["requests_per_s_per_replica"] == pytest.approx(rate)


def test_bursts_cost_the_static_fleet_more_than_the_perfect_one() -> None:
    quiet, burst = steady_trace(1.0, 600.0), steady_trace(30.0, 120.0)
    arrivals = np.concatenate([quiet.arrival_s, 300.0 + burst.arrival_s])
    order = np.argsort(arrivals)
    n = len(arrivals)
    trace = Trace(arrival_s=arrivals[order], input_tokens=np.full(n, 600), output_tokens=np.full(n, 120))
    found = insurance(ran(trace), True)
    assert found["perfect_usd"] < 0.6 * found["static_peak_usd"]
    assert found["perfect_replicas_max"] > 2 * found["perfect_replicas_mean"]


def test_more_replicas_raise_the_configured_bill_alone() -> None:
    trace = steady_trace(2.0, 600.0)
    few, many = insurance(ran(trace, min_replicas=2), True), insurance(ran(trace, replicas=8, min_replicas=8), True)
    assert many["configured_usd"] > 2 * few["configured_usd"]
    assert many["perfect_usd"] == pytest.approx(few["perfect_usd"])


def test_every_fleet_of_machines_has_them() -> None:
    trace = steady_trace(2.0, 120.0)
    assert summarize(ran(trace))["insurance"]["perfect_usd"] > 0
    static = composed_scenario(["fleet.replicas=2", "output.timeseries=false"])
    assert summarize(simulate(static, trace))["insurance"]["perfect_usd"] > 0


FLEETS = {
    "static": ["fleet.replicas=3"],
    "one replica": ["fleet.replicas=1"],
    "autoscaled": ["autoscaler=tokens_in_flight", "fleet.replicas=1", "fleet.max_replicas=6"],
    "spot": ["fleet=spot", "spot=aws", "fleet.replicas=3"],
    "two pools": ["fleet.pools={a: {replicas: 1}, b: {replicas: 2, market: spot}}", "spot=aws"],
    "tp2 by the instance": ["engine.tensor_parallel_size=2", "gpu.price.instance_gpus=8", "fleet.replicas=2"],
}  # fmt: skip


@settings(max_examples=25)
@given(
    st.sampled_from(sorted(FLEETS)), st.floats(0.2, 8.0), st.floats(0.0, 0.98), st.integers(1, 400),
    st.integers(0, 3), st.sampled_from(["loose", "tight"]),
)  # fmt: skip
def test_the_perfect_fleet_never_costs_more_than_one_that_passes(fleet, rate, shared, output, seed, slo) -> None:
    """It did where nearly all prompt tokens were prefix hits: $8.22 perfect, $2.25 configured."""
    random = np.random.default_rng(seed)
    n = max(30, int(rate * 60))
    prompts = random.integers(20, 3000, n)
    trace = Trace(
        arrival_s=np.sort(random.uniform(0, n / rate, n)), input_tokens=prompts,
        output_tokens=random.integers(1, output + 1, n),
        labels={"prefix_id": np.full(n, "p", dtype=object), "prefix_tokens": (prompts * shared).astype(int)},
    )  # fmt: skip
    limit = 1e6 if slo == "loose" else 1.0
    scenario = composed_scenario([*FLEETS[fleet], f"slo.ttft_p95_s={limit}", f"slo.tpot_p95_s={limit}"])
    result = simulate(replace(scenario, output=replace(scenario.output, timeseries=False)), trace)
    summary = summarize(result)
    fleets = summary["insurance"]
    assert fleets["perfect_usd"] > 0
    if summary["slo"]["verdict"] == "pass":
        assert fleets["perfect_usd"] <= fleets["configured_usd"] * (1 + 1e-12)


def test_a_pool_that_names_what_it_stands_on_is_judged_as_the_fleet_that_it_is() -> None:
    """The static peak was sized and priced by the scenario's own GPU, on which nobody stood."""
    named = "+fleet.pools={main: {gpu: h100, model: qwen3_14b, engine: {max_num_seqs: 64}, replicas: 2}}"
    own = ["gpu=h100", "model=qwen3_14b", "engine.max_num_seqs=64", "fleet.replicas=2"]
    trace = steady_trace(10.0, 60.0)
    first, second = (summarize(simulate(composed_scenario(words), trace)) for words in (own, [named]))
    assert first.pop("simulation") and second.pop("simulation")
    assert json.dumps(first) == json.dumps(second)
