"""LoRA adapters at the gateway: who is asked, what is refused, what is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sim.errors import ConfigError
from sim.gateway.affinity import AdapterAffinityRouter
from sim.gateway.request import ClientRequest
from sim.gateway.signals import Snapshot
from sim.gateway.weighted_score import WeightedScoreRouter
from sim.run import simulate
from sim.spec import EngineSpec, FleetSpec, GatewaySpec, PoolSpec, Scenario, WorkloadSpec
from sim.spec.gateway.routing import AdapterAffinity, WeightedScore
from sim.workload import Trace
from tests.presets import gpu, model


class Server:
    def __init__(self, index: int, requests: int = 0, adapters: tuple[str, ...] = ()) -> None:
        self.index = index
        self.name = f"main-{index}"
        self.pool = "main"
        self.requests_in_flight = requests
        self.tokens_in_flight = 0
        self.adapters = adapters


class Seen:
    def of(self, server: Server) -> Snapshot:
        return Snapshot(server.requests_in_flight, 0, 0, 0.0, 1000, server.adapters, 2)


def asking(lora: str, row: int = 0) -> ClientRequest:
    request = ClientRequest(row, 0.0, 100)
    request.lora = lora
    return request


def test_an_adapter_keeps_to_one_replica_until_that_is_full() -> None:
    router = AdapterAffinityRouter(AdapterAffinity())
    servers = [Server(index) for index in range(8)]
    homes = {lora: router.choose(asking(lora), servers).index for lora in map(str, range(64))}
    assert len(set(homes.values())) == 8
    assert all(router.choose(asking(lora, 5), servers).index == home for lora, home in homes.items())
    home = homes["3"]
    servers[home].requests_in_flight = 9
    assert router.choose(asking("3"), servers).index != home
    for server in servers:
        server.requests_in_flight = 9
    assert router.choose(asking("3"), servers).index == home
    gone = [server for server in servers if server.index != home]
    moved = [lora for lora in homes if router.choose(asking(lora), gone).index != homes[lora]]
    assert all(homes[lora] == home for lora in moved)


def test_the_base_model_goes_where_fewest_are() -> None:
    servers = [Server(0, 3), Server(1, 1), Server(2, 2)]
    assert AdapterAffinityRouter(AdapterAffinity()).choose(asking(""), servers).index == 1


def test_llm_d_scores_a_loaded_adapter_over_a_free_slot_over_none() -> None:
    weights = WeightedScore(queue_weight=0.0, kv_weight=0.0, prefix_weight=0.0)
    router = WeightedScoreRouter(weights, Seen(), np.random.default_rng(0))  # type: ignore[arg-type]
    full, free, has = Server(0, 0, ("x", "y")), Server(1, 0, ("x",)), Server(2, 0, ("a", "y"))
    assert router.choose(asking("a"), [full, free, has]) is has  # type: ignore[type-var]
    assert router.choose(asking("a"), [full, free]) is free  # type: ignore[type-var]


def traffic(n: int = 60, loras: int = 5, prompt: str = "") -> Trace:
    labels: dict[str, Any] = {"lora": np.array([f"a{i % loras}" for i in range(n)], dtype=object)}
    if prompt:
        labels["prompt_id"] = np.array([prompt] * n, dtype=object)
    return Trace(np.arange(n) * 0.05, np.full(n, 200), np.full(n, 40), labels)


def scenario(**engine: Any) -> Scenario:
    return Scenario(
        model=model("llama3_8b"), gpu=gpu("h100"), engine=EngineSpec(max_model_len=4096, **engine),
        fleet=FleetSpec(replicas=2), workload=WorkloadSpec(packaged="unused"),
    )  # fmt: skip


def test_a_pool_without_slots_is_refused_with_the_count() -> None:
    with pytest.raises(ConfigError, match=r"engine\.max_loras: requests ask for 5 LoRA adapters \(a0, a1, a2, \.\.\.\)"):
        simulate(scenario(), traffic())
    mixed = replace(
        scenario(max_loras=2),
        fleet=FleetSpec(replicas=1, pools={"bare": PoolSpec(replicas=1, engine=EngineSpec()), "main": PoolSpec(replicas=1)}),
    )
    with pytest.raises(ConfigError, match="pool bare has no slot"):
        simulate(mixed, traffic())


def test_one_adapter_at_no_overhead_is_no_lora() -> None:
    free = {"step_overhead_per_rank": 0.0, "load_s": 0.0, "disk_gib_per_s": 1e12, "host_gib_per_s": 1e12}
    blocks = {"num_gpu_blocks_override": 2000}
    with_lora = simulate(scenario(max_loras=8, lora=free, **blocks), traffic())
    labels = {"session_id": np.array([""] * 60, dtype=object)}
    plain = simulate(scenario(**blocks), Trace(np.arange(60) * 0.05, np.full(60, 200), np.full(60, 40), labels))
    same = ["output_tokens", "replica", "cached_tokens", "preemptions"]
    assert (with_lora.requests[same] == plain.requests[same]).all(axis=None)
    assert np.abs(with_lora.requests["finish_s"] - plain.requests["finish_s"]).max() < 1e-9


def test_equal_prompts_of_two_adapters_share_no_answer() -> None:
    caching = GatewaySpec(cache={})  # type: ignore[arg-type]
    result = simulate(replace(scenario(max_loras=8), gateway=caching), traffic(60, 5, "same"))
    assert (result.requests["pool"] != "cache").sum() >= 5


def test_adapters_cost_memory_and_steps() -> None:
    plain = simulate(scenario(), replace(traffic(), labels={}))
    slow = simulate(scenario(max_loras=4, max_lora_rank=64), traffic(loras=4))
    assert slow.requests["e2e_s"].mean() > 1.1 * plain.requests["e2e_s"].mean()
