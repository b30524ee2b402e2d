"""Dated price tables: GPUs by cloud and market, API models by token. Every row carries its source and its date.

The tables are a selection made by hand from public lists; ``checked`` is false where a price was written down from
memory and nobody has looked it up again. Prices move: a table older than ``OLD_DAYS`` is worth a warning. Reserved
prices are not published by the GPU and are stated as a discount instead (``cost.reserved_discount_fraction``).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from importlib.resources import files

from sim.errors import ConfigError
from sim.units import TOKENS_PER_MILLION

OLD_DAYS = 180
"""An older price is worth a warning: GPU list prices moved by a third within half a year in 2025-2026."""


@dataclass(frozen=True)
class GpuOffer:
    """One GPU on one market of one cloud."""

    gpu: str
    """Preset name, e.g. ``l40s``."""
    cloud: str
    instance: str
    region: str
    market: str
    instance_gpus: int
    usd_per_gpu_hour: float
    date: date
    checked: bool
    source: str


@dataclass(frozen=True)
class ApiPrice:
    """US dollars per million tokens of one model at one provider."""

    provider: str
    model: str
    weights: str
    """``open-weights`` or ``proprietary``."""
    input_usd_per_1m: float
    cached_input_usd_per_1m: float
    """Equal to the input price where no cached price is published."""
    output_usd_per_1m: float
    context_tokens: int | None
    long_context_tiers: str
    date: date
    source: str

    def bill_usd(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0) -> float:
        """What so many tokens cost; ``cached_tokens`` are part of ``input_tokens``. Long-context tiers are left out."""
        fresh = (input_tokens - cached_tokens) * self.input_usd_per_1m
        return (
            fresh + cached_tokens * self.cached_input_usd_per_1m + output_tokens * self.output_usd_per_1m
        ) / TOKENS_PER_MILLION


def gpu_offers(gpu: str | None = None, market: str | None = None) -> list[GpuOffer]:
    """The offers of ``gpu`` on ``market`` (all when None), cheapest first."""
    offers = [
        GpuOffer(
            gpu=row["gpu"],
            cloud=row["cloud"],
            instance=row["instance"],
            region=row["region"],
            market=row["market"],
            instance_gpus=int(row["instance_gpus"]),
            usd_per_gpu_hour=float(row["usd_per_gpu_hour"]),
            date=date.fromisoformat(row["date"]),
            checked=row["checked"] == "true",
            source=row["source"],
        )
        for row in _rows("gpu_prices.csv")
    ]
    wanted = [offer for offer in offers if gpu in (None, offer.gpu) and market in (None, offer.market)]
    return sorted(wanted, key=lambda offer: (offer.usd_per_gpu_hour, offer.cloud, offer.instance, offer.region))


def api_prices() -> list[ApiPrice]:
    """Every API price of the table."""
    return [
        ApiPrice(
            provider=row["provider"],
            model=row["model"],
            weights=row["weights"],
            input_usd_per_1m=float(row["input_usd_per_1m"]),
            cached_input_usd_per_1m=float(row["cached_input_usd_per_1m"] or row["input_usd_per_1m"]),
            output_usd_per_1m=float(row["output_usd_per_1m"]),
            context_tokens=int(float(row["context_tokens"])) if row["context_tokens"] else None,
            long_context_tiers=row["long_context_tiers"],
            date=date.fromisoformat(row["date"]),
            source=row["source"],
        )
        for row in _rows("api_prices.csv")
    ]


def api_price(provider: str, model: str) -> ApiPrice:
    """The price of ``model`` at ``provider``.

    Raises:
        ConfigError: the table has no such row; the message lists the provider's models.
    """
    prices = api_prices()
    for row in prices:
        if (row.provider, row.model) == (provider, model):
            return row
    offered = [row.model for row in prices if row.provider == provider]
    known = (
        f"its models: {', '.join(offered)}" if offered else f"providers: {', '.join(sorted({p.provider for p in prices}))}"
    )
    raise ConfigError(f"no API price of {model!r} at provider {provider!r}; {known}")


def price_spread(gpu: str, market: str = "on_demand") -> tuple[float, float, float]:
    """Lowest, median and highest checked US$ per GPU-hour: the stated uncertainty of a price. NaN when none is."""
    usd = sorted(offer.usd_per_gpu_hour for offer in gpu_offers(gpu, market) if offer.checked)
    if not usd:
        return (math.nan, math.nan, math.nan)
    middle = len(usd) // 2
    median = usd[middle] if len(usd) % 2 else (usd[middle - 1] + usd[middle]) / 2
    return (usd[0], median, usd[-1])


def price_warnings(rows: Iterable[GpuOffer | ApiPrice], today: date) -> list[str]:
    """What a reader must know about these rows: too old, or never checked at a source."""
    found = []
    for row in rows:
        name = f"{row.gpu} at {row.cloud}" if isinstance(row, GpuOffer) else f"{row.model} at {row.provider}"
        age_days = (today - row.date).days
        if age_days > OLD_DAYS:
            found.append(f"the price of {name} is {age_days} days old (read {row.date.isoformat()})")
        if isinstance(row, GpuOffer) and not row.checked:
            found.append(f"the price of {name} was not checked at a source")
    return found


def stated_price_warning(name: str, stated_date: str, today: date) -> str | None:
    """A warning when a preset's price, dated ``stated_date`` (ISO), is old or undated; None when it is fresh."""
    try:
        age_days = (today - date.fromisoformat(stated_date)).days
    except ValueError:
        return f"the price of {name} carries no date"
    return f"the price of {name} is {age_days} days old (read {stated_date})" if age_days > OLD_DAYS else None


def _rows(name: str) -> list[dict[str, str]]:
    text = files("sim.cost").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
