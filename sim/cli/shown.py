"""How a command tells its end: tables for people or one JSON object, with progress or without, into which folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sim.errors import ConfigError

SHOWN_FLAGS = frozenset({"--json", "--quiet", "-q", "--out"})
"""Of every verb that is a Hydra application."""


@dataclass(frozen=True)
class Shown:
    """What the flags of ``SHOWN_FLAGS`` say."""

    json: bool = False
    """One JSON object on standard output, nothing else there."""
    quiet: bool = False
    """No progress."""
    out: str | None = None
    """The folder of the run or sweep; None: one made from date and time."""


def shown_apart(arguments: Sequence[str]) -> tuple[list[str], Shown]:
    """``arguments`` without these flags, and what they say.

    Raises:
        ConfigError: ``--out`` without a folder.
    """
    kept: list[str] = []
    json, quiet, out = False, False, None
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if word == "--json":
            json = True
        elif word in ("--quiet", "-q"):
            quiet = True
        elif flag == "--out":
            if not equals and (not rest or rest[0].startswith("-") or "=" in rest[0]):
                raise ConfigError("--out: expected a folder, e.g. --out results/h100")
            out = value if equals else rest.pop(0)
            if not out:
                raise ConfigError("--out: expected a folder, e.g. --out results/h100")
        else:
            kept.append(word)
    return kept, Shown(json, quiet, out)


def folder_override(out: str, *, multirun: bool) -> str:
    """What puts the results into the folder ``out``."""
    escaped = out.replace("\\", "\\\\").replace("'", "\\'")
    return f"hydra.{'sweep' if multirun else 'run'}.dir='{escaped}'"
