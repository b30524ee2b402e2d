"""How long a start takes, phase by phase, by hand: a machine's storage is shared, its page cache serves the second load."""

from __future__ import annotations

from typing import Any

import pytest

from sim.fleet.blueprint import Blueprint
from sim.record import Result
from sim.run import simulate
from sim.spec import Scenario
from sim.units import GIB
from tests.conftest import L40S
from tests.laws.test_fleet import RETRY, a_scenario, a_trace

CONSTANT = {
    "provisioning": {"kind": "constant", "seconds": 8.0},
    "image": {"kind": "constant", "seconds": 4.0},
    "weights_gib_per_s": 0.5,
    "page_cache_gib_per_s": 1.5,
    "engine_start": {"kind": "constant", "seconds": 80.0},
    "engine_restart": {"kind": "constant", "seconds": 43.0},
}
BY_EIGHT = {**L40S, "price": {**L40S["price"], "instance_gpus": 8}}


def starting(sizes: list[tuple[float, int]], **changes: Any) -> tuple[Scenario, Result]:
    """Pool sizes over time, from one replica on."""
    changes["fleet"] = {"replicas": 1, "cold_start": CONSTANT, **changes.get("fleet", {})}
    timeline = [{"kind": "pool_size", "at_s": at_s, "replicas": size} for at_s, size in sizes]
    scenario = a_scenario(timeline=[*timeline, *changes.pop("timeline", [])], gateway=RETRY, **changes)
    return scenario, simulate(scenario, a_trace(400, 1.0, 0))


def after_s(result: Result) -> dict[str, float]:
    return {event["replica"]: event["after_s"] for event in result.events if event["event"] == "ready"}


def weights_s(scenario: Scenario, rate_gib_per_s: float = 0.5) -> float:
    return Blueprint("main", scenario.model, scenario.gpu, scenario.engine).weights_bytes / GIB / rate_gib_per_s


def test_all_gpus_of_a_replica_read_from_one_storage() -> None:
    """Eight GPUs do not have eight disks: bytes of all of them / the machine's rate, whatever the number of GPUs."""
    scenario, result = starting([(1.0, 2)], engine={"tensor_parallel_size": 8})
    assert weights_s(scenario) == pytest.approx(15.0 / 0.5, rel=0.05)  # 8B in bf16
    assert after_s(result)["main-1"] == pytest.approx(8.0 + 4.0 + weights_s(scenario) + 80.0)


def test_replicas_on_one_machine_share_its_storage_and_its_provisioning() -> None:
    """Eight to a machine: three more fit beside the first, whose load has put the weights into the page cache. On a second
    machine two load at once, and each has half of its storage."""
    scenario, result = starting([(1.0, 4), (200.0, 10)], gpu=BY_EIGHT)
    took, load = after_s(result), weights_s(scenario)
    assert [took[f"main-{i}"] for i in (1, 2, 3)] == pytest.approx([load * 0.5 / 1.5 + 43.0] * 3)  # there and warm
    assert took["main-8"] == took["main-9"] == pytest.approx(8.0 + 4.0 + 2 * load + 80.0)


def test_who_joins_a_load_waits_for_its_share() -> None:
    """main-8 is asked for at 1 s and loads from 13 s on, 8 s of them alone; main-9 loads at once from 21 s on, both at half
    rate until main-8 has its last 'load - 8', which is when main-9 has as much and 8 s to go alone."""
    scenario, result = starting([(1.0, 9), (21.0, 10)], gpu=BY_EIGHT, fleet={"replicas": 8})
    took, load = after_s(result), weights_s(scenario)
    assert took["main-8"] == pytest.approx(12.0 + 8.0 + 2 * (load - 8.0) + 80.0)
    assert took["main-9"] == pytest.approx(2 * (load - 8.0) + 8.0 + 80.0)


def test_a_restart_finds_warm_caches() -> None:
    loss = {"kind": "replica_loss", "at_s": 10.0, "repair": "restart"}
    scenario, result = starting([], timeline=[loss], engine={"tensor_parallel_size": 2})
    per_gpu = weights_s(scenario, 1.5) / 2
    assert after_s(result)["main-1"] == pytest.approx(per_gpu + 43.0)


def test_a_second_start_is_never_slower_than_a_first() -> None:
    fast = {**CONSTANT, "weights_gib_per_s": 50.0, "engine_start": {"kind": "constant", "seconds": 3.0}}
    loss = {"kind": "replica_loss", "at_s": 10.0, "repair": "restart"}
    scenario, result = starting([], fleet={"cold_start": fast}, timeline=[loss])
    assert after_s(result)["main-1"] == pytest.approx(weights_s(scenario, 50.0) + 3.0)


def test_a_start_that_is_cancelled_leaves_its_share_to_the_others() -> None:
    """main-8 and main-9 load at half rate from 13 s on; at 23 s main-9 is cancelled: 5 s of loading are done, the rest goes
    at the full rate."""
    scenario, result = starting([(1.0, 10), (23.0, 9)], gpu=BY_EIGHT, fleet={"replicas": 8})
    assert after_s(result)["main-8"] == pytest.approx(12.0 + 10.0 + (weights_s(scenario) - 5.0) + 80.0)


def test_machines_that_broke_are_not_used_again() -> None:
    """A GPU dies on a machine of eight: its replacement is not put on the dead GPU, the ninth place is a new machine."""
    loss = {"kind": "replica_loss", "at_s": 10.0}
    _, result = starting([], gpu=BY_EIGHT, fleet={"replicas": 8}, timeline=[loss])
    assert after_s(result)["main-8"] > 12.0 + 80.0
