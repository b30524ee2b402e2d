from __future__ import annotations

import numpy as np
import pytest

from sim.cost import fleet_usd_per_hour, instances_needed, pool_usd_per_hour, usd_per_gpu_hour
from sim.cost.billed_time import paid_gpu_seconds
from sim.errors import ConfigError
from sim.spec import CostSpec


@pytest.mark.parametrize(
    ("replicas", "gpus", "instance_gpus", "instances"),
    [(3, 1, 1, 3), (3, 1, 8, 1), (9, 1, 8, 2), (2, 4, 8, 1), (3, 4, 8, 2), (3, 3, 8, 2), (2, 16, 8, 4), (0, 1, 8, 0)],
)
def test_instances_are_shared_and_whole(replicas: int, gpus: int, instance_gpus: int, instances: int) -> None:
    assert instances_needed(replicas, gpus, instance_gpus) == instances


def test_markets(make_scenario) -> None:
    gpu = make_scenario().gpu
    assert usd_per_gpu_hour(gpu, "on_demand") == 1.8
    assert usd_per_gpu_hour(gpu, "on_demand", CostSpec(market="spot")) == 0.9
    assert usd_per_gpu_hour(gpu, "reserved", CostSpec(reserved_discount_fraction=0.5)) == 0.9


def test_a_market_without_a_price_is_refused(make_scenario) -> None:
    gpu = {"name": "x", "memory_gib": 1, "bandwidth_gb_s": 1, "tflops_bf16": 1, "link_gb_s_per_direction": 1}
    scenario = make_scenario(gpu=gpu)
    with pytest.raises(ConfigError, match=r"gpu\.price\.spot_usd_per_hour.*priced are: none"):
        usd_per_gpu_hour(scenario.gpu, "spot")


def test_fleet_price_sums_pools_and_adds_overhead(make_scenario) -> None:
    pools = {"steady": {"replicas": 2}, "burst": {"replicas": 3, "market": "spot"}}
    scenario = make_scenario(fleet={"pools": pools}, cost={"overhead_fraction": 0.5})
    assert fleet_usd_per_hour(scenario) == pytest.approx((2 * 1.8 + 3 * 0.9) * 1.5)
    assert pool_usd_per_hour(scenario.gpu, 2, 3) == pytest.approx(3 * 2 * 1.8)


def test_paid_seconds_of_a_shared_instance() -> None:
    # two one-GPU replicas on a two-GPU instance: paid from the first start to the last stop, two GPUs wide
    start, stop = np.array([0.0, 10.0]), np.array([20.0, 30.0])
    assert paid_gpu_seconds(start, stop, 1, 2) == pytest.approx(2 * 30.0)
    assert paid_gpu_seconds(start, stop, 1, 1) == pytest.approx(40.0)
    assert paid_gpu_seconds(np.array([]), np.array([]), 1, 8) == 0.0
