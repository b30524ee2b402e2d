"""``--help`` of the verbs that are Hydra applications: their own options, the usual ones, presets, where the rest is."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from sim.cli.front.flags import key_of
from sim.cli.front.reference import plain_keys
from sim.cli.front.verbs import HYDRA_VERBS, USUAL, Flag
from sim.presets.packaged import packaged_presets

_WIDTH = 110
_INDENT = " " * 30


def verb_help(verb: str, verbs: Mapping[str, str], arguments: Sequence[str]) -> str:
    """What ``servecap VERB --help`` prints; ``verbs`` with a line each are listed for ``run``, presets of the folders that
    ``arguments`` name among the packaged ones."""
    lines = [f"usage: servecap {verb} [OPTIONS] [KEY=VALUE ...]", "", *_wrapped(f"{verb}: {verbs[verb]}."), ""]
    if verb == "run":
        lines[0] = "usage: servecap [VERB] [OPTIONS] [KEY=VALUE ...]"
        lines[2:4] = ["What will self-hosted LLM serving cost, at p95?", "", "Verbs:"]
        lines += [f"  {name:<12} {text}" for name, text in verbs.items()] + [""]
    lines += [f"Options of {verb}:", *_told(HYDRA_VERBS[verb]), ""]
    told = {flag.name for flag in HYDRA_VERBS[verb]}
    for heading, flags in USUAL.items():
        lines += [f"{heading}:", *_told([flag for flag in flags if flag.name not in told]), ""]
    lines += [
        "Every other key is an option too: engine.block_size=16 is --block-size 16, gateway.client_timeout_s=30 is",
        "--gateway-client-timeout 30; `servecap keys [PATTERN]` lists all, `servecap explain KEY` tells one.",
        "", "Configuration groups (GROUP=PRESET, or --GROUP PRESET):", *_groups(arguments), "",
        "Hydra's own: --cfg job shows the composed configuration, -m sweeps, --hydra-help lists the rest.",
        "Exit codes: 0 done, 1 crash, 2 bad input, 3 nothing meets the SLO, 130 interrupted",
    ]  # fmt: skip
    return "\n".join(lines)


def _told(flags: Sequence[Flag]) -> Iterator[str]:
    for flag in flags:
        head = f"  {flag.name} {flag.value}".rstrip()
        body = textwrap.wrap(flag.text or _meaning(flag.name), _WIDTH - len(_INDENT))
        if len(head) > len(_INDENT) - 2:
            yield head
            head = ""
        yield f"{head:<{len(_INDENT)}}{body[0]}"
        yield from (f"{_INDENT}{line}" for line in body[1:])


def _meaning(flag: str) -> str:
    """What the key behind ``flag`` means, with its unit and legal values."""
    found = key_of(flag)
    assert found is not None, f"{flag} is no flag of a key"
    row = plain_keys().get(found[0])
    if row is None or row.holds_keys:
        return f"the preset of the group {found[0]}, see below"
    first = row.meaning.partition("; ")[0].partition(". ")[0].rstrip(".")
    return f"{first} [{row.unit}; {row.legal}]"


def _groups(arguments: Sequence[str]) -> Iterator[str]:
    own = [Path(after) for flag, after in pairwise(arguments) if flag in ("--config-dir", "-cd")]
    own += [Path(word.partition("=")[2]) for word in arguments if word.startswith(("--config-dir=", "-cd="))]
    for group, presets in sorted(packaged_presets().items()):
        mine = {file.stem for folder in own for file in (folder / group).glob("*.yaml")}
        yield from _wrapped(f"  {group}: {', '.join(sorted(presets | mine))}", "    ")


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, initial_indent=text[: len(text) - len(text.lstrip())],
                         break_on_hyphens=False)  # fmt: skip
