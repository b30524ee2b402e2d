"""The configuration as JSON Schema (2020-12), for editors: what a preset or experiment file may hold, told while one writes.

Pydantic's schema of the spec classes, with every key's description, unit and source as ``sim.spec.keys`` tells them, and
without required keys: a file states what it changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sim.spec.keys import own_keys
from sim.spec.legal_keys import did_you_mean, types_at
from sim.spec.scenario import Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFAULTS = {"type": "array", "description": "Presets that this file begins with, e.g. [l40s]; Hydra's defaults list."}
_HF_CONFIG = {"type": ["string", "object"], "description": "A Hugging Face config.json, or its facts, read instead."}


def json_schema(group: str = "") -> dict[str, Any]:
    """The schema of a preset of ``group`` (``gpu``, ``engine`` ...); empty: of an experiment, which holds several groups.

    Raises:
        ValueError: there is no such group.
    """
    owners = types_at(Scenario, [group] if group else [])
    if not owners:
        groups = sorted(name for name in TypeAdapter(Scenario).json_schema()["properties"])
        raise ValueError(f"{group}: no group of keys{did_you_mean(group, groups)}")
    schemas = [TypeAdapter(owner).json_schema() for owner in owners]
    definitions: dict[str, Any] = {}
    for schema in schemas:
        definitions |= schema.pop("$defs", {})
    root: dict[str, Any] = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    classes = {owner.__name__: owner for owner in _classes(Scenario)}
    for name, definition in definitions.items():
        _tell(definition, classes.get(name))
    for owner, schema in zip(owners, schemas, strict=True):
        _tell(schema, owner)
        schema.get("properties", {})["defaults"] = _DEFAULTS
        if group == "model":
            schema["properties"]["hf_config"] = _HF_CONFIG
    return {"$schema": DIALECT, "title": f"servecap {group or 'configuration'}", **root, "$defs": definitions}


def _tell(schema: dict[str, Any], owner: type | None) -> None:
    """Descriptions, units and sources of the keys of ``owner``; none of them is required."""
    schema.pop("required", None)
    if owner is None:
        return
    properties = schema.get("properties", {})
    reader: TypeAdapter[Any] = TypeAdapter(owner)
    for key in own_keys(owner):
        if key.key not in properties:
            continue
        told = {"description": f"{key.description} [{key.unit}; {key.legal}] Source: {key.source}"}
        rest = {name: value for name, value in properties[key.key].items() if name not in ("title", "description")}
        if _takes_null(reader, key.key) and "null" not in str(rest):
            rest = {"anyOf": [rest, {"type": "null"}]}
        properties[key.key] = told | _any_of(rest)


def _any_of(schema: Any) -> Any:
    """Kinds are told apart by what they hold, where their default is left out: no one-of."""
    if isinstance(schema, dict):
        kept = {name: _any_of(value) for name, value in schema.items() if name != "discriminator"}
        return {("anyOf" if name == "oneOf" else name): value for name, value in kept.items()}
    return [_any_of(one) for one in schema] if isinstance(schema, list) else schema


def _takes_null(reader: TypeAdapter[Any], name: str) -> bool:
    """Whether a validator of the class's own reads null as what it is without the key."""
    try:
        reader.validate_python({name: None})
    except ValidationError as error:
        return all(item["loc"][:1] != (name,) for item in error.errors())
    return True


def _classes(root: type) -> Iterator[type]:
    """``root`` and every spec class below it."""
    seen, queue = {root}, [root]
    while queue:
        owner = queue.pop()
        yield owner
        for name in owner.__pydantic_fields__:  # type: ignore[attr-defined]
            below = [*types_at(owner, [name]), *types_at(owner, [name, "NAME"])]
            queue += [one for one in dict.fromkeys(below) if one not in seen]
            seen |= set(below)
