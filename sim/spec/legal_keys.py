"""Which keys are legal where, read from the spec classes' own annotations: for messages about a key that is not.

A place is a path of keys from a root class; where a value may be of several kinds, the keys of all kinds are legal, unless
the path names the kind (as pydantic's error locations do).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

NOT_MODELLED = {
    option: reason
    for reason, options in {
        "weights on the CPU": ("cpu_offload_gb",),
        "swapping of preempted requests (vLLM has not since 0.9)": ("swap_space",),
    }.items()
    for option in options
}
"""Options of ``vllm serve`` that a copied line may hold, and what they would switch on."""
STATED_ELSEWHERE = {
    "kv_transfer_config": "servers that hand KV over are pools with roles: fleet=disaggregated; host memory for KV is "
    "engine.kv_offloading_size_gib",
}
"""Options of ``vllm serve`` that are other keys here, and which."""


def unknown_key(root: type, path: Sequence[str]) -> str:
    """That ``path`` leads to no key of ``root``: why not, where it is an option of vLLM's, and what is legal beside it."""
    key, (*_, name) = dotted(root, path), path
    if name in NOT_MODELLED:
        return f'{key}: {NOT_MODELLED[name]} is not modelled; see "What is not modelled" in README.md'
    if name in STATED_ELSEWHERE:
        return f"{key}: no such key; {STATED_ELSEWHERE[name]}"
    legal = keys_at(root, path[:-1])
    if name in legal:  # Hydra refuses what the chosen preset does not state
        parent = key.rpartition(".")[0]
        said = f"{key}: not stated by the chosen preset; write ++{key}=..."
        if "kind" not in legal:
            return said
        keys = "kind: ..." if name == "kind" else f"kind: ..., {name}: ..."
        return f"{said}, or another kind whole: '{parent}={{{keys}}}'"
    if not legal:
        names_of_ones_own = any(get_origin(one) is dict for one in _members_at(root, path[:-1]))
        return f"{key}: {f'not stated by the chosen preset; write ++{key}=...' if names_of_ones_own else 'no such key'}"
    parent = key.rpartition(".")[0]
    whole = f"; another kind is stated whole: '{parent}={{kind: ..., {name}: ...}}'" if "kind" in legal else ""
    return f"{key}: no such key{did_you_mean(name, legal)} Legal in {parent or 'the top level'}: {', '.join(legal)}{whole}"


def did_you_mean(name: str, legal: Sequence[str]) -> str:
    """The nearest of ``legal``, as the end of a sentence."""
    near = difflib.get_close_matches(name, legal, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else "."


def keys_at(root: type, path: Sequence[str]) -> list[str]:
    """The legal keys of the mapping at ``path``; none where it holds no keys of ours."""
    return sorted({field.name for found in types_at(root, path) for field in fields(found)})


def dotted(root: type, path: Sequence[str]) -> str:
    """``path`` as a user writes it: without the kinds that pydantic's locations hold."""
    kept = [part for place, part in enumerate(path) if not _is_kind(root, path[:place], part)]
    return ".".join(kept)


def _is_kind(root: type, path: Sequence[str], part: str) -> bool:
    found = types_at(root, path)
    return part in map(kind_of, found) and not any(part in get_type_hints(one) for one in found)


def types_at(root: type, path: Sequence[str]) -> list[Any]:
    """The spec classes that may stand at ``path``; none where it holds no keys of ours."""
    return [one for one in _members_at(root, path) if is_dataclass(one)]


def _members_at(root: type, path: Sequence[str]) -> list[Any]:
    found: list[Any] = [root]
    for part in path:
        found = [deeper for one in found for deeper in _below(one, part)]
    return [deeper for one in found for deeper in members(one)]


def _below(annotation: Any, part: str) -> Iterator[Any]:
    for member in members(annotation):
        if is_dataclass(member):
            hints = get_type_hints(member, include_extras=True)
            if part in hints:
                yield hints[part]
            elif kind_of(member) == part:
                yield member
        elif get_origin(member) in (dict, tuple):
            yield get_args(member)[1 if get_origin(member) is dict else 0]


def members(annotation: Any) -> Iterator[Any]:
    """The classes that an annotation names, out of ``Annotated`` and unions."""
    if get_origin(annotation) is Annotated:
        yield from members(get_args(annotation)[0])
    elif get_origin(annotation) in (dict, tuple, Literal) or not get_args(annotation):
        yield annotation
    else:
        for member in get_args(annotation):
            yield from members(member)


def kind_of(member: Any) -> Any:
    """What ``kind`` says of a spec class; None or no text where it has none."""
    return next((field.default for field in fields(member) if field.name == "kind"), None)
