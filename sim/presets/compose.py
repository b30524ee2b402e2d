"""``scenario``: a configuration of presets and single keys, without Hydra and without its grammar."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import TypeAdapter

from sim.errors import ConfigError
from sim.presets.packaged import packaged_presets
from sim.presets.plain import scenario_from_plain
from sim.presets.read import chosen_by, merged, place_of, preset
from sim.spec import ModelSpec, Scenario
from sim.spec.legal_keys import did_you_mean
from sim.spec.model import model_to_data


def scenario(**groups: Any) -> Scenario:
    """The scenario that the default configuration becomes with ``groups`` changed, as on the command line.

    Args:
        groups: of a group (``model``, ``gpu``, ``engine``, ``fleet``, ``workload``, ``gateway``, ``slo``, ``cost`` ...) the
            name of a preset, a mapping of single keys on top of the default preset (or of the one that its key ``preset``
            names), or a spec object; of any other key (``seed``, ``timeline``, ``output`` ...) its value. Units are in the
            keys' names: seconds, tokens, bytes, US dollars.

    Returns:
        The validated, frozen scenario, which ``sim.simulate``, ``sim.size`` and ``sim.capacity`` take.

    Raises:
        ConfigError: a group, preset or key that does not exist, or every illegal value at once.

    >>> import sim
    >>> mine = sim.scenario(gpu="h100", engine={"max_num_seqs": 64}, slo={"preset": "interactive", "tpot_p95_s": 0.05})
    >>> mine.gpu.name, mine.engine.max_num_seqs, mine.slo.ttft_p95_s, mine.slo.tpot_p95_s
    ('h100', 64, 0.5, 0.05)
    """
    base, chosen = _defaults()
    plain = base
    known = {*packaged_presets(), *(field.name for field in fields(Scenario))}
    for name in groups:
        if name not in known:
            raise ConfigError(f"{name}: no group and no key{did_you_mean(name, sorted(known))}")
    experiment = groups.pop("experiment", None)
    if experiment is not None:
        chosen |= chosen_by("experiment", experiment)
    own: dict[str, Any] = {}
    for name, stated in groups.items():
        if name in packaged_presets() and (stated is None or isinstance(stated, str)):
            chosen[name] = stated
        elif isinstance(stated, dict) and name in packaged_presets():
            chosen[name] = stated.get("preset", chosen.get(name))
            own[name] = {key: value for key, value in stated.items() if key != "preset"}
        else:
            own[name] = _plain(stated)
    for group, choice in chosen.items():
        if choice is not None and not is_dataclass(groups.get(group)):
            plain = merged(plain, _at(place_of(group, choice), preset(group, choice)))
    if experiment is not None:
        plain = merged(plain, {key: value for key, value in preset("experiment", experiment).items() if key != "hydra"})
    stated_keys = [f"{group}.{key}=" for group, keys in own.items() if isinstance(keys, dict) for key in keys]
    return scenario_from_plain(merged(plain, own), stated_keys, lambda group, name, key: preset(group, name))


def preset_names(group: str) -> list[str]:
    """The shipped presets of ``group``, in alphabetical order.

    Raises:
        ConfigError: there is no such group.

    >>> import sim
    >>> sim.preset_names("slo")[:2]
    ['chat', 'interactive']
    """
    groups = packaged_presets()
    if group not in groups:
        raise ConfigError(f"{group}: no group of presets{did_you_mean(group, sorted(groups))}")
    return sorted(groups[group])


@cache
def _text() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((files("sim.configs") / "config.yaml").read_text(encoding="utf-8"))
    return found


def _defaults() -> tuple[dict[str, Any], dict[str, str | None]]:
    """What ``configs/config.yaml`` states itself, and the presets that it chooses."""
    text = _text()
    chosen = {
        group: name
        for part in text["defaults"]
        if isinstance(part, dict)
        for group, name in part.items()
        if group in packaged_presets() and group != "experiment"
    }
    return {key: value for key, value in text.items() if key not in ("defaults", "hydra", "vllm_line")}, chosen


def _at(place: str, data: dict[str, Any]) -> dict[str, Any]:
    """``data`` at the dotted ``place`` of a configuration."""
    for part in reversed(place.split(".") if place else []):
        data = {part: data}
    return data


def _plain(stated: Any) -> Any:
    """A spec object as the data that it is made of."""
    if isinstance(stated, ModelSpec):
        return model_to_data(stated)
    if is_dataclass(stated) and not isinstance(stated, type):
        return TypeAdapter(type(stated)).dump_python(stated, mode="json")
    return stated
