"""Keys of features that are off or unused are said; what contradicts itself is refused with what was found."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sim.analysis.notes import notes_of
from sim.cli.compose import composed_scenario
from sim.errors import ConfigError
from sim.run.simulate import simulate
from sim.spec.in_vain import stated_in_vain
from sim.workload import Trace

DRAFTS = ["engine.speculative.method=eagle3", "engine.speculative.num_speculative_tokens=3"]
POOL_OF_H100 = "+fleet.pools={only: {gpu: h100}}"
RANKS = ["model=qwen3_30b_a3b", "gpu=h100"]


@pytest.mark.parametrize(("overrides", "said"), [
    (["engine.speculative.method=eagle3"], "method=eagle3 makes no drafts .num_speculative_tokens=0."),
    (["engine.speculative.acceptance=2.0"], "engine.speculative.acceptance is stated without effect: no method"),
    (["engine.speculative.method=ngram", "engine.speculative.num_speculative_tokens=2",
      "engine.speculative.parallel_drafting=true"], "parallel_drafting is stated without effect: n-gram"),
    (["speculative=eagle3_kimi_k2_5"], "as stated was measured on Kimi-K2.5, but llama3_8b is served"),
    ([*DRAFTS, "model=qwen3_8b"], "is the default of eagle3, measured on Llama-3.1-8B, but qwen3_8b is served"),
    (["model=deepseek_v3", "engine.speculative.method=mtp", "engine.speculative.num_speculative_tokens=1",
      "engine.speculative.acceptance=1.8"], "none of deepseek_v3 are known: one like its last layer is assumed"),
    (["kv_transfer=tcp"], "fleet.kv_transfer.nic_gb_per_s are stated without effect: no pool has a role"),
    (["engine.kv_connector.role=consumer"], "engine.kv_connector.role is stated without effect: no pool has a role"),
    (["engine.kv_offload.eviction_policy=arc"], "kv_offload.eviction_policy is stated without effect: no host"),
    (["engine.kv_offloading_size_gib=8", "engine.enable_prefix_caching=false"], "loaded from host memory"),
    (["engine.max_cpu_loras=8", "engine.lora.rank=8"], "max_cpu_loras, engine.lora.rank are stated without effect: LoRA"),
    ([*RANKS, "engine.enable_expert_parallel=true"], "enable_expert_parallel without effect: one GPU"),
    ([*RANKS, "engine.enable_dbo=true", "engine.all2all_backend=deepep_low_latency"], "enable_dbo is stated without effect"),
    (["fleet=disaggregated", "gateway.disaggregation={kind: prefix}"], "non_cached_tokens=0 means never"),
    (["+fleet.pools={a: {engine: {max_lora_rank: 32}}, b: {}}"], "fleet.pools.a.engine.max_lora_rank is stated without"),
    ([POOL_OF_H100, "cost.purchase={machine_usd: 90000, machine_gpus: 4}"], "cost.purchase without effect: it prices .*l40s"),
    ([POOL_OF_H100, "cost.commitment={gpus: 2, years: 1}"], "cost.commitment reserves l40s.*on which no pool stands"),
    (["timeline=[{kind: deploy, at_s: 1, engine: {speculative: {method: mtp}}}]"], "timeline.0.engine.speculative.method=mtp"),
])  # fmt: skip
def test_what_has_no_effect_is_said(overrides: list[str], said: str) -> None:
    found = stated_in_vain(composed_scenario(overrides))
    assert len(found) == 1
    assert re.search(said, found[0]), found


@pytest.mark.parametrize("overrides", [
    [], ["fleet=disaggregated", "kv_transfer=tcp"], ["speculative=eagle3_llama3_8b_sharegpt"], DRAFTS,
    ["engine.max_loras=4", "engine.max_cpu_loras=8"], ["fleet=disaggregated", "gateway=llm_d_pd"],
    ["engine.kv_offloading_size_gib=8", "engine.kv_offload.eviction_policy=arc"],
    ["gpu=h100", POOL_OF_H100, "cost.commitment={gpus: 2, years: 1}"],
    ["+fleet.pools={a: {}, b: {gpu: h100}}", "cost.purchase={machine_usd: 90000, machine_gpus: 4}"],
])  # fmt: skip
def test_what_has_an_effect_is_not(overrides: list[str]) -> None:
    assert stated_in_vain(composed_scenario(overrides)) == []


@pytest.mark.parametrize(("overrides", "message"), [
    (["engine.max_loras=4", "engine.lora.rank=64"], "engine.lora.rank: .*max_lora_rank=16.* but got 64"),
    ([*DRAFTS, "engine.speculative.draft_tensor_parallel_size=4"], "1 or that of the target .1., as in vLLM, but got 4"),
    ([*DRAFTS, "++engine.speculative.acceptance.routes.code.length=3"], "routes.code: no request has this route"),
    (["engine.max_loras=4", "workload.transforms=[{kind: adapters, count: 20}]",
      "timeline=[{kind: deploy, at_s: 1, engine: {max_loras: 0}}]"], "timeline.0.engine.max_loras: requests ask for"),
])  # fmt: skip
def test_what_cannot_be_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        simulate(composed_scenario([*overrides, "workload.limit=40"]))


def test_slots_that_nobody_asks_for_and_idle_keys_are_in_the_notes_of_the_run() -> None:
    overrides = ["engine.max_loras=4", "kv_transfer=tcp", "workload.limit=20", "fleet.replicas=1"]
    notes = " ".join(notes_of(simulate(composed_scenario(overrides))))
    assert "laid out for 4 of them on each replica, but no request asks for one" in notes
    assert "no KV travels between replicas" in notes


def test_an_entry_of_a_mapping_is_no_unknown_key() -> None:
    with pytest.raises(ConfigError, match=r"routes\.code: not stated by the chosen preset; write \+\+engine"):
        composed_scenario([*DRAFTS, "engine.speculative.acceptance.routes.code.length=3"])


def test_accepted_drafts_of_a_trace_that_nobody_verifies_are_counted() -> None:
    scenario = composed_scenario(["workload.limit=3", "fleet.replicas=1"])
    accept = np.empty(3, dtype=object)
    accept[:] = [(2, 0), (), (1,)]
    trace = Trace(np.arange(3.0), np.array([50, 60, 70]), np.array([5, 6, 7]), {"accept": accept})
    assert "accepted drafts are stated of 2 requests, without effect" in " ".join(simulate(scenario, trace).left_out["notes"])
    speculating = composed_scenario([*DRAFTS, "workload.limit=3", "fleet.replicas=1"])
    assert not simulate(speculating, trace).left_out["notes"]
