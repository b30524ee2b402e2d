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

from sim.perf import model_from_hf_config
from sim.spec import Scenario, parse_scenario, scenario_to_dict


def scenario_from(config: DictConfig, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario that ``config`` describes. ``model.hf_config`` is read; a ``model.weight_dtype`` among the
    ``overrides`` wins over the one it states.

    Raises:
        ConfigError: every illegal key at once.
    """
    data = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(data, dict), "the root of a Hydra configuration is a mapping"
    plain: dict[str, Any] = {str(key): value for key, value in data.items()}
    scenario = parse_scenario(plain)
    if scenario.model.hf_config is None:
        return scenario
    model = model_from_hf_config(scenario.model.hf_config)
    if any(override.lstrip("+").startswith("model.weight_dtype=") for override in overrides):
        model = replace(model, weight_dtype=scenario.model.weight_dtype)
    return replace(scenario, model=model)


def digest_of(scenario: Scenario) -> str:
    """A hash of everything a job's result depends on: the configuration, the content of its inputs, the version."""
    parts = json.dumps(scenario_to_dict(scenario), sort_keys=True)
    digest = hashlib.sha256(f"{metadata.version('servecap')}\n{parts}".encode())
    if scenario.workload.path is not None and Path(scenario.workload.path).is_file():
        with Path(scenario.workload.path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
