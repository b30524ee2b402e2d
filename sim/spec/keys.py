"""Every configuration key, told by the spec classes themselves: what it means, its unit, default, legal range and source.

Descriptions are the attributes' docstrings (a base class's where a class adds none), legal ranges the constraints of their
types, units the endings of their names. A class is told where it stands nearest to the top; elsewhere its keys are the same
and one line points there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sim.spec.attribute_docstrings import attribute_docstrings
from sim.spec.key_units import flat, unit_of
from sim.spec.legal_keys import kind_of, members, types_at, unknown_key

_NAMED = re.compile(
    r"assum|probe|kube-|preset|servecap's own|\([a-z]+_[a-z_]+\)"
    r"|default|measured|usual|reported|publish|fitted|datasheet|\boption\b|the release's|\(``|\(--|[a-z][A-Z]\w+``"
    r"|[A-Z]_[A-Z]"
    r"|vLLM|SGLang|TGI|Envoy|gRPC|LiteLLM|Kubernetes|Knative|KEDA|llm-d|AWS|OpenAI|nginx|Resilience4j|Prometheus|Dynamo"
)
"""What marks the sentences of a description that say where a number comes from: a word of origin or a system's name."""
_NAMED_FOR_ALL = re.compile(
    r"\bdefaults?\b|datasheet|specification|\(\w+/\w+ "
    r"|SGLang|TGI|Envoy|gRPC|LiteLLM|Kubernetes|Knative|KEDA|llm-d|botocore|nginx|Dynamo|vLLM|as clouds"
)
"""Likewise in a class's docstring, for its keys that say nothing themselves."""
STATED = "no default: the chosen preset or the user states it"
"""The source of a key that must be stated."""
OWN_CHOICE = "servecap's own choice"
"""The source of a default that adds something and of which no docstring says where it is from."""


@dataclass(frozen=True)
class Key:
    """One configuration key. ``kinds``: of what holds it, those that have it so; empty = all."""

    key: str
    kinds: tuple[str, ...]
    type: str
    unit: str
    default: Any
    required: bool
    legal: str
    description: str
    source: str
    declared: str
    """Where the code states it: ``sim.spec.engine:EngineSpec``."""


def all_keys(root: type) -> list[Key]:
    """The keys of ``root`` and of everything below it, in the classes' order; NAME and N stand for names and places."""
    homes = _homes(root)
    return list(_at([root], "", homes))


def keys_told(root: type, key: str) -> tuple[list[Key], list[type]]:
    """What the dotted ``key`` may be (one entry for each kind that has it differently), and the classes its value may have.

    Raises:
        ValueError: there is no such key; the message names the nearest.
    """
    path = key.split(".")
    owners = [owner for owner in types_at(root, path[:-1]) if path[-1] in _fields_of(owner)]
    told = _merged(_key(owner, path[-1], key, {}) for owner in owners)
    below = types_at(root, path)
    if not told and not below:
        raise ValueError(unknown_key(root, path))
    return told, below


def own_keys(owner: type, place: str = "") -> list[Key]:
    """The keys of one class, ``kind`` apart."""
    return [_key(owner, name, f"{place}.{name}" if place else name, {}) for name in _fields_of(owner) if name != "kind"]


def summary_of(owner: type) -> str:
    """What a class is: its docstring on one line."""
    return _one_line(owner.__doc__ or "")


def _at(owners: Sequence[type], place: str, homes: dict[type, str]) -> Iterator[Key]:
    """The keys at ``place``, whose value is one of ``owners``."""
    here = [(owner, name) for owner in owners for name in _fields_of(owner)]
    rows = _merged(_key(owner, name, f"{place}.{name}" if place else name, homes) for owner, name in here if name != "kind")
    if any(name == "kind" for _, name in here):
        yield _kind_key(owners, place)
    below: dict[str, list[type]] = {}
    for owner, name in here:
        for suffix, deeper in _nested(_fields_of(owner)[name].annotation):
            where = f"{place}.{name}{suffix}" if place else f"{name}{suffix}"
            if homes[deeper] == where and deeper not in below.setdefault(where, []):
                below[where].append(deeper)
    told = set()
    for row in rows:
        yield row
        for where, classes in below.items():
            if where not in told and (where == row.key or where.startswith((f"{row.key}.N", f"{row.key}.NAME"))):
                told.add(where)
                yield from _at(classes, where, homes)


def _homes(root: type) -> dict[type, str]:
    """Class -> the place nearest to the top where it stands."""
    homes: dict[type, str] = {root: ""}
    queue = [root]
    while queue:
        owner = queue.pop(0)
        for name, info in _fields_of(owner).items():
            for suffix, deeper in _nested(info.annotation):
                if deeper not in homes:
                    homes[deeper] = f"{homes[owner]}.{name}{suffix}".lstrip(".")
                    queue.append(deeper)
    return homes


def _nested(annotation: Any) -> Iterator[tuple[str, type]]:
    """The spec classes that a value may hold, with what stands between its key and theirs."""
    for member in members(annotation):
        if is_dataclass(member):
            yield "", member  # type: ignore[misc]
        elif get_origin(member) in (dict, tuple):
            suffix, inner = (".NAME", get_args(member)[1:]) if get_origin(member) is dict else (".N", get_args(member)[:1])
            for one in inner:
                yield from ((suffix + deeper, owner) for deeper, owner in _nested(one))


def _fields_of(owner: type) -> dict[str, FieldInfo]:
    found: dict[str, FieldInfo] = owner.__pydantic_fields__  # type: ignore[attr-defined]
    return found


