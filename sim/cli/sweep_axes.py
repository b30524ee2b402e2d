"""How a sweeper of ours begins: its configuration stands in the sweep's folder, what was stated is parsed, and the words are
checked."""

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


def telling_jobs(grid: Sequence[Sequence[str]], context: HydraContext) -> list[Sequence[str]]:
    """Jobs of ``grid`` that hold each key and each preset at least once: what can be wrong with the words of a sweep shows
    in these, and composing 500 jobs takes minutes."""
    seen: set[str] = set()
    telling = []
    for job in grid:
        words = {_word(override, context) for override in job}
        if not words <= seen:
            seen |= words
            telling.append(job)
    return telling


def _word(override: str, context: HydraContext) -> str:
    """The whole override where it chooses a preset, else its key."""
    key = override.partition("=")[0]
    group = key.lstrip("+~").partition("@")[0]
    return override if context.config_loader.get_group_options(group) else key
