"""Hydra's and OmegaConf's complaints as one message: which key, what was found, what is legal."""

from __future__ import annotations

import difflib
import re

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

_FULL_KEY = re.compile(r"full_key: (\S+)")


def message_of(error: Exception) -> str:
    """One message for ``error``, without a traceback; names the nearest legal keys where a key is unknown."""
    if isinstance(error, OverrideParseException):
        return f"{error.override}: expected key=value or one of the verbs; {error.message.splitlines()[0]}"
    cause = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = "\n".join(lines)
    if cause is not None and str(cause) and str(cause) not in text:
        text += "\n" + "\n".join(line.strip() for line in str(cause).splitlines() if line.strip())
    full_key = _FULL_KEY.search(text)
    if full_key and "not in struct" in text:
        return f"{full_key.group(1)}: no such key{_legal(full_key.group(1))}"
    return text


def _legal(key: str) -> str:
    """The legal keys beside ``key``, nearest first."""
    parent, _, name = key.rpartition(".")
    siblings = _default_keys(parent)
    if not siblings:
        return ""
    near = difflib.get_close_matches(name, siblings, n=3)
    did_you_mean = f"; did you mean {' or '.join(near)}?" if near else ""
    where = parent or "the top level"
    whole = f"; another kind is stated whole: '{parent}={{kind: ..., {name}: ...}}'" if "kind" in siblings else ""
    return f"{did_you_mean} Legal in {where}: {', '.join(sorted(siblings))}{whole}"


def _default_keys(parent: str) -> list[str]:
    GlobalHydra.instance().clear()
    with initialize_config_module("sim.configs", version_base="1.3"):
        node = compose("config")
    found = OmegaConf.select(node, parent) if parent else node
    return [str(key) for key in found] if isinstance(found, DictConfig) else []
