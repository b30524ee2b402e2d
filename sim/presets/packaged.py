"""The groups and presets that ship with the program, and what they state."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any

_UNSTATED = object()


@cache
def packaged_presets() -> dict[str, frozenset[str]]:
    """Group -> the names of its presets, e.g. ``gpu`` -> ``{l40s, h100, ...}``."""
    return {
        group.name: frozenset(file.name.removesuffix(".yaml") for file in group.iterdir() if file.name.endswith(".yaml"))
        for group in resources.files("sim.configs").iterdir()
        if group.is_dir() and not group.name.startswith("_")
    }


def stated_by_presets(key: str) -> dict[str, list[str]]:
    """Value, with the comment beside it -> the shipped presets of the key's group that state it so themselves."""
    import yaml

    group, *path = key.split(".")

    found: dict[str, list[str]] = {}
    for preset in sorted(packaged_presets().get(group, ())) if path else ():
        text = (resources.files("sim.configs") / group / f"{preset}.yaml").read_text(encoding="utf-8")
        value: Any = yaml.safe_load(text)
        for part in path:
            value = value.get(part, _UNSTATED) if isinstance(value, dict) else _UNSTATED
        if value is not _UNSTATED and not isinstance(value, dict | list):
            beside = re.search(rf"^\s*{path[-1]}:[^#\n]*#\s*(.*)$", text, re.MULTILINE)
            shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            found.setdefault(f"{shown} ({beside[1]})" if beside else shown, []).append(preset)
    return found
