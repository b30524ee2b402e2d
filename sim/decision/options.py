"""What is set side by side: self-hosted fleets, hybrids, APIs alone. An option is a scenario."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sim.cost.prices import ApiPrice
from sim.cost.sold_as import sold_as
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
    """Each API that the gateway states, and each that sells the model in the dated table, alone: no machine at home."""
    stated = scenario.gateway.apis
    found = list(stated.items())
    taken = {spec.model for spec in stated.values()}
    sold = sold_as(scenario.model.name, scenario.cost.price_folder)
    for row in sold:
        alone = sum(other.provider == row.provider for other in sold) == 1
        name = row.provider if alone else f"{row.provider}/{row.model.rpartition('/')[2]}"
        if f"{row.provider}/{row.model}" not in taken and name not in stated:
            found.append((name, api_of(row)))
    return [Option(f"API {name}", api_alone(scenario, name, spec)) for name, spec in found]


def api_of(row: ApiPrice) -> ApiSpec:
    """A row of the price table as a provider. Its latencies are the stated assumptions of ``ApiSpec``: none is published."""
    return ApiSpec(
        model=f"{row.provider}/{row.model}",
        input_usd_per_1m=row.input_usd_per_1m,
        cached_input_usd_per_1m=row.cached_input_usd_per_1m,
        output_usd_per_1m=row.output_usd_per_1m,
        context_window=row.context_tokens,
        source=f"{row.source}; latencies assumed",
        date=row.date.isoformat(),
    )


def api_alone(scenario: Scenario, name: str, spec: ApiSpec) -> Scenario:
    """``scenario`` answered by ``spec`` alone; of the gateway, users and timeouts stay."""
    gateway = scenario.gateway
    key = name.replace("/", "_")
    return replace(
        scenario,
        fleet=FleetSpec(replicas=0, min_replicas=0),
        autoscaler=NoAutoscaler(),
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
