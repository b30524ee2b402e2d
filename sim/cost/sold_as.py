"""Where the weights of a preset are sold by the token: rows of the dated table of API prices.

A later release of the same shape stands for the preset where its own is no longer sold (3.3-70B for 3.1-70B)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sim.cost.prices import ApiPrice, api_prices
from sim.spec import Scenario
from sim.spec.gateway.answers import ApiSpec

SOLD_AS: dict[str, tuple[str, ...]] = {
    "llama3_8b": (
        "llama-3.1-8b-instant", "llama3.1-8b", "llama-v3p1-8b-instruct",
        "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", "meta.llama3-1-8b-instruct-v1:0",
        "meta-llama/llama-3.1-8b-instruct",
    ),
    "llama3_70b": (
        "llama-3.3-70b-versatile", "llama-3.3-70b", "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "meta.llama3-1-70b-instruct-v1:0", "meta.llama3-3-70b-instruct-v1:0", "meta-llama/llama-3.3-70b-instruct",
    ),
    "qwen3_8b": ("qwen/qwen3-8b",),
    "qwen3_32b": ("qwen/qwen3-32b", "qwen-3-32b"),
    "qwen3_30b_a3b": ("qwen/qwen3-30b-a3b-instruct-2507",),
    "qwen2_5_7b": ("qwen/qwen-2.5-7b-instruct",),
    "mixtral_8x7b": ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistralai/mixtral-8x7b-instruct"),
    "deepseek_v3": ("deepseek-v3-0324", "deepseek/deepseek_v3"),
}  # fmt: skip
"""Preset of a model -> its names at providers."""


def sold_as(model: str, folder: str | Path | None = None) -> list[ApiPrice]:
    """The table's rows that sell ``model`` (a preset's name), in the table's order; none where nobody does."""
    names = SOLD_AS.get(model, ())
    return [row for row in api_prices(folder) if row.model in names]


Apis = dict[str, ApiSpec]
"""Providers by name, tried in this order: one, or one for the routes of each model."""


def offers_of(scenario: Scenario) -> list[tuple[str, Apis]]:
    """Every API that answers for the scenario's model, by name: those that its gateway states, contracts of one's own among
    them, then the rows of the dated table that are not among these. Of a fleet with a model on each route, the providers
    that sell all of these models."""
    found: list[tuple[str, Apis]] = [(name, {name: spec}) for name, spec in scenario.gateway.apis.items()]
    routes = routes_by_model(scenario)
    if len(routes) > 1:
        return [*found, *_offers_of_all(routes, scenario.cost.price_folder)]
    taken = {spec.model for _, apis in found for spec in apis.values()}
    sold = sold_as(next(iter(routes)), scenario.cost.price_folder)
    for row in sold:
        alone = sum(other.provider == row.provider for other in sold) == 1
        name = row.provider if alone else f"{row.provider}/{row.model.rpartition('/')[2]}"
        if f"{row.provider}/{row.model}" not in taken and name not in scenario.gateway.apis:
            found.append((name, {name: as_api(row)}))
    return found


def _offers_of_all(routes: dict[str, tuple[str, ...]], folder: str | None) -> list[tuple[str, Apis]]:
    by_provider: dict[str, Apis] = {}
    for model, answers in routes.items():
        for row in sold_as(model, folder):
            by_provider.setdefault(row.provider, {}).setdefault(model, replace(as_api(row), routes=answers))
    return [
        (provider, {f"{provider} {model}": spec for model, spec in sold.items()})
        for provider, sold in by_provider.items()
        if len(sold) == len(routes)
    ]


def routes_by_model(scenario: Scenario) -> dict[str, tuple[str, ...]]:
    """Model -> the routes that its pools answer; the model of ordinary requests comes last, with none: all the others."""
    pools, mapped = scenario.fleet.all_pools(), scenario.gateway.routes
    ordinary = [name for name in pools if name not in mapped.values()] or list(pools)
    rest = (pools[ordinary[0]].model or scenario.model).name
    found: dict[str, list[str]] = {}
    for route, pool in mapped.items():
        model = (pools[pool].model or scenario.model).name
        if model != rest:
            found.setdefault(model, []).append(route)
    return {**{model: tuple(routes) for model, routes in found.items()}, rest: ()}


def as_api(row: ApiPrice) -> ApiSpec:
    """A row of the price table as a provider. Its latencies are the stated assumptions of ``ApiSpec``: none is published."""
    return ApiSpec(
        model=f"{row.provider}/{row.model}",
        input_usd_per_1m=row.input_usd_per_1m,
        cached_input_usd_per_1m=row.cached_input_usd_per_1m,
        output_usd_per_1m=row.output_usd_per_1m,
        context_window=row.context_tokens,
        source=row.source,
        date=row.date.isoformat(),
    )
