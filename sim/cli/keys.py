"""``servecap keys`` and ``servecap explain``: the configuration's keys, as the spec classes state them.

    servecap keys [PATTERN] [--json]
    servecap keys [GROUP] --schema > GROUP.schema.json
    servecap explain gateway.retries [--json]

PATTERN is a part of a key, or a pattern with ``*``; where no key has it, descriptions are searched.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, fields
from fnmatch import fnmatch
from typing import Any

from sim.errors import ConfigError
from sim.presets.packaged import packaged_presets, stated_by_presets
from sim.spec.json_schema import json_schema
from sim.spec.keys import Key, all_keys, keys_told, own_keys, summary_of
from sim.spec.legal_keys import did_you_mean, kind_of
from sim.spec.scenario import Scenario
from sim.spec.slo import TARGET, RouteSlo

WIDTH = 110
BESIDE_THE_SCHEMA = {
    "vllm_line": "A server's start line (vllm serve, SGLang's, TensorRT-LLM's): engine and model as it says; null = none.",
    "api": "A preset of an API that sells answers by the token; it becomes an entry of gateway.apis. null = none.",
    "speculative": "A preset of drafts and of how many are accepted, with its source; it sets engine.speculative.",
    "kv_offload": "A preset of host memory behind the GPU's prefix cache, by whose system; it sets engine.kv_offload.",
    "kv_transfer": "A preset of what carries KV caches from prefill to decode replicas; it sets fleet.kv_transfer.",
    "experiment": "A preset that sets keys of several groups at once; null = none.",
}
"""What one states on the command line and no scenario holds."""
_HEADER = """# Configuration keys

