"""Presets named inside pools and changes: ``fleet.pools.large.gpu: h100`` means what ``gpu=h100`` means outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf

from sim.cli.packaged import packaged_presets
from sim.errors import ConfigError

_GROUPS = ("model", "gpu", "engine", "autoscaler", "spot")


def with_presets_read(plain: Mapping[str, Any]) -> dict[str, Any]:
    """``plain`` with every preset's name in a pool or a change of the timeline replaced by the preset.

    Raises:
        ConfigError: there is no such preset; the key, and those there are.
    """
    out = dict(plain)
    fleet, timeline = out.get("fleet"), out.get("timeline")
    if isinstance(fleet, dict) and isinstance(fleet.get("pools"), dict):
        pools = {name: _read(pool, f"fleet.pools.{name}") for name, pool in fleet["pools"].items()}
        out["fleet"] = {**fleet, "pools": pools}
    if isinstance(timeline, list):
        out["timeline"] = [_read(change, f"timeline.{place}") for place, change in enumerate(timeline)]
    return out


def _read(part: Any, key: str) -> Any:
    if not isinstance(part, dict):
        return part
    named = {group: part[group] for group in _GROUPS if isinstance(part.get(group), str)}
    return {**part, **{group: _preset(group, name, f"{key}.{group}") for group, name in named.items()}}


def _preset(group: str, name: str, key: str) -> dict[str, Any]:
    try:
        return _composed(group, name)
    except HydraException:
        known = ", ".join(sorted(packaged_presets().get(group, ())))
        raise ConfigError(f"{key}: there is no preset {name!r} of group {group}; there are {known}") from None


def _composed(group: str, name: str) -> dict[str, Any]:
    if not GlobalHydra.instance().is_initialized():
        raise HydraException("nothing is composed here")
    found: Any = OmegaConf.to_container(compose("config", overrides=[f"{group}={name}"])[group], resolve=False)
    return dict(found)
