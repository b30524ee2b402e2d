"""YAML that others wrote, as plain data: bounded in size, depth and expansion, without tags that name Python.

An alias may repeat its anchor's content inside another anchor: 400 bytes that unfold to gigabytes. So the node graph is
measured before anything is built from it. Every complaint names the file and the line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sim.errors import ConfigError

MAX_BYTES = 4 << 20
MAX_NODES = 200_000
"""After aliases are unfolded; the largest preset has under 200."""
MAX_DEPTH = 40
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp", "merge", "value")
)


def read_plain_yaml(path: Path) -> Any:
    """What the YAML file holds.

    Raises:
        ConfigError: it cannot be read, is no YAML, or is more than plain data of a sane size.
    """
    text = text_of(path)
    plain_nodes(text, str(path))
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that no calendar has
        raise ConfigError(f"{path}: is no YAML ({' '.join(str(error).split())})") from None


def text_of(path: Path) -> str:
    """The text of a file of at most ``MAX_BYTES``."""
    try:
        if not path.is_file():
            raise ConfigError(f"{path}: is no file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES >> 20} MiB, which no configuration is")
    return text


def plain_nodes(text: str, where: str) -> yaml.Node | None:
    """The node graph of ``text`` (None: it is empty), known to be of a sane size and without foreign tags."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: is no YAML ({' '.join(str(error).split())})") from None
    except RecursionError:
        raise ConfigError(f"{where}: is nested deeper than {MAX_DEPTH} levels") from None
    if root is not None and _unfolded(root, where, {}, 0) > MAX_NODES:
        raise ConfigError(f"{where}: its aliases unfold to more than {MAX_NODES:,} values")
    return root


def children_of(node: yaml.Node) -> list[yaml.Node]:
    """Keys and values of a mapping, items of a sequence, nothing of a scalar."""
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def line_of(node: yaml.Node) -> int:
    """The line on which ``node`` begins, from 1."""
    return int(node.start_mark.line) + 1


def _unfolded(node: yaml.Node, where: str, known: dict[int, int | None], depth: int) -> int:
    """How many nodes ``node`` is when every alias is written out. ``known`` holds None for those being counted."""
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise ConfigError(f"{where}, line {line_of(node)}: holds itself")
        return count
    if depth > MAX_DEPTH:
        raise ConfigError(f"{where}, line {line_of(node)}: is nested deeper than {MAX_DEPTH} levels")
    if node.tag not in _TAGS:
        raise ConfigError(f"{where}, line {line_of(node)}: the tag {node.tag!r} is no plain data")
    known[id(node)] = None
    count = 1 + sum(_unfolded(child, where, known, depth + 1) for child in children_of(node))
    known[id(node)] = count
    return count
