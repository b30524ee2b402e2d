"""The notes on prices below a sweep's answer."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from sim.cli.price_notes import price_notes

TODAY = date(2026, 11, 24)


def job(folder: Path, usd: float, day: str) -> Path:
    folder.mkdir()
    price = {"on_demand_usd_per_hour": usd, "spot_usd_per_hour": None, "source": "a list", "date": day}
    (folder / "config.yaml").write_text(yaml.safe_dump({"gpu": {"name": "l40s", "price": price}}))
    return folder


def test_equal_prices_are_one_note_and_differing_ones_two(tmp_path: Path) -> None:
    folders = [job(tmp_path / str(i), usd, "2026-11-01") for i, usd in enumerate((1.5, 1.5, 2.0))]
    assert price_notes([*folders, tmp_path / "without"], TODAY) == [
        "Price of l40s: $1.5 on demand a GPU-hour; a list (2026-11-01).",
        "Price of l40s: $2 on demand a GPU-hour; a list (2026-11-01).",
    ]


@pytest.mark.parametrize(("day", "says"), [("2025-01-01", "days old"), ("", "carries no date")])
def test_an_old_or_undated_price_warns(tmp_path: Path, day: str, says: str) -> None:
    assert says in price_notes([job(tmp_path / "0", 1.5, day)], TODAY)[0]
