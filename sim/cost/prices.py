"""Dated price tables: GPUs by cloud and market, API models by token. Every row carries its source and its date.

The tables are a selection made by hand from public lists; ``checked`` is false where a price was written down from
memory and nobody has looked it up again. Prices move: a table older than ``OLD_DAYS`` is worth a warning. Reserved
prices are not published by the GPU and are stated as a discount instead (``cost.reserved_discount_fraction``).

A folder of one's own (``cost.price_folder``) holds tables of the same names and columns, one or both. Its rows replace the
packaged rows of the same GPU, or of the same provider and model; every other row stays.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from sim.errors import ConfigError
from sim.spec import GpuSpec, Scenario
from sim.units import TOKENS_PER_MILLION

OLD_DAYS = 180
"""An older price is worth a warning: GPU list prices moved by a third within half a year in 2025-2026."""

GPU_TABLE = "gpu_prices.csv"
API_TABLE = "api_prices.csv"
MARKETS = ("on_demand", "spot", "reserved")

Row = TypeVar("Row")


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
    """``open-weights``, ``proprietary`` or ``unknown``."""
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


def gpu_offers(gpu: str | None = None, market: str | None = None, folder: str | Path | None = None) -> list[GpuOffer]:
    """The offers of ``gpu`` on ``market`` (all when None), cheapest first; ``folder``: see the module's head."""
    offers = _table(GPU_TABLE, folder, _gpu_offer, lambda offer: offer.gpu)
    wanted = [offer for offer in offers if gpu in (None, offer.gpu) and market in (None, offer.market)]
    return sorted(wanted, key=lambda offer: (offer.usd_per_gpu_hour, offer.cloud, offer.instance, offer.region))


def api_prices(folder: str | Path | None = None) -> list[ApiPrice]:
    """Every API price of the table; ``folder``: see the module's head."""
    return _table(API_TABLE, folder, _api_price, lambda row: (row.provider, row.model))


def api_price(provider: str, model: str, folder: str | Path | None = None) -> ApiPrice:
    """The price of ``model`` at ``provider``.

    Raises:
        ConfigError: the table has no such row; the message lists the provider's models.
    """
    prices = api_prices(folder)
    for row in prices:
        if (row.provider, row.model) == (provider, model):
            return row
    offered = [row.model for row in prices if row.provider == provider]
    known = (
        f"its models: {', '.join(offered)}" if offered else f"providers: {', '.join(sorted({p.provider for p in prices}))}"
    )
    raise ConfigError(f"no API price of {model!r} at provider {provider!r}; {known}")


def price_spread(
    gpu: str, market: str = "on_demand", folder: str | Path | None = None
) -> tuple[float, float, float]:
    """Lowest, median and highest checked US$ per GPU-hour: the stated uncertainty of a price. NaN when none is."""
    usd = sorted(offer.usd_per_gpu_hour for offer in gpu_offers(gpu, market, folder) if offer.checked)
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


def with_folder_prices(scenario: Scenario) -> Scenario:
    """``scenario`` with every GPU that ``cost.price_folder`` has a row of priced by it; itself without a folder.

    Leaves out the API providers of the gateway, which state their own price.

    Raises:
        ConfigError: the folder holds no table, or one that cannot be read.
    """
    folder = scenario.cost.price_folder
    if folder is None:
        return scenario
    bought, fleet = scenario.cost.market, scenario.fleet
    pools = {
        name: pool if pool.gpu is None else replace(pool, gpu=_priced(pool.gpu, folder, bought or pool.market))
        for name, pool in fleet.pools.items()
    }
    gpu = _priced(scenario.gpu, folder, bought or fleet.market)
    return replace(scenario, gpu=gpu, fleet=replace(fleet, pools=pools))


