"""Every preset of the groups gateway and api composes into a valid scenario."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from sim.cli.scenario import scenario_from
from sim.gateway.policies import needs_process

CONFIGS = Path(__file__).parents[2] / "configs"


def scenario(*overrides: str):  # type: ignore[no-untyped-def]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return scenario_from(compose("config", overrides=list(overrides)))


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "gateway").glob("*.yaml")))
def test_gateway_preset(name: str) -> None:
    gateway = scenario(f"gateway={name}").gateway
    assert gateway.name == name
    assert needs_process(gateway) == (name not in ("plain", "sglang_router"))


def test_several_providers_are_tried_in_the_order_given() -> None:
    names = sorted((path.stem for path in (CONFIGS / "api").glob("*.yaml")), reverse=True)
    apis = scenario(f"api=[{','.join(names)}]").gateway.apis
    assert list(apis) == names
    assert all(api.date and api.source for api in apis.values())
