"""Configurations that state half of a thing: refused with the ways out, or finished where only one end is possible."""

from __future__ import annotations

from dataclasses import replace

from sim.errors import ConfigError
from sim.spec.gateway.answers import Hybrid
from sim.spec.scenario import Scenario


def check_spot_is_whole(scenario: Scenario) -> None:
    """Spot machines are cheaper because they are taken away: the price without the hazard is half of the market.

    Raises:
        ConfigError: a pool is bought on the spot market, nothing is ever taken, and nobody said that this is meant.
    """
    if scenario.timeline:
        return  # what is taken may stand there
    for name, pool in scenario.fleet.all_pools().items():
        spot = pool.spot or scenario.spot
        if pool.market == "spot" and spot.hazard is None and not spot.price_only:
            key = f"fleet.pools.{name}.market" if scenario.fleet.pools else "fleet.market"
            raise ConfigError(
                f"{key}: spot has a price and no evictions; state when machines are taken (spot=aws|gcp|azure|zones|bamboo, "
                "or spot.hazard), or that the price alone is meant (spot.price_only=true)"
            )


def with_api_alone(scenario: Scenario) -> Scenario:
    """``scenario``; with no machine, now or later, and an API stated, that API answers (``hybrid.api_first``): nobody else
    could."""
    gateway = scenario.gateway
    pools = scenario.fleet.all_pools().values()
    if not gateway.apis or gateway.hybrid is not None or any(pool.replicas or scenario.scales(pool) for pool in pools):
        return scenario
    return replace(scenario, gateway=replace(gateway, hybrid=Hybrid(api_first=True)))
