"""How a sweeper of ours begins: its configuration stands in the sweep's folder, and what was stated is parsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf


def stated_overrides(
    config: DictConfig, hydra_context: HydraContext, params: Mapping[str, str], arguments: Sequence[str]
) -> list[Override]:
    """``params`` of the configuration, then ``arguments`` of the command line; ``multirun.yaml`` is written first."""
    folder = Path(config.hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "multirun.yaml")
    parser = OverridesParser.create(config_loader=hydra_context.config_loader)
    return parser.parse_overrides([*(f"{key}={axis}" for key, axis in params.items()), *arguments])
