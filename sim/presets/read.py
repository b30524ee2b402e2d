"""One shipped preset as data: ``configs/GROUP/NAME.yaml`` on top of those that it names in ``defaults``."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from sim.errors import ConfigError
from sim.perf import model_from_data
from sim.presets.packaged import packaged_presets
from sim.spec import GpuPrice, GpuSpec, ModelSpec
from sim.spec.legal_keys import did_you_mean

_PACKAGE = re.compile(r"# @package (\S+)")


def preset(group: str, name: str) -> dict[str, Any]:
    """The data of ``configs/GROUP/NAME.yaml``, whole.

    Raises:
        ConfigError: there is no such preset; the message names the nearest.
    """
    found: dict[str, Any] = {}
    for part in _defaults(group, name):
        if isinstance(part, str) and part != "_self_":
            found = merged(found, preset(group, part))
    return merged(found, {key: value for key, value in _text(group, name)[1].items() if key != "defaults"})


def chosen_by(group: str, name: str) -> dict[str, str]:
    """The presets of other groups that a preset chooses (``override /api: gpt_4o`` in its ``defaults``)."""
    found: dict[str, str] = {}
    for part in _defaults(group, name):
        if isinstance(part, str) and part != "_self_":
            found |= chosen_by(group, part)
        elif isinstance(part, dict):
            choices = {key.removeprefix("override ").strip().lstrip("/"): value for key, value in part.items()}
            found |= {key: value for key, value in choices.items() if key in packaged_presets()}  # Hydra's own stay out
    return found


def place_of(group: str, name: str) -> str:
    """Where the preset's data belongs in a configuration: its group, or what its first line says; empty = the top."""
    stated = _PACKAGE.match(_text(group, name)[0])
    return group if stated is None else "" if stated[1] == "_global_" else stated[1]


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``above`` laid over ``below``, mappings key by key; one that states another ``kind`` replaces what is below."""
    found = dict(below)
    for key, value in above.items():
        under = found.get(key)
        if isinstance(value, dict) and isinstance(under, dict) and value.get("kind") in (None, under.get("kind")):
            found[key] = merged(under, value)
        else:
            found[key] = value
    return found


@cache
def preset_model(name: str) -> ModelSpec:
    """The shipped model preset ``name``."""
    return model_from_data(preset("model", name))


@cache
def preset_gpu(name: str) -> GpuSpec:
    """The shipped GPU preset ``name``."""
    data = preset("gpu", name)
    return GpuSpec(**{**data, "price": GpuPrice(**data["price"])})


def _defaults(group: str, name: str) -> list[Any]:
    found: list[Any] = _text(group, name)[1].get("defaults", [])
    return found


@cache
def _text(group: str, name: str) -> tuple[str, dict[str, Any]]:
    known = packaged_presets().get(group)
    if known is None:
        groups = sorted(packaged_presets())
        raise ConfigError(f"{group}: no group of presets{did_you_mean(group, groups)} There are {', '.join(groups)}")
    if name not in known:
        legal = sorted(known)
        raise ConfigError(f"{group}: no preset {name!r}{did_you_mean(name, legal)} Legal: {', '.join(legal)}")
    text = (files("sim.configs") / group / f"{name}.yaml").read_text(encoding="utf-8")
    return text, yaml.safe_load(text) or {}
