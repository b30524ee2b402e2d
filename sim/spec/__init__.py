"""Specs: what a user states. Frozen, validated, free of Hydra; ``Scenario`` holds them all."""

from sim.spec.cost import CostSpec
from sim.spec.engine import EngineSpec
from sim.spec.fleet import FleetSpec, PoolSpec
from sim.spec.gateway import GatewaySpec
from sim.spec.gpu import GpuPrice, GpuSpec, Market
from sim.spec.model import ModelSpec
from sim.spec.scenario import Scenario, parse_scenario, scenario_to_dict
from sim.spec.search import OutputSpec, SearchSpec
from sim.spec.slo import RouteSlo, Slo
from sim.spec.workload import GeneratorSpec, WorkloadSpec

__all__ = [
    "CostSpec", "EngineSpec", "FleetSpec", "GatewaySpec", "GeneratorSpec", "GpuPrice", "GpuSpec", "Market", "ModelSpec",
    "OutputSpec", "PoolSpec", "RouteSlo", "Scenario", "SearchSpec", "Slo", "WorkloadSpec", "parse_scenario",
    "scenario_to_dict",
]  # fmt: skip
