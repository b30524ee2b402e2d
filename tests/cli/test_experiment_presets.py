"""Every preset of every group composes to a legal scenario."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.cli.compose import composed_scenario
from tests import presets

SEARCHES = {"search_economy"}
"""They override Hydra's sweeper, which only ``python -m sim`` has on its search path."""
PRESETS = sorted(
    path.stem for path in (Path(__file__).parents[2] / "configs" / "experiment").glob("*.yaml") if path.stem not in SEARCHES
)


@pytest.mark.parametrize("name", PRESETS)
def test_composes(name: str) -> None:
    assert composed_scenario([f"experiment={name}"]) != composed_scenario([])


@pytest.mark.parametrize(
    "group",
    [
        "model", "gpu", "engine", "fleet", "kv_transfer", "workload", "gateway", "autoscaler", "spot", "slo", "cost", "api",
        "speculative",
        "search",
    ],
)  # fmt: skip
def test_every_preset_of_a_group_is_legal(group: str) -> None:
    for name in presets.names(group):
        with_it = ["spot=aws"] if (group, name) == ("fleet", "spot") else []  # a spot price alone is refused
        with_it += ["fleet=disaggregated"] if group == "gateway" and name.endswith("_pd") else []  # so are deciders without
        assert composed_scenario([f"{group}={name}", *with_it]).seed == 0


def test_spot_share_asks_for_half_on_spot() -> None:
    scenario = composed_scenario(["experiment=spot_share"])
    assert (scenario.fleet.market, scenario.spot.on_demand_share, scenario.spot.fallback) == ("spot", 0.5, "on_demand")


def test_night_backfill_brings_tasks() -> None:
    background = composed_scenario(["experiment=night_backfill"]).fleet.background
    assert background is not None
    assert background.tasks > 0
