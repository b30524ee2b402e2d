from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from sim.cost.prices import (
    ApiPrice,
    api_price,
    api_prices,
    gpu_offers,
    price_spread,
    price_warnings,
    stated_price_warning,
)
from sim.errors import ConfigError

ROOT = Path(__file__).parents[3]


def test_every_row_has_a_price_a_date_and_a_source() -> None:
    for row in [*gpu_offers(), *api_prices()]:
        assert row.source
        assert row.date.year >= 2025
    assert all(0 < offer.usd_per_gpu_hour < 30 and offer.instance_gpus >= 1 for offer in gpu_offers())
    assert all(row.output_usd_per_1m >= 0 and row.cached_input_usd_per_1m <= row.input_usd_per_1m for row in api_prices())
    assert {offer.market for offer in gpu_offers()} == {"on_demand", "spot"}


def test_offers_come_cheapest_first() -> None:
    offers = gpu_offers("h100", "on_demand")
    assert len(offers) > 5
    assert [o.usd_per_gpu_hour for o in offers] == sorted(o.usd_per_gpu_hour for o in offers)
    low, median, high = price_spread("h100")
    assert low < median < high


def test_an_unchecked_or_old_price_warns() -> None:
    unchecked = [offer for offer in gpu_offers() if not offer.checked]
    assert unchecked
    warnings = price_warnings(unchecked[:1], date(2026, 11, 23))
    assert any("not checked" in line for line in warnings)
    assert any("days old" in line for line in warnings)
    assert price_warnings(api_prices(), date(2026, 12, 1)) == []
    assert stated_price_warning("l40s", "2026-06-01", date(2026, 6, 2)) is None
    assert "no date" in (stated_price_warning("l40s", "", date(2026, 6, 2)) or "")


def test_an_api_bill() -> None:
    price = ApiPrice("p", "m", "open-weights", 1.0, 0.1, 4.0, None, "", date(2026, 1, 1), "test")
    assert price.bill_usd(1_000_000, 500_000, cached_tokens=400_000) == pytest.approx(0.6 + 0.04 + 2.0)


def test_an_unknown_model_is_named() -> None:
    assert api_price("groq", "llama-3.1-8b-instant").output_usd_per_1m == 0.08
    with pytest.raises(ConfigError, match=r"llama-3\.1-8b-instant"):
        api_price("groq", "llama-9")
    with pytest.raises(ConfigError, match=r"providers: .*groq"):
        api_price("nobody", "llama-9")


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "gpu").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_gpu_preset_is_priced_with_source_and_date(path: Path) -> None:
    price = yaml.safe_load(path.read_text())["price"]
    if price["on_demand_usd_per_hour"] is None:  # a run of it asks for a price by name (sim.cost.usd_per_gpu_hour)
        assert "no price" in price["source"] or "not rented" in price["source"]
        return
    assert price["on_demand_usd_per_hour"] > 0
    assert price["source"]
    assert date.fromisoformat(price["date"])
