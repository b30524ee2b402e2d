"""Objects of JSON and mappings of YAML with every key once: of a key that is there twice nobody knows which is meant."""

from __future__ import annotations

from typing import Any

import yaml


class TwiceError(ValueError):
    """A key is there twice."""


def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object that has no key twice (an ``object_pairs_hook``).

    Raises:
        TwiceError: one is.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise TwiceError(_twice([name for name, _ in pairs]))
    return found


def refuse_twice(node: yaml.Node | None) -> None:
    """Nothing where no mapping in a composed YAML document has a key twice.

    Raises:
        TwiceError: one has.
    """
    held = [node]
    seen: set[int] = set()
    while held:
        node = held.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
            if len(set(names)) < len(names):
                raise TwiceError(_twice(names))
            held += [value for _, value in node.value]
        else:
            held += node.value


def _twice(names: list[str]) -> str:
    return f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice"
