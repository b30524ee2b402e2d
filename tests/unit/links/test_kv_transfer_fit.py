"""What a KV transfer takes: the presets are the fits of what was measured, and links carry them so."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from sim.links.transfers import Link, Transfers

ROOT = Path(__file__).parents[3]


def fits() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fit_links", ROOT / "experiments/disaggregation/fit_links.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FITS = fits()
GPUS = 8


def preset(name: str) -> dict[str, float]:
    stated: dict[str, float] = yaml.safe_load((ROOT / f"configs/kv_transfer/{name}.yaml").read_text(encoding="utf-8"))
    return stated


def carried_s(name: str, size_bytes: float) -> float:
    """By a replica of eight GPUs that has its NICs for itself."""
    stated = preset(name)
    rate = stated["nic_gb_per_s"] * stated["nics_per_gpu"] * GPUS * 1e9
    transfers = Transfers()
    transfers.start(stated["setup_s"], size_bytes, [Link("out", rate), Link("in", rate)])
    return transfers.next_end_s()


@pytest.mark.parametrize("name", list(FITS.MEASURED_MB_MS))
def test_measured_transfers_are_met_within_three_percent(name: str) -> None:
    points = FITS.MEASURED_MB_MS[name][1]
    errors = [abs(carried_s(name, mb * 1e6) * 1e3 / ms - 1) for mb, ms in points]
    assert sum(errors) / len(errors) <= 0.03


@pytest.mark.parametrize("name", list(FITS.MEASURED_MB_MS))
def test_presets_hold_the_fit(name: str) -> None:
    found, stated = FITS.fit(FITS.MEASURED_MB_MS[name][1]), preset(name)
    assert stated["setup_s"] == pytest.approx(found.setup_s, rel=0.01)
    assert stated["nic_gb_per_s"] * stated["nics_per_gpu"] * GPUS == pytest.approx(found.gb_per_s, rel=0.01)


def test_the_points_are_those_that_were_published(shared: Path) -> None:
    with (shared / "facts/kv_transfer_points.csv").open(encoding="utf-8") as file:
        published = {(float(row["kv_bytes_mb"]), float(row["transfer_ms"])) for row in csv.DictReader(file)}
    assert {point for _, points in FITS.MEASURED_MB_MS.values() for point in points} == published
