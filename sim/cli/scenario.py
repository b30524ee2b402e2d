"""From the composed configuration to a ``Scenario``: the last place that knows OmegaConf."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sim.cli.environment import version
from sim.cli.hydra_errors import message_of
from sim.cli.lines import with_line
from sim.cli.pool_presets import with_presets_read
from sim.cost.prices import with_folder_prices
from sim.cost.purchase import with_purchase
from sim.errors import ConfigError
from sim.perf import model_from_data
from sim.spec import EngineSpec, Scenario, parse_scenario, scenario_to_dict
from sim.spec.half_stated import check_spot_is_whole
from sim.spec.model import model_to_data
from sim.spec.spot import SpotTrace
from sim.workload.load import input_files


def scenario_from(config: DictConfig, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario that ``config`` describes. ``model.hf_config`` and ``cost.price_folder`` are read; a ``model.*`` or a
    ``gpu.price.*`` among the ``overrides`` wins over what they state.

    Raises:
        ConfigError: every illegal key at once.
    """
    try:
        data = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(message_of(error)) from None
    assert isinstance(data, dict), "the root of a Hydra configuration is a mapping"
    plain: dict[str, Any] = {str(key): value for key, value in data.items()}
    scenario = parse_scenario(with_models_read(with_presets_read(with_line(plain, overrides)), overrides))
    if not any(override.lstrip("+").startswith("gpu.price") for override in overrides):
        scenario = with_purchase(with_folder_prices(scenario))
    for key, engine in _engines(scenario):
        if engine.block_size not in (1, 8) and engine.block_size % 16:
            raise ConfigError(f"{key}.block_size: vLLM has 1, 8 and multiples of 16, but got {engine.block_size}")
    check_spot_is_whole(scenario)
    longest = scenario.model.max_context
    if (scenario.engine.max_model_len or 0) > longest:
        raise ConfigError(
            f"engine.max_model_len: {scenario.model.name} was made for at most {longest} tokens (model.max_context), "
            f"but got {scenario.engine.max_model_len}"
        )
    return scenario


def with_models_read(plain: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """``plain`` with the file or facts of every ``hf_config`` read: of the scenario's model, its pools' and its timeline's.

    What a command line states of the model wins over its file; what a preset states beside facts of its own does, too.
    """
    stated = {
        override.lstrip("+").partition("=")[0].removeprefix("model.") for override in overrides if "model." in override
    }
    main = plain.get("model")
    if isinstance(main, dict) and main.get("hf_config") is not None:
        wins = stated if isinstance(main["hf_config"], str) else None
        plain = {**plain, "model": model_to_data(model_from_data(main, wins=wins))}
    fleet, timeline = plain.get("fleet"), plain.get("timeline")
    if isinstance(fleet, dict) and isinstance(fleet.get("pools"), dict):
        pools = {name: _with_own_model(pool) for name, pool in fleet["pools"].items()}
        plain = {**plain, "fleet": {**fleet, "pools": pools}}
    if isinstance(timeline, list):
        plain = {**plain, "timeline": [_with_own_model(change) for change in timeline]}
    return plain


def _with_own_model(part: Any) -> Any:
    model = part.get("model") if isinstance(part, dict) else None
    if not isinstance(model, dict) or model.get("hf_config") is None:
        return part
    return {**part, "model": model_to_data(model_from_data(model))}


def _engines(scenario: Scenario) -> list[tuple[str, EngineSpec]]:
    pools = {f"fleet.pools.{name}.engine": pool.engine for name, pool in scenario.fleet.pools.items()}
    return [("engine", scenario.engine), *((key, engine) for key, engine in pools.items() if engine is not None)]


def digest_of(scenario: Scenario) -> str:
    """A hash of everything a job's result depends on: the configuration, the content of its inputs, the version."""
    parts = json.dumps(scenario_to_dict(scenario), sort_keys=True)
    digest = hashlib.sha256(f"{version()}\n{parts}".encode())
    for path in [*input_files(scenario.workload), *recorded_inputs(scenario)]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def recorded_inputs(scenario: Scenario) -> list[Path]:
    """The files that a run reads besides its trace: step-time tables, spot recordings."""
    spots = [scenario.spot, *(pool.spot for pool in scenario.fleet.all_pools().values() if pool.spot)]
    recordings = [path for spot in spots if isinstance(spot.hazard, SpotTrace) for path in spot.hazard.paths.values()]
    named = [Path(path) for path in (scenario.engine.step_time_file, *recordings) if path]
    return [path for path in named if path.is_file()]