Written by `python -m sim keys --markdown > configs/REFERENCE.md` from the spec classes in `sim/spec`; a test keeps it fresh.
`NAME` stands for a name of your own, `N` for a place in a list, *kind* for what the mapping's `kind` must be for the key to
be legal. Defaults are the classes' own: a chosen preset (`configs/GROUP/NAME.yaml`) states others, with their sources.
`servecap explain KEY` tells one key with its formula.
"""
_TABLE = ("| key | kind | type | unit | default | legal | meaning | source |", "|---|---|---|---|---|---|---|---|")


def main(argv: Sequence[str]) -> int:
    """List the keys that fit a pattern: one line each, one JSON list, or the reference in Markdown."""
    parser = argparse.ArgumentParser(prog="servecap keys", description="Every configuration key.")
    parser.add_argument("pattern", nargs="?", default="", help="part of a key, a pattern with *, or a word of a description")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="a list: key, type, unit, default, legal, description, source")
    shape.add_argument("--markdown", action="store_true", help="the reference (configs/REFERENCE.md)")
    parser.add_argument(  # JSON anyway: --json beside it says nothing new
        "--schema", action="store_true", help="JSON Schema for editors: of a preset of the group PATTERN, else of all groups"
    )
    options = parser.parse_args(list(argv))
    if options.schema and options.markdown:
        parser.error("--schema is JSON: not with --markdown")
    if options.schema:
        try:
            print(json.dumps(json_schema(options.pattern), indent=1))
        except ValueError as error:
            raise ConfigError(str(error)) from None
        return 0
    found = matching(options.pattern)
    if options.json:
        print(json.dumps([asdict(key) for key in found], indent=1))
    elif options.markdown:
        print(reference(found), end="")
    else:
        for key in found:
            print(one_line(key))
    return 0


def explain(argv: Sequence[str]) -> int:
    """Tell one key: description, unit, default, legal range, source, and the formula and keys of what it may hold."""
    parser = argparse.ArgumentParser(prog="servecap explain", description="One configuration key, told whole.")
    parser.add_argument("key", help="as in an override: gateway.retries, engine.max_num_seqs")
    parser.add_argument("--json", action="store_true", help="one JSON object: what is told")
    options = parser.parse_args(list(argv))
    key = _in_schema(options.key)
    if key in BESIDE_THE_SCHEMA:
        if options.json:
            print(
                json.dumps(
                    {"key": key, "told": [{"key": key, "description": BESIDE_THE_SCHEMA[key]}], "parts": []}, indent=1
                )
            )
            return 0
        print("\n".join([key, *_wrapped(BESIDE_THE_SCHEMA[key], "  "), *_presets_of(key)]))
        return 0
    try:
        told, below = keys_told(Scenario, key)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if options.json:
        parts = [{"is": name_of(owner), "formula": summary_of(owner), "keys": plain(own_keys(owner))} for owner in below]
        print(json.dumps({"key": key, "told": plain(told), "parts": parts}, indent=1))
        return 0
    print("\n".join(explained(key, told, below)))
    return 0


def _in_schema(stated: str) -> str:
    """The key of an override as written (``++engine.version=0.30``); a percentile that has no field of its own is one of
    ``percentiles``."""
    key = stated.lstrip("+~").partition("=")[0]
    place, _, name = key.rpartition(".")
    own = {field.name for field in fields(RouteSlo)}
    return f"{place}.percentiles" if place.startswith("slo") and TARGET.fullmatch(name) and name not in own else key


def matching(pattern: str) -> list[Key]:
    """The keys that hold ``pattern`` (or match it, where it has ``*``), else those whose description does.

    Raises:
        ConfigError: none does.
    """
    keys, wanted = all_keys(Scenario), pattern.lower()
    glob = wanted if "*" in wanted else f"*{wanted}*"
    found = [key for key in keys if fnmatch(key.key.lower(), glob)] or [
        key for key in keys if fnmatch(key.description.lower(), glob)
    ]
    if not found:
        near = did_you_mean(pattern, sorted({part for key in keys for part in (key.key, key.key.rpartition(".")[2])}))
        raise ConfigError(f"no key and no description has {pattern!r}{near or '.'} `servecap keys` lists all.")
    return found


def one_line(key: Key) -> str:
    """A key for the terminal: default with its unit, legal values, meaning."""
    kinds = f" ({', '.join(key.kinds)})" if key.kinds else ""
    return f"{key.key}{kinds} = {shown_default(key)}  [{key.unit}; {key.legal}]  {key.description}"


def explained(name: str, told: Sequence[Key], below: Sequence[type]) -> list[str]:
    """What ``servecap explain`` prints."""
    lines = [name]
    for key in told:
        if len(told) > 1:
            lines += ["", f"where kind is {' or '.join(key.kinds)}:"]
        lines += _wrapped(key.description, "  ")
        lines += [f"  type     {key.type}", f"  unit     {key.unit}", f"  default  {shown_default(key)}"]
        lines += _wrapped(f"legal    {key.legal}", "  ", "           ")
        lines += [*_wrapped(f"source   {key.source}", "  ", "           "), f"  code     {key.declared}"]
    lines += _presets_of(name)
    stated = stated_by_presets(name)
    if stated:
        lines += ["", "  presets state"]
        lines += [line for value, by in stated.items() for line in _wrapped(f"{value}: {', '.join(by)}", "    ", "        ")]
    for owner in below:
        lines += ["", f"  {name_of(owner)}", *_wrapped(summary_of(owner), "    ")]
        for key in own_keys(owner):
            lines += _wrapped(f"{key.key} = {shown_default(key)}  [{key.unit}; {key.legal}]", "    ", "        ")
            lines += _wrapped(key.description, "        ")
    return lines


def _presets_of(group: str) -> list[str]:
    presets = sorted(packaged_presets().get(group, ()))
    return ["", *_wrapped(f"presets ({group}=...): {', '.join(presets)}", "  ", "    ")] if presets else []


def reference(keys: Sequence[Key]) -> str:
    """The keys as Markdown: a table for each place."""
    places: dict[str, list[Key]] = {}
    for key in keys:
        places.setdefault(key.key.rpartition(".")[0], []).append(key)
    lines = [_HEADER]
    for place, here in places.items():
        lines += [f"## {place or 'Top level'}", "", *_TABLE, *map(_row, here), ""]
    return "\n".join(lines[:-1]) + "\n"


def _row(key: Key) -> str:
    cells = [f"`{key.key.rpartition('.')[2]}`", ", ".join(key.kinds), key.type, key.unit, f"`{shown_default(key)}`"]
    cells += [key.legal, key.description, key.source]
    return f"| {' | '.join(cell.replace('``', '`').replace('|', chr(92) + '|') for cell in cells)} |"


def shown_default(key: Key) -> str:
    """The default as one writes it."""
    if key.required:
        return "(to be stated)"
    if key.default == {} and "mapping" not in key.type:
        return "(its keys' own)"
    return json.dumps(key.default).strip('"') or "(empty)"


def name_of(owner: type) -> str:
    """How an explanation calls a class: by the kind that chooses it."""
    kind = kind_of(owner)
    return f"kind: {kind}" if isinstance(kind, str) else owner.__name__


def plain(keys: Sequence[Key]) -> list[dict[str, Any]]:
    """Keys as plain data."""
    return [asdict(key) for key in keys]


def _wrapped(text: str, first: str, rest: str | None = None) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=first if rest is None else rest) or []