def _merged(rows: Iterator[Key]) -> list[Key]:
    """Rows that say the same of several kinds as one."""
    found: dict[tuple[Any, ...], Key] = {}
    for row in rows:
        same = (row.key, row.type, row.unit, repr(row.default), row.legal, row.description)
        before = found.get(same)
        found[same] = row if before is None else Key(**{**asdict(before), "kinds": (*before.kinds, *row.kinds)})
    return list(found.values())


def _key(owner: type, name: str, key: str, homes: dict[type, str]) -> Key:
    info = _fields_of(owner)[name]
    default = _default(info)
    description = _description(owner, name)
    kind = kind_of(owner)
    return Key(
        key=key,
        kinds=(kind,) if isinstance(kind, str) and name != "kind" else (),
        type=_type(info.annotation, key, homes),
        unit=unit_of(owner, name, info.annotation),
        default=None if default is PydanticUndefined else default,
        required=default is PydanticUndefined,
        legal=_stated_legal(info) or _legal(info.annotation, info.metadata),
        description=description,
        source=_source(description, owner, default),
        declared=f"{owner.__module__}:{owner.__name__}",
    )


def _kind_key(owners: Sequence[type], place: str) -> Key:
    kinds = {str(kind_of(owner)): summary_of(owner) for owner in owners}
    meanings = " ".join(f"{kind}: {_first_sentence(text)}" for kind, text in kinds.items())
    return Key(
        key=f"{place}.kind", kinds=(), type="choice", unit="choice", default=None, required=True,
        legal=" | ".join(kinds), description=f"Which of the kinds it is. {meanings}", source=STATED,
        declared=f"{owners[0].__module__}:{', '.join(owner.__name__ for owner in owners)}",
    )  # fmt: skip


def _description(owner: type, name: str) -> str:
    """The attribute's docstring; where a class restates a field without one, its base's."""
    for base in owner.__mro__:
        text = attribute_docstrings(base).get(name) if is_dataclass(base) else None
        if text:
            return _one_line(text)
    return f"Which of the kinds it is: {_first_sentence(summary_of(owner))}" if name == "kind" else ""


def _default(info: FieldInfo) -> Any:
    """Plain data; a group that is made of its keys' own defaults is an empty mapping."""
    value = info.get_default(call_default_factory=True, validated_data={})
    if is_dataclass(value) and not isinstance(value, type):
        stated = asdict(value)
        return stated if "kind" in stated else {}
    return list(value) if isinstance(value, tuple) else value


def _type(annotation: Any, key: str, homes: dict[type, str]) -> str:
    found = [_type_of(member, key, homes) for member in members(annotation) if member is not NoneType]
    return " or ".join(dict.fromkeys(found))


def _type_of(member: Any, key: str, homes: dict[type, str]) -> str:
    if isinstance(member, type) and is_dataclass(member):
        home = homes.get(member, key)
        return "keys" if home == key else f"keys, as {home}"
    origin, inner = get_origin(member), get_args(member)
    if origin is dict:
        return f"mapping of name to {_type(inner[1], f'{key}.NAME', homes)}"
    if origin is tuple:
        return f"list of {_type(inner[0], f'{key}.N', homes)}"
    if origin is Literal:
        return "choice"
    return {str: "text", Any: "anything"}.get(member, getattr(member, "__name__", str(member)))


def _stated_legal(info: FieldInfo) -> str:
    """What a validator of the class's own allows, where the field says so: ``json_schema_extra={"legal": ...}``."""
    extra = info.json_schema_extra
    return str(extra.get("legal", "")) if isinstance(extra, dict) else ""


def _legal(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _legal(inner, [*metadata, *more])
    parts, kinds = [], []
    for member in members(annotation):
        kind = kind_of(member) if is_dataclass(member) else None
        if isinstance(kind, str):
            kinds.append(kind)
        else:
            parts.append(_legal_of(member, flat(metadata)))
    if kinds:
        parts.insert(0, f"kind: {' | '.join(kinds)}")
    return " | ".join(dict.fromkeys(parts))


def _legal_of(member: Any, metadata: list[Any]) -> str:
    origin, inner = get_origin(member), get_args(member)
    least = next((f", {one.min_length} or more" for one in metadata if getattr(one, "min_length", 0)), "")
    if member is NoneType:
        return "null"
    if is_dataclass(member):
        return "its keys"
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin is dict:
        return f"each {_legal(inner[1])}{least}"
    if origin is tuple:
        return f"each {_legal(inner[0])}{least}"
    if member is bool:
        return "true | false"
    if member in (int, float):
        signs = ("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")
        bounds = [f"{sign} {_plain(getattr(one, name))}" for name, sign in signs for one in metadata if hasattr(one, name)]
        return ", ".join(bounds) or f"any {'whole ' if member is int else ''}number"
    return "any text" if member is str else "anything"


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else f"{bound:g}"


def _source(description: str, owner: type, default: Any) -> str:
    """Where the default comes from, as the docstrings say it."""
    if default is PydanticUndefined:
        return STATED
    said = [sentence for sentence in _sentences(description) if _NAMED.search(sentence)]
    if not said and default in (None, False, (), [], {}, 0, "", "none"):
        return "neutral: adds nothing until it is stated"
    said = said or [sentence for sentence in _sentences(summary_of(owner)) if _NAMED_FOR_ALL.search(sentence)]
    return " ".join(said) or OWN_CHOICE


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _first_sentence(text: str) -> str:
    return _sentences(text)[0]


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", text)
