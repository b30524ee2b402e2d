"""Files of a run folder, read back: one that cannot be what it should be is the user's to mend, and is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from sim.analysis import CostNode
from sim.cli.plain_yaml import read_plain_yaml
from sim.errors import ConfigError, reading
from sim.spec import Scenario, parse_scenario

MAX_BYTES = 64 << 20
"""Of a JSON file; the largest that a run writes (events of a week) has a tenth."""
MAX_LINE = 1 << 20
"""Characters of one event."""

_Number = Annotated[float, Field(allow_inf_nan=False)] | None
_Numbers = dict[str, _Number]


@with_config(ConfigDict(extra="allow", strict=True))
class _Slo(TypedDict):
    verdict: str
    missed_by: str | None
    targets: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]
    attained: _Numbers


@with_config(ConfigDict(extra="allow", strict=True))
class _Cost(TypedDict):
    window: dict[str, Any]


@with_config(ConfigDict(extra="allow", strict=True))
class _Summary(TypedDict):
    """Of ``summary.json`` what tables and pages read by name."""

    schema_version: int
    requests: dict[str, int]
    latency: dict[str, _Numbers]
    throughput: _Numbers
    goodput: _Numbers
    utilisation: _Numbers
    slo: _Slo
    cost: _Cost
    simulation: _Numbers


@with_config(ConfigDict(extra="forbid", strict=True))
class _Node(TypedDict):
    name: str
    usd: Annotated[float, Field(allow_inf_nan=False)]
    children: list[_Node]


def stored_summary(folder: Path) -> dict[str, Any]:
    """``summary.json``."""
    path = folder / "summary.json"
    found = _with_key("schema_version", path)
    checked(_Summary, found, path)
    return found


def stored_cost(folder: Path) -> CostNode:
    """The tree that ``cost.json`` holds."""
    path = folder / "cost.json"
    return _node(checked(_Node, _with_key("children", path), path))


def stored_scenario(folder: Path) -> Scenario:
    """``config.yaml``."""
    path = folder / "config.yaml"
    found = read_plain_yaml(path)
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected a configuration, but got {str(found)[:40]!r}")
    try:
        with reading(path, "a configuration"):
            return parse_scenario(found)
    except ConfigError as error:
        raise error if str(path) in str(error) else ConfigError(f"{path}: {error}") from None


def stored_manifest(folder: Path) -> dict[str, Any]:
    """``manifest.json``; empty where a folder has none."""
    path = folder / "manifest.json"
    return json_object(text_of(path), str(path)) if path.is_file() else {}


def stored_events(folder: Path) -> list[dict[str, Any]]:
    """``events.jsonl``."""
    path = folder / "events.jsonl"
    lines = text_of(path).splitlines()
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise ConfigError(f"{path}, line {number}: is longer than {MAX_LINE:,} characters, which no event is")
    return [json_object(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]


def stored_frame(path: Path, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """A Parquet file that has ``columns``."""
    with reading(path, "a Parquet file"):
        frame = pd.read_parquet(path)
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ConfigError(f"{path}: lacks the columns {', '.join(missing)}")
    return frame


def checked(kind: Any, data: Any, path: Path) -> Any:
    """``data`` as ``kind`` (a typed dictionary or a dataclass).

    Raises:
        ConfigError: it is not; the first key that is wrong, and what was found there.
    """
    try:
        with reading(path, "what a run writes"):
            return TypeAdapter(kind).validate_python(data)
    except ConfigError as error:
        cause = error.__cause__
        if not isinstance(cause, ValidationError):
            raise
        first = cause.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {key}: {first['msg']}, but got {str(first['input'])[:60]!r}") from None


def json_object(text: str, where: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: expected a JSON object, but got {text[:40]!r}")
    return found


def text_of(path: Path) -> str:
    """The text of a file of at most ``MAX_BYTES``."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{path}: is larger than {MAX_BYTES >> 20} MiB, which no run writes")
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None


def _with_key(key: str, path: Path) -> dict[str, Any]:
    found = json_object(text_of(path), str(path))
    if key not in found:
        raise ConfigError(f"{path}: was not written by a run ({key!r} is missing)")
    return found


def _node(data: _Node) -> CostNode:
    return CostNode(data["name"], data["usd"], tuple(_node(child) for child in data["children"]))
