"""What speculation and adapters did in a run, as summary, notes, series and files tell it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim.analysis.summary import summarize
from sim.run import simulate
from sim.spec import EngineSpec, FleetSpec, OutputSpec, Scenario, WorkloadSpec
from sim.workload import Trace
from tests.presets import gpu, model


def scenario(replicas: int = 2, **engine: Any) -> Scenario:
    return Scenario(
        model=model("llama3_8b"), gpu=gpu("l40s"), engine=EngineSpec(max_model_len=4096, **engine),
        fleet=FleetSpec(replicas=replicas), workload=WorkloadSpec(packaged="unused"), output=OutputSpec(report=False),
    )  # fmt: skip


def traffic(n: int = 120, loras: int = 0) -> Trace:
    labels: dict[str, Any] = {}
    if loras:
        labels["lora"] = np.array([f"a{i % loras}" for i in range(n)], dtype=object)
    return Trace(np.arange(n) * 0.05, np.full(n, 200), np.full(n, 61), labels)


def eagle(drafts: int, acceptance: Any) -> dict[str, Any]:
    return {"method": "eagle3", "num_speculative_tokens": drafts, "acceptance": acceptance}


def test_acceptance_is_told_as_it_was_stated() -> None:
    result = simulate(scenario(speculative=eagle(3, {"length": 2.5})), traffic())
    figures = summarize(result)["speculation"]
    assert figures["acceptance_length"] == pytest.approx(2.5, abs=0.06)
    assert figures["accepted_tokens"] + figures["verifications"] >= result.requests["output_tokens"].sum() - 120
    assert figures["drafted_tokens"] == 3 * figures["verifications"]
    assert 0 < figures["drafting_share"] < 0.5 and figures["draft_usd"] > 0
    assert result.requests["output_tokens"].tolist() == [61] * 120
    series = result.timeseries["acceptance_length"].dropna()
    assert series.mean() == pytest.approx(2.5, abs=0.15)
    assert "Speculation: 2." in " ".join(summarize(result)["slo"]["notes"])


def test_all_accepted_is_faster_and_all_rejected_slower() -> None:
    plain = simulate(scenario(), traffic())
    whole = simulate(scenario(speculative=eagle(3, [1.0, 1.0, 1.0])), traffic())
    none = simulate(scenario(speculative=eagle(3, [0.0])), traffic())
    tpot = [float(result.requests["tpot_s"].mean()) for result in (whole, plain, none)]
    assert tpot == sorted(tpot) and tpot[0] < tpot[1] / 2
    assert whole.replicas["output_tokens"].sum() == none.replicas["output_tokens"].sum() == 120 * 61


def test_adapters_are_told_with_their_loads() -> None:
    result = simulate(scenario(max_loras=2, max_cpu_loras=3), traffic(loras=5))
    figures = summarize(result)["adapters"]
    assert figures["adapters_a_replica"] == 5
    assert figures["slot_loads"] >= figures["disk_loads"] >= 10
    assert figures["wait_s"] > 0 and figures["wait_usd"] > 0
    assert result.timeseries["adapters_running"].max() <= 4
    assert "speculation" not in summarize(result)


def test_a_run_without_them_says_nothing() -> None:
    result = simulate(scenario(), traffic())
    assert result.features is None and "acceptance_length" not in result.timeseries
    assert not {"speculation", "adapters"} & set(summarize(result))


def test_the_same_seed_is_the_same_run_and_another_draws_anew() -> None:
    stated = scenario(speculative=eagle(3, {"length": 2.5}))
    first, again = simulate(stated, traffic()), simulate(stated, traffic())
    assert first.requests["finish_s"].tolist() == again.requests["finish_s"].tolist()
    more = simulate(scenario(3, speculative=eagle(3, {"length": 2.5})), traffic())
    assert first.features is not None and more.features is not None
    assert first.features["accepted_tokens"].sum() == more.features["accepted_tokens"].sum()  # a request's own stream
