"""What is set side by side: self-hosted fleets, hybrids, APIs alone. An option is a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sim.cost.sold_as import Apis, offers_of, routes_by_model
from sim.errors import ConfigError
from sim.spec import FleetSpec, Scenario
from sim.spec.autoscaler import NoAutoscaler
from sim.spec.gateway import GatewaySpec
from sim.spec.gateway.answers import Hybrid

Kind = Literal["self-hosted", "hybrid", "API"]


@dataclass(frozen=True)
class Option:
    """A name and what it stands for."""

    name: str
    scenario: Scenario

    stands_for: tuple[str, ...] | None = None
    """Of an API from the table: the models that it sells, those of another option; None: it is compared with all."""

    @property
    def kind(self) -> Kind:
        """Who answers."""
        return kind_of(self.scenario)

    @property
    def models(self) -> tuple[str, ...]:
        """The models that answer at home."""
        return tuple(sorted(routes_by_model(self.scenario)))


def kind_of(scenario: Scenario) -> Kind:
    """API where everything goes there or nothing stands at home, hybrid where some may."""
    hybrid, machines = scenario.gateway.hybrid, scenario.has_machines
    if not machines or (hybrid is not None and hybrid.api_first and not hybrid.pinned_routes and not hybrid.pinned_tenants):
        return "API"
    return "hybrid" if hybrid is not None and scenario.gateway.apis and hybrid.larger_pool is None else "self-hosted"


def api_options(scenario: Scenario) -> list[Option]:
    """Each API that answers for the scenario's model, alone: no machine at home."""
    models, stated = tuple(sorted(routes_by_model(scenario))), scenario.gateway.apis
    return [
        Option(f"API {name}", api_alone(scenario, name, apis), None if name in stated else models)
        for name, apis in offers_of(scenario)
    ]


def apis_of_options(options: Sequence[Option], asked: bool | tuple[str, ...] = True) -> list[Option]:
    """The APIs that answer for any of ``options`` and are ``asked`` for (all, none, or by name), the first option's first;
    where options serve different models, a name says which it sells.

    Raises:
        ConfigError: an API that is asked for by name sells what no option serves.
    """
    found: dict[str, Option] = {}
    sold: dict[str, None] = {}
    for option in options:
        for api in api_options(option.scenario):
            provider = api.name.removeprefix("API ")
            sold[provider] = None
            if asked is True or (asked and provider in asked):
                other = api.stands_for not in (None, options[0].models)
                name = f"{api.name} ({' + '.join(option.models)})" if other else api.name
                found.setdefault(name, replace(api, name=name))
    wrong = [] if isinstance(asked, bool) else [name for name in asked if name not in sold]
    if wrong:
        models = ", ".join(sorted({model for option in options for model in option.models}))
        raise ConfigError(f"decide.apis: nobody called {wrong[0]!r} sells {models}; there are {', '.join(sold) or 'none'}")
    return list(found.values())


def api_alone(scenario: Scenario, name: str, apis: Apis) -> Scenario:
    """``scenario`` answered by ``apis`` alone; of the gateway, users and timeouts stay. Nobody runs servers then: the
    engineers and the GPU-hours of evaluation that are stated for those at home are not paid; logs, egress and GPUs that one
    has committed to are."""
    gateway = scenario.gateway
    return replace(
        scenario,
        fleet=FleetSpec(replicas=0, min_replicas=0),
        autoscaler=NoAutoscaler(),
        cost=replace(scenario.cost, engineers_fte=0.0, eval_gpu_hours_per_month=0.0),
        gateway=GatewaySpec(
            name=name,
            users=gateway.users,
            client_timeout_s=gateway.client_timeout_s,
            client_timeout_covers=gateway.client_timeout_covers,
            apis={name.replace("/", "_"): spec for name, spec in apis.items()},
            hybrid=Hybrid(api_first=True),
        ),
        timeline=(),
    )