def _priced(gpu: GpuSpec, folder: str, bought: str) -> GpuSpec:
    """``gpu`` with the median offer of each market that the folder has; a market without a row keeps its price. Instance
    and date are those of the market ``bought``, where it has a row."""
    offers = [offer for offer in _own_table(GPU_TABLE, folder, _gpu_offer) if offer.gpu == gpu.name]
    found = {market: _median_offer([one for one in offers if one.market == market]) for market in MARKETS}
    known = {market: offer for market, offer in found.items() if offer is not None}
    if not known:
        return gpu
    usd: dict[str, Any] = {f"{market}_usd_per_hour": offer.usd_per_gpu_hour for market, offer in known.items()}
    first = known.get(bought) or next(iter(known.values()))
    said = [
        f"{market} {one.cloud} {one.instance} {one.region} ({one.source}{'' if one.checked else '; not checked'})"
        for market, one in known.items()
    ]
    kept = [market for market in MARKETS if market not in known and getattr(gpu.price, f"{market}_usd_per_hour") is not None]
    note = f"; {' and '.join(kept)} as before: {gpu.price.source} {gpu.price.date}" if kept else ""
    stated = replace(gpu.price, instance_gpus=first.instance_gpus, date=first.date.isoformat(), **usd)
    return replace(gpu, price=replace(stated, source=f"median offer: {'; '.join(said)}{note}"))


def _median_offer(offers: list[GpuOffer]) -> GpuOffer | None:
    """A real row, so that price, instance and source go together: the lower middle one of those checked, if any is."""
    ordered = sorted([one for one in offers if one.checked] or offers, key=lambda one: one.usd_per_gpu_hour)
    return ordered[(len(ordered) - 1) // 2] if ordered else None


def _table(
    name: str, folder: str | Path | None, parse: Callable[[dict[str, str]], Row], key: Callable[[Row], Hashable]
) -> list[Row]:
    packaged = [parse(row) for row in csv.DictReader(files("sim.cost").joinpath(name).read_text("utf-8").splitlines())]
    own = [] if folder is None else _own_table(name, folder, parse)
    replaced = {key(row) for row in own}
    return [*(row for row in packaged if key(row) not in replaced), *own]


def _own_table(name: str, folder: str | Path, parse: Callable[[dict[str, str]], Row]) -> list[Row]:
    """The rows of the folder's table ``name``; none where it holds only the other table."""
    path = Path(folder) / name
    if not any((path.parent / known).is_file() for known in (GPU_TABLE, API_TABLE)):
        raise ConfigError(
            f"cost.price_folder: {folder} holds neither {GPU_TABLE} nor {API_TABLE}; "
            "`servecap prices refresh --out DIR` writes such a folder"
        )
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    reader = csv.DictReader(lines, restval="")
    try:
        return [parse(row) for row in reader]
    except KeyError as error:
        columns = [field.name for field in fields(GpuOffer if name == GPU_TABLE else ApiPrice)]
        raise ConfigError(f"{path}: lacks the column {error}; it needs {', '.join(columns)}") from None
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{path}, row {reader.line_num}: {error}") from None


def _gpu_offer(row: dict[str, str]) -> GpuOffer:
    if row["market"] not in MARKETS:
        raise ValueError(f"market is {row['market']!r}, not one of {', '.join(MARKETS)}")
    if int(row["instance_gpus"]) < 1:
        raise ValueError(f"instance_gpus is {row['instance_gpus']}, not at least 1")
    return GpuOffer(
        gpu=row["gpu"],
        cloud=row["cloud"],
        instance=row["instance"],
        region=row["region"],
        market=row["market"],
        instance_gpus=int(row["instance_gpus"]),
        usd_per_gpu_hour=_usd(row["usd_per_gpu_hour"]),
        date=date.fromisoformat(row["date"]),
        checked=row["checked"] == "true",
        source=row["source"],
    )


def _api_price(row: dict[str, str]) -> ApiPrice:
    return ApiPrice(
        provider=row["provider"],
        model=row["model"],
        weights=row["weights"],
        input_usd_per_1m=_usd(row["input_usd_per_1m"]),
        cached_input_usd_per_1m=_usd(row["cached_input_usd_per_1m"] or row["input_usd_per_1m"]),
        output_usd_per_1m=_usd(row["output_usd_per_1m"]),
        context_tokens=int(float(row["context_tokens"])) if row["context_tokens"] else None,
        long_context_tiers=row["long_context_tiers"],
        date=date.fromisoformat(row["date"]),
        source=row["source"],
    )


def _usd(text: str) -> float:
    usd = float(text)
    if not 0 <= usd < math.inf:
        raise ValueError(f"a price is {text}, not a number of at least 0")
    return usd
