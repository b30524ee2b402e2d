"""What machines cost: GPU-seconds times a dated price, in the units in which they are sold.

    instances = ceil(replicas / (instance_gpus // gpus_per_replica))    replicas that share an instance
              = replicas x ceil(gpus_per_replica / instance_gpus)      a replica larger than an instance
    $ per hour = instances x instance_gpus x $ per GPU-hour

A replica's GPUs stay inside one instance where they fit, since its link does. Billing is by the second without a
minimum; volume discounts and taxes are left out.
"""

from __future__ import annotations

import math

from sim.errors import ConfigError
from sim.spec import CostSpec, EngineSpec, GpuSpec, Scenario
from sim.units import SECONDS_PER_HOUR

_AS_LISTED = CostSpec()


def usd_per_gpu_hour(gpu: GpuSpec, market: str, cost: CostSpec | None = None) -> float:
    """The price of one GPU-hour of ``gpu`` on ``market`` (on_demand, spot, reserved); ``cost.market`` overrides it.

    A reserved price that is not known is the on-demand price less ``cost.reserved_discount_fraction``.

    Raises:
        ConfigError: the preset holds no such price.
    """
    cost = cost or _AS_LISTED
    market = cost.market or market
    price = gpu.price
    known = {
        "on_demand": price.on_demand_usd_per_hour,
        "spot": price.spot_usd_per_hour,
        "reserved": price.reserved_usd_per_hour,
    }
    if market == "reserved" and known["reserved"] is None and price.on_demand_usd_per_hour is not None:
        known["reserved"] = price.on_demand_usd_per_hour * (1.0 - cost.reserved_discount_fraction)
    usd = known.get(market)
    if usd is None:
        priced = ", ".join(name for name, value in known.items() if value is not None) or "none"
        raise ConfigError(
            f"gpu.price.{market}_usd_per_hour: gpu {gpu.name!r} has no price on market {market!r}; priced are: {priced}"
        )
    return usd


def gpus_per_replica(engine: EngineSpec) -> int:
    """GPUs that one replica of ``engine`` holds."""
    return engine.gpus


def instances_needed(replicas: int, gpus_per_replica: int, instance_gpus: int) -> int:
    """Whole instances of ``instance_gpus`` GPUs that ``replicas`` of ``gpus_per_replica`` GPUs occupy."""
    if gpus_per_replica > instance_gpus:
        return replicas * math.ceil(gpus_per_replica / instance_gpus)
    return math.ceil(replicas / (instance_gpus // gpus_per_replica))


def pool_usd_per_hour(
    gpu: GpuSpec, gpus_per_replica: int, replicas: int, market: str = "on_demand", cost: CostSpec | None = None
) -> float:
    """US dollars per hour of ``replicas`` running replicas, whole instances, before any overhead."""
    instances = instances_needed(replicas, gpus_per_replica, gpu.price.instance_gpus)
    return instances * gpu.price.instance_gpus * usd_per_gpu_hour(gpu, market, cost)


def fleet_usd_per_hour(scenario: Scenario) -> float:
    """US dollars per hour of the scenario's fleet while every stated replica runs, ``overhead_fraction`` included."""
    total = 0.0
    for pool in scenario.fleet.all_pools().values():
        engine = pool.engine or scenario.engine
        gpus = gpus_per_replica(engine)
        replicas = pool.replicas + pool.headroom_replicas + pool.warm_replicas
        total += pool_usd_per_hour(pool.gpu or scenario.gpu, gpus, replicas, pool.market, scenario.cost)
    return total * (1.0 + scenario.cost.overhead_fraction)


def committed_usd_per_hour(scenario: Scenario) -> float:
    """US dollars per hour of the GPUs that ``cost.commitment`` reserves, paid whether or not they run; 0 without one."""
    spec = scenario.cost.commitment
    if spec is None:
        return 0.0
    return spec.gpus * usd_per_gpu_hour(scenario.gpu, "on_demand", scenario.cost) * (1 - spec.discount())


def gpu_hours(gpu_seconds: float) -> float:
    """GPU-seconds as GPU-hours."""
    return gpu_seconds / SECONDS_PER_HOUR
