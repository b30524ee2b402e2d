"""Configurations that state half of a thing: refused, with the ways out."""

from __future__ import annotations

from sim.errors import ConfigError
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
