"""From plain data to a ``Scenario``: models, pools' presets and price folders read, and what several keys must agree on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.cost.prices import with_folder_prices
from sim.cost.purchase import with_purchase
from sim.errors import ConfigError
from sim.presets.pools import ReadPreset, with_presets_read
from sim.spec import EngineSpec, Scenario, parse_scenario
from sim.spec.half_stated import check_spot_is_whole, with_api_alone
from sim.spec.model import model_to_data


def scenario_from_plain(plain: dict[str, Any], overrides: Sequence[str], read: ReadPreset) -> Scenario:
    """The scenario that ``plain`` data describes. ``model.hf_config`` and ``cost.price_folder`` are read; a ``model.*`` or a
    ``gpu.price.*`` among the ``overrides`` (``key=value``) wins over what they state. ``read`` reads a pool's presets.

    Raises:
        ConfigError: every illegal key at once.
    """
    scenario = parse_scenario(with_models_read(with_presets_read(plain, read), overrides))
    if not any(override.lstrip("+").startswith("gpu.price") for override in overrides):
        scenario = with_purchase(with_folder_prices(scenario))
    for key, engine in _engines(scenario):
        if engine.block_size not in (1, 8) and engine.block_size % 16:
            raise ConfigError(f"{key}.block_size: vLLM has 1, 8 and multiples of 16, but got {engine.block_size}")
    check_spot_is_whole(scenario)
    scenario = with_api_alone(scenario)
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
        plain = {**plain, "model": _read(main, wins)}
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
    return {**part, "model": _read(model, None)}


def _read(model: dict[str, Any], wins: set[str] | None) -> dict[str, Any]:
    from sim.perf import model_from_data  # the readers of checkpoints, which presets do without

    return model_to_data(model_from_data(model, wins=wins))


def _engines(scenario: Scenario) -> list[tuple[str, EngineSpec]]:
    pools = {f"fleet.pools.{name}.engine": pool.engine for name, pool in scenario.fleet.pools.items()}
    return [("engine", scenario.engine), *((key, engine) for key, engine in pools.items() if engine is not None)]
