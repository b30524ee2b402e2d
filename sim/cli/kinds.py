"""Values with a ``kind`` (a hazard, a router, users): stated whole on the command line, they replace what stands there.

Hydra would merge ``gateway.users={kind: closed, users: 50}`` into the keys of the default kind, which are others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

_WHOLE = re.compile(r"([A-Za-z_][\w.]*)=\{.*\bkind\s*:", re.DOTALL)
_CHOICE = re.compile(r"\w+=\w+")


def with_kinds_replaced(overrides: Sequence[str]) -> list[str]:
    """``overrides`` with each ``key={kind: ...}`` as Hydra's ``+key={kind: ...}``, after ``~key`` where there is a value."""
    stated = {override: whole.group(1) for override in overrides if (whole := _WHOLE.match(override))}
    if not stated:
        return list(overrides)
    try:
        with initialize_config_module("sim.configs", version_base="1.3"):
            config = compose("config", overrides=[override for override in overrides if _CHOICE.fullmatch(override)])
    except HydraException:
        return list(overrides)  # Hydra says what is wrong when it composes the whole
    found: list[str] = []
    for override in overrides:
        key = stated.get(override)
        found += [override] if key is None else [f"~{key}", f"+{override}"] if _has(config, key) else [f"++{override}"]
    return found


def _has(config: DictConfig, key: str) -> bool:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return isinstance(node, DictConfig) and node.get(name) is not None
