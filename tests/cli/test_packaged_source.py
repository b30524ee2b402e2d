"""Hydra's reader of packaged files and ours read the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra._internal.core_plugins.importlib_resources_config_source import ImportlibResourcesConfigSource
from hydra.plugins.config_source import ConfigLoadError
from omegaconf import OmegaConf

from sim.cli.compose import composed_scenario
from sim.cli.packaged_source import PackagedSource

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("group", sorted(path.name for path in CONFIGS.iterdir() if path.is_dir() and path.name[0] != "_"))
def test_every_preset_is_what_hydras_own_reader_says(group: str) -> None:
    ours = PackagedSource("main", "packaged://sim.configs")
    hydras = ImportlibResourcesConfigSource("main", "pkg://sim.configs")
    for file in sorted((CONFIGS / group).glob("*.yaml")):
        name = f"{group}/{file.stem}"
        found, known = ours.load_config(name), hydras.load_config(name)
        assert OmegaConf.to_container(found.config) == OmegaConf.to_container(known.config), name
        assert (found.header, found.provider) == (known.header, known.provider)
        assert "defaults" not in known.config or ours.load_config(name).config.pop("defaults") is not None
        assert ours.load_config(name).config == known.config, "what a reader takes out is there for the next"


def test_a_file_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigLoadError, match="nowhere"):
        PackagedSource("main", "packaged://sim.configs").load_config("gpu/nowhere")


def test_composing_twice_is_composing_once() -> None:
    assert composed_scenario(["gpu=h100"]) == composed_scenario(["gpu=h100"]) != composed_scenario([])
