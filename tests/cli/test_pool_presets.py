"""Presets named inside pools and changes, by every way to a scenario."""

from __future__ import annotations

import pytest

from sim.cli.compose import composed_scenario
from sim.errors import ConfigError


def test_a_pool_names_its_presets_as_the_command_line_does() -> None:
    pool = "{replicas: 1, gpu: h100, model: llama3_70b, autoscaler: keda, spot: aws, engine: sglang}"
    scenario = composed_scenario([f"+fleet.pools={{big: {pool}}}"])
    alone = composed_scenario(["gpu=h100", "model=llama3_70b", "autoscaler=keda", "spot=aws", "engine=sglang"])
    big = scenario.fleet.pools["big"]
    assert (big.gpu, big.model, big.engine) == (alone.gpu, alone.model, alone.engine)
    assert (big.autoscaler, big.spot) == (alone.autoscaler, alone.spot)


def test_a_change_names_its_presets_too() -> None:
    scenario = composed_scenario(["timeline=[{kind: deploy, at_s: 10, model: qwen3_8b}]"])
    assert scenario.timeline[0].model == composed_scenario(["model=qwen3_8b"]).model  # type: ignore[union-attr]


def test_a_name_that_is_no_preset_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"fleet\.pools\.big\.gpu: there is no preset 'h1000' of group gpu; .*h100"):
        composed_scenario(["+fleet.pools={big: {gpu: h1000}}"])
