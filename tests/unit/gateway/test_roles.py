"""Pools with roles: what fits together, and what is refused with what was found."""

from __future__ import annotations

import pytest

from sim.cli.compose import composed_scenario
from sim.errors import ConfigError

P, D = "p: {role: prefill}", "d: {role: decode}"


@pytest.mark.parametrize(("overrides", "message"), [
    ([f"+fleet.pools={{{P}}}"], "role prefill needs a pool of role decode.* but got p: prefill"),
    ([f"+fleet.pools={{{P}, b: {{}}}}"], "but got p: prefill, b: both"),
    ([f"+fleet.pools={{{D}}}"], "role decode needs a pool of role prefill.* but got d: decode"),
    (["gateway.disaggregation={kind: always}"], "needs pools of roles prefill and decode.* but got main: both"),
    ([f"+fleet.pools={{{P}, d: {{role: decode, model: qwen3_8b}}}}"], "llama3_8b .bf16. and qwen3_8b .bf16."),
    ([f"+fleet.pools={{{P}, d: {{role: decode, engine: {{kv_cache_dtype: fp8}}}}}}"], "engine.kv_cache_dtype.* auto and fp8"),
    ([f"+fleet.pools={{{P}, d: {{role: decode, engine: {{block_size: 32}}}}}}"], "engine.block_size.* 16 and 32"),
    ([f"+fleet.pools={{{P}, {D}}}", "+gateway.routes={chat: p}"], "gateway.routes.chat.* 'p', whose role is prefill"),
    ([f"+fleet.pools={{{P}, {D}}}", "gateway.pools=[p]"], "gateway.pools.0.* whose role is prefill"),
    (["fleet=disaggregated", "engine.kv_offloading_size_gib=8"], "engine.kv_offloading_size_gib=8: .* 0 for pool prefill"),
    ([f"+fleet.pools={{{P}, d: {{role: decode, engine: {{kv_offloading_size_gib: 4}}}}}}"], "size_gib=4: .* 0 for pool d"),
    ([f"+fleet.pools={{{P}, {D}}}", "timeline=[{kind: deploy, at_s: 1, pool: p, engine: {kv_offloading_size_gib: 2}}]"],
     "size_gib=2: .* 0 for pool p"),
    (["+fleet.pools={p: {role: router}}"], "fleet.pools.p.role"),
    (["fleet=disaggregated", "fleet.pools.prefill.replicas=0"], "fleet.pools.prefill.replicas: 0 replicas of role prefill"),
    (["fleet=disaggregated", "fleet.pools.decode.replicas=0"], "pools.decode.replicas: 0 replicas .* nobody answers"),
    (["fleet=disaggregated", "engine.kv_connector.role=producer"], "role=producer: pool decode has role decode"),
    (["fleet=disaggregated", "timeline=[{kind: deploy, at_s: 1, pool: decode, engine: {block_size: 32}}]"],
     "timeline.0.engine.block_size: decode .decode. and prefill .prefill. .* 32 and 16"),
    (["fleet=disaggregated", "timeline=[{kind: deploy, at_s: 1, pool: prefill, engine: {kv_cache_dtype: fp8}}]"],
     "timeline.0.engine.kv_cache_dtype: .* fp8 and auto"),
    (["fleet=disaggregated", "timeline=[{kind: deploy, at_s: 1, pool: decode, engine: {kv_connector: {role: producer}}}]"],
     "role=producer: pool decode .timeline.0. has role decode"),
    ([f"+fleet.pools={{{P}, {D}}}", "timeline=[{kind: deploy, at_s: 1, pool: p, model: qwen3_8b}]"], "timeline.0.model.* 'p'"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_with_what_was_found(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        composed_scenario(overrides)


def test_pools_of_other_gpus_and_tensor_parallel_sizes_work_together() -> None:
    pools = "{p: {role: prefill, gpu: h100}, d: {role: decode, engine: {tensor_parallel_size: 2}}, b: {}}"
    scenario = composed_scenario([f"+fleet.pools={pools}", "gateway=dynamo_pd"])
    assert scenario.fleet.pools_of_role("prefill") == ("p",)
    assert scenario.gateway.disaggregation is not None and scenario.gateway.disaggregation.kind == "effective_length"


def test_a_pool_with_a_role_may_begin_empty_where_replicas_come() -> None:
    for more in (["autoscaler=sla_planner"], ["timeline=[{kind: pool_size, at_s: 5, pool: prefill, replicas: 1}]"]):
        composed_scenario(["fleet=disaggregated", "fleet.pools.prefill.replicas=0", *more])


def test_a_deploy_of_another_tensor_parallel_size_fits() -> None:
    composed_scenario(
        ["fleet=disaggregated", "timeline=[{kind: deploy, at_s: 1, pool: decode, engine: {tensor_parallel_size: 2}}]"]
    )
