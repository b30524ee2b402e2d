"""What is set side by side: self-hosted fleets, hybrids, APIs alone. An option is a scenario."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sim.cost.sold_as import offers_of
from sim.spec import FleetSpec, Scenario
from sim.spec.autoscaler import NoAutoscaler
from sim.spec.gateway import GatewaySpec
from sim.spec.gateway.answers import ApiSpec, Hybrid

Kind = Literal["self-hosted", "hybrid", "API"]


@dataclass(frozen=True)
class Option:
    """A name and what it stands for."""

    name: str
    scenario: Scenario

    @property
    def kind(self) -> Kind:
        """Who answers."""
        return kind_of(self.scenario)


def kind_of(scenario: Scenario) -> Kind:
    """API where everything goes there or nothing stands at home, hybrid where some may."""
    hybrid, machines = scenario.gateway.hybrid, has_machines(scenario)
    if not machines or (hybrid is not None and hybrid.api_first and not hybrid.pinned_routes and not hybrid.pinned_tenants):
        return "API"
    return "hybrid" if hybrid is not None and scenario.gateway.apis and hybrid.larger_pool is None else "self-hosted"


def has_machines(scenario: Scenario) -> bool:
    """Whether any pool holds, or may come to hold, a replica."""
    return any(
        pool.replicas > 0 or scenario.scales(pool)
        for pool in scenario.fleet.all_pools().values()
    )


def api_options(scenario: Scenario) -> list[Option]:
    """Each API that answers for the scenario's model, alone: no machine at home."""
    return [Option(f"API {name}", api_alone(scenario, name, spec)) for name, spec in offers_of(scenario)]


def api_alone(scenario: Scenario, name: str, spec: ApiSpec) -> Scenario:
    """``scenario`` answered by ``spec`` alone; of the gateway, users and timeouts stay. Nobody runs servers then: the
    engineers and the GPU-hours of evaluation that are stated for those at home are not paid; logs, egress and GPUs that one
    has committed to are."""
    gateway = scenario.gateway
    key = name.replace("/", "_")
    return replace(
        scenario,
        fleet=FleetSpec(replicas=0, min_replicas=0),
        autoscaler=NoAutoscaler(),
        cost=replace(scenario.cost, engineers_fte=0.0, eval_gpu_hours_per_month=0.0),
        gateway=GatewaySpec(
            name=key,
            users=gateway.users,
            client_timeout_s=gateway.client_timeout_s,
            client_timeout_covers=gateway.client_timeout_covers,
            apis={key: spec},
            hybrid=Hybrid(api_first=True),
        ),
        timeline=(),
    )
