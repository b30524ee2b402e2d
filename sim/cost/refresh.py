"""From what the price packages say to rows of the dated tables: gpuhunt's instances, genai-prices' models.

Knows the packages' shapes, imports neither. GPU rows: US$ per GPU-hour = instance US$ per hour / its GPUs; of an instance
that is sold in several regions the cheapest one. API rows: US$ per million tokens at one moment, for some prices follow
the hour. Leaves out GPUs without a preset, the H100 on a PCIe card where the instance says so, and models that are not
sold by input and output token; batch discounts, cache writes and searches.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from datetime import date, datetime
from typing import Any, Protocol

from sim.cost.prices import ApiPrice, GpuOffer, api_prices

PRESETS: dict[tuple[str, int], str] = {
    ("A100", 80): "a100_80", ("A10G", 24): "a10g", ("A40", 48): "a40", ("A6000", 48): "a6000", ("B200", 180): "b200",
    ("B300", 288): "b300", ("GB200", 192): "gb200", ("GH200", 96): "gh200", ("H100", 80): "h100", ("H200", 141): "h200",
    ("L4", 24): "l4", ("L40S", 48): "l40s", ("MI300X", 192): "mi300x", ("MI325X", 256): "mi325x", ("MI355X", 288): "mi355x",
    ("RTX4090", 24): "rtx4090", ("RTX5090", 32): "rtx5090", ("RTX6000Ada", 48): "rtx6000_ada",
    ("RTXPRO6000", 96): "rtx_pro_6000", ("T4", 16): "t4",
}  # fmt: skip
"""gpuhunt's name and marketing gigabytes -> our preset; the memory tells an A100 of 40 GB from one of 80."""

UNLISTED = frozenset({"gb10", "h20", "h800"})
"""Presets that none of gpuhunt's clouds rents out: a desktop machine, and two made for one market."""

_TIERED = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok")


class Instance(Protocol):
    """What is used of ``gpuhunt.CatalogItem``; ``price`` is US$ per hour of the whole instance."""

    provider: str
    instance_name: str
    location: str
    price: float
    gpu_count: int
    gpu_name: str | None
    gpu_memory: float | None
    spot: bool


class Model(Protocol):
    """What is used of ``genai_prices.types.ModelInfo``."""

    id: str
    context_window: int | None

    def get_prices(self, request_timestamp: datetime) -> Any:
        """The prices in force then: a Decimal, a ``TieredPrices`` or None under each name."""


class Provider(Protocol):
    """What is used of ``genai_prices.types.Provider``."""

    id: str
    models: Sequence[Any]


def gpu_rows(instances: Iterable[Instance], day: date, source: str, *, checked: bool) -> list[GpuOffer]:
    """The offers among ``instances`` of GPUs that have a preset, in a fixed order."""
    cheapest: dict[tuple[str, str, str, str], GpuOffer] = {}
    for one in instances:
        gpu = PRESETS.get((one.gpu_name or "", round(one.gpu_memory or 0)))
        if gpu is None or one.gpu_count < 1 or one.price <= 0:
            continue
        if gpu == "h100" and "pcie" in one.instance_name.lower():
            continue  # goes by the same name, with 60 % of the preset's bandwidth
        offer = GpuOffer(
            gpu=gpu,
            cloud=one.provider,
            instance=one.instance_name,
            region=one.location,
            market="spot" if one.spot else "on_demand",
            instance_gpus=one.gpu_count,
            usd_per_gpu_hour=round(one.price / one.gpu_count, 6),
            date=day,
            checked=checked,
            source=source,
        )
        key = (gpu, offer.cloud, offer.instance, offer.market)
        best = cheapest.get(key, offer)
        cheapest[key] = min(best, offer, key=lambda found: (found.usd_per_gpu_hour, found.region))
    return [cheapest[key] for key in sorted(cheapest)]


def api_rows(providers: Iterable[Provider], moment: datetime, source: str) -> list[ApiPrice]:
    """The models that are sold by input and output token, at ``moment``, in a fixed order."""
    weights = {(row.provider, row.model): row.weights for row in api_prices()}
    rows = []
    for provider in providers:
        for model in provider.models:
            prices = model.get_prices(moment)
            fresh, output = _base(prices, "input_mtok"), _base(prices, "output_mtok")
            if fresh is None or output is None:
                continue
            cached = _base(prices, "cache_read_mtok")
            rows.append(
                ApiPrice(
                    provider=provider.id,
                    model=model.id,
                    weights=weights.get((provider.id, model.id), "unknown"),
                    input_usd_per_1m=fresh,
                    cached_input_usd_per_1m=fresh if cached is None else cached,
                    output_usd_per_1m=output,
                    context_tokens=model.context_window,
                    long_context_tiers="; ".join(filter(None, (_tiers(prices, name) for name in _TIERED))),
                    date=moment.date(),
                    source=source,
                )
            )
    return sorted(rows, key=lambda row: (row.provider, row.model))


def table_text(rows: Sequence[GpuOffer] | Sequence[ApiPrice]) -> str:
    """``rows`` (at least one) as the text of a table that ``sim.cost.prices`` reads back as it was."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(rows[0])], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in asdict(row).items()} for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else value


def _base(prices: Any, name: str) -> float | None:
    """The price up to the first tier of prompt length."""
    value = getattr(prices, name, None)
    return None if value is None else float(getattr(value, "base", value))


def _tiers(prices: Any, name: str) -> str:
    tiers = getattr(getattr(prices, name, None), "tiers", ())
    return "; ".join(f"{name}:>{tier.start}:{float(tier.price):.10g}" for tier in tiers)
