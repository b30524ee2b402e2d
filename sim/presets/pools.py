"""Presets named inside pools and changes: ``fleet.pools.large.gpu: h100`` means what ``gpu=h100`` means outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_GROUPS = ("model", "gpu", "engine", "autoscaler", "spot")

ReadPreset = Callable[[str, str, str], dict[str, Any]]
"""Group, name and the key that names it -> the preset's data; raises ``ConfigError`` where there is none."""


def with_presets_read(plain: Mapping[str, Any], read: ReadPreset) -> dict[str, Any]:
    """``plain`` with every preset's name in a pool or a change of the timeline replaced by the preset.

    Raises:
        ConfigError: there is no such preset; the key, and those there are.
    """
    out = dict(plain)
    fleet, timeline = out.get("fleet"), out.get("timeline")
    if isinstance(fleet, dict) and isinstance(fleet.get("pools"), dict):
        pools = {name: _read(pool, f"fleet.pools.{name}", read) for name, pool in fleet["pools"].items()}
        out["fleet"] = {**fleet, "pools": pools}
    if isinstance(timeline, list):
        out["timeline"] = [_read(change, f"timeline.{place}", read) for place, change in enumerate(timeline)]
    return out


def _read(part: Any, key: str, read: ReadPreset) -> Any:
    if not isinstance(part, dict):
        return part
    named = {group: part[group] for group in _GROUPS if isinstance(part.get(group), str)}
    return {**part, **{group: read(group, name, f"{key}.{group}") for group, name in named.items()}}
