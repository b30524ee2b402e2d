"""Files of a run folder, read back: one that cannot be what it should be is the user's to mend, and is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow

from sim.cli.plain_yaml import read_plain_yaml
from sim.errors import ConfigError


def stored_summary(folder: Path) -> dict[str, Any]:
    """``summary.json``."""
    return _with_key("schema_version", folder / "summary.json")


def stored_cost(folder: Path) -> dict[str, Any]:
    """``cost.json``."""
    return _with_key("children", folder / "cost.json")


def stored_manifest(folder: Path) -> dict[str, Any]:
    """``manifest.json``; empty where a folder has none."""
    path = folder / "manifest.json"
    return _json(_text(path), str(path)) if path.is_file() else {}


def stored_config(folder: Path) -> dict[str, Any]:
    """``config.yaml``."""
    path = folder / "config.yaml"
    found = read_plain_yaml(path)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected a configuration, but got {str(found)[:40]!r}")
    return found


def stored_events(folder: Path) -> list[dict[str, Any]]:
    """``events.jsonl``."""
    path = folder / "events.jsonl"
    return [_json(line, f"{path}, line {n}") for n, line in enumerate(_text(path).splitlines(), 1)]


def stored_frame(path: Path, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """A Parquet file that has ``columns``."""
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise ConfigError(f"{path}: is no Parquet file ({' '.join(str(error).split())})") from None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ConfigError(f"{path}: lacks the columns {', '.join(missing)}")
    return frame


def _with_key(key: str, path: Path) -> dict[str, Any]:
    found = _json(_text(path), str(path))
    if key not in found:
        raise ConfigError(f"{path}: was not written by a run ({key!r} is missing)")
    return found


def _json(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{where}: is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: expected a JSON object, but got {text[:40]!r}")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
