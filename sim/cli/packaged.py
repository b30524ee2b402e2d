"""The groups and presets that ship with the program."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def packaged_presets() -> dict[str, frozenset[str]]:
    """Group -> the names of its presets, e.g. ``gpu`` -> ``{l40s, h100, ...}``."""
    return {
        group.name: frozenset(file.name.removesuffix(".yaml") for file in group.iterdir() if file.name.endswith(".yaml"))
        for group in resources.files("sim.configs").iterdir()
        if group.is_dir() and not group.name.startswith("_")
    }
