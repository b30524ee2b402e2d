"""Where the weights of a preset are sold by the token: rows of the dated table of API prices.

A later release of the same shape stands for the preset where its own is no longer sold (3.3-70B for 3.1-70B)."""

from __future__ import annotations

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


def offers_of(scenario: Scenario) -> list[tuple[str, ApiSpec]]:
    """Every API that answers for the scenario's model, by name: those that its gateway states, contracts of one's own among
    them, then the rows of the dated table that are not among these."""
    found = list(scenario.gateway.apis.items())
    taken = {spec.model for _, spec in found}
    sold = sold_as(scenario.model.name, scenario.cost.price_folder)
    for row in sold:
        alone = sum(other.provider == row.provider for other in sold) == 1
        name = row.provider if alone else f"{row.provider}/{row.model.rpartition('/')[2]}"
        if f"{row.provider}/{row.model}" not in taken and name not in scenario.gateway.apis:
            found.append((name, as_api(row)))
    return found


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
