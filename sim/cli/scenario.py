"""From the composed configuration to a ``Scenario``: the last place that knows OmegaConf."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sim.cli.hydra_errors import message_of
from sim.cost.prices import with_folder_prices
from sim.errors import ConfigError
from sim.perf import model_from_hf_config
from sim.spec import Scenario, parse_scenario, scenario_to_dict
from sim.spec.spot import SpotTrace


def scenario_from(config: DictConfig, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario that ``config`` describes. ``model.hf_config`` and ``cost.price_folder`` are read; a
    ``model.weight_dtype`` or a ``gpu.price.*`` among the ``overrides`` wins over what they state.

    Raises:
        ConfigError: every illegal key at once.
    """
    try:
        data = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(message_of(error)) from None
    assert isinstance(data, dict), "the root of a Hydra configuration is a mapping"
    plain: dict[str, Any] = {str(key): value for key, value in data.items()}
    scenario = parse_scenario(plain)
    if not any(override.lstrip("+").startswith("gpu.price") for override in overrides):
        scenario = with_folder_prices(scenario)
    if scenario.model.hf_config is not None:
        model = model_from_hf_config(scenario.model.hf_config)
        if any(override.lstrip("+").startswith("model.weight_dtype=") for override in overrides):
            model = replace(model, weight_dtype=scenario.model.weight_dtype)
        scenario = replace(scenario, model=model)
    longest = scenario.model.max_context
    if (scenario.engine.max_model_len or 0) > longest:
        raise ConfigError(
            f"engine.max_model_len: {scenario.model.name} was made for at most {longest} tokens (model.max_context), "
            f"but got {scenario.engine.max_model_len}"
        )
    return scenario


def digest_of(scenario: Scenario) -> str:
    """A hash of everything a job's result depends on: the configuration, the content of its inputs, the version."""
    parts = json.dumps(scenario_to_dict(scenario), sort_keys=True)
    digest = hashlib.sha256(f"{metadata.version('servecap')}\n{parts}".encode())
    for path in _input_files(scenario):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _input_files(scenario: Scenario) -> list[Path]:
    """The files that a run reads: trace (or the folder's files), step-time tables, spot recordings."""
    spots = [scenario.spot, *(pool.spot for pool in scenario.fleet.all_pools().values() if pool.spot)]
    recordings = [path for spot in spots if isinstance(spot.hazard, SpotTrace) for path in spot.hazard.paths.values()]
    named = [Path(path) for path in (scenario.workload.path, scenario.engine.step_time_file, *recordings) if path]
    files = [found for path in named for found in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return [path for path in files if path.is_file()]
