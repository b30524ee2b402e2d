"""Where the weights of a preset are sold by the token: rows of the dated table of API prices.

A later release of the same shape stands for the preset where its own is no longer sold (3.3-70B for 3.1-70B)."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from sim.cost.prices import ApiPrice, api_prices
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


def offered_by(name: str, spec: ApiSpec) -> ApiPrice:
    """A provider that the gateway states, as a row of the table: another model, or a contract of one's own."""
    try:
        day = date.fromisoformat(spec.date)
    except ValueError:
        day = date.min
    cached = spec.input_usd_per_1m if spec.cached_input_usd_per_1m is None else spec.cached_input_usd_per_1m
    return ApiPrice(
        provider=name, model=spec.model or name, weights="unknown", input_usd_per_1m=spec.input_usd_per_1m,
        cached_input_usd_per_1m=cached, output_usd_per_1m=spec.output_usd_per_1m, context_tokens=spec.context_window,
        long_context_tiers="", date=day, source=spec.source or "stated in the configuration",
    )  # fmt: skip
