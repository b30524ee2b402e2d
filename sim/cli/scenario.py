"""From the composed configuration to a ``Scenario``: the last place that knows OmegaConf."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sim.cli.environment import version
from sim.cli.hydra_errors import message_of
from sim.errors import ConfigError
from sim.presets.packaged import packaged_presets
from sim.presets.plain import scenario_from_plain
from sim.spec import Scenario, scenario_to_dict
from sim.spec.spot import SpotTrace


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
    line = plain.pop("vllm_line", None)
    if line is not None:
        from sim.cli.lines import with_line  # tables of servers' options, which nobody else needs

        plain = with_line(plain, str(line), overrides)
    return scenario_from_plain(plain, overrides, _preset)


def _preset(group: str, name: str, key: str) -> dict[str, Any]:
    """A preset that a pool names, also one of the user's own folders, as Hydra composes it."""
    try:
        if not GlobalHydra.instance().is_initialized():
            raise HydraException("nothing is composed here")
        found: Any = OmegaConf.to_container(compose("config", overrides=[f"{group}={name}"])[group], resolve=False)
    except HydraException:
        known = ", ".join(sorted(packaged_presets().get(group, ())))
        raise ConfigError(f"{key}: there is no preset {name!r} of group {group}; there are {known}") from None
    return dict(found)


def digest_of(scenario: Scenario) -> str:
    """A hash of everything a job's result depends on: the configuration, the content of its inputs, the version."""
    from sim.workload.load import input_files  # readers of every format, which verbs that only compute do without

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
