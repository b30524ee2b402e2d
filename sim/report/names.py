"""What things are called wherever they are shown: the traffic by its real name, a fleet in GPUs."""

from __future__ import annotations

from pathlib import PurePath

from sim.cost import gpus_per_replica
from sim.spec import Scenario
from sim.spec.served_fleet import served_pools


def traffic_name(scenario: Scenario) -> str:
    """The file of one's own trace, else the preset's name."""
    workload = scenario.workload
    return PurePath(workload.path).name if workload.path else workload.name


def models_of(scenario: Scenario) -> str:
    """The models that the fleet serves, or would: ``llama3_70b and llama3_8b``."""
    return " and ".join(dict.fromkeys(pool.model.name for pool in served_pools(scenario)))


def fleet_words(gpu: str, replicas: int, gpus_per_replica: int = 1) -> str:
    """``6 x l40s``; for replicas of several GPUs ``16 x h100 (2 replicas of 8)``."""
    if gpus_per_replica == 1:
        return f"{replicas} x {gpu}"
    plural = "replica" if replicas == 1 else "replicas"
    return f"{replicas * gpus_per_replica} x {gpu} ({replicas} {plural} of {gpus_per_replica})"


def fleet_of(scenario: Scenario) -> str:
    """The scenario's fleet at its start, pool by pool; without a machine, the APIs that answer in its place."""
    if not scenario.has_machines:
        apis = " and ".join(scenario.gateway.apis)
        return f"the API{'s' if len(scenario.gateway.apis) > 1 else ''} {apis}" if apis else "no machine"
    words = []
    for name, pool in scenario.fleet.all_pools().items():
        engine = pool.engine or scenario.engine
        gpus = gpus_per_replica(engine)
        found = fleet_words((pool.gpu or scenario.gpu).name, pool.replicas, gpus)
        found += "" if pool.market == "on_demand" else f" {pool.market.replace('_', ' ')}"
        words.append(f"{name}: {found}" if scenario.fleet.pools else found)
    scaled = scenario.autoscaler.kind != "none"
    return " + ".join(words) + (f" at the start, scaled by {scenario.autoscaler.kind}" if scaled else "")
