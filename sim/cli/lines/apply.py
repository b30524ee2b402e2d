"""``with_line``: a composed configuration with the server's command line that it holds put in its place."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import yaml

from sim.cli.lines.model_names import model_of
from sim.cli.lines.translate import translate


def with_line(plain: dict[str, Any], text: str, overrides: Sequence[str]) -> dict[str, Any]:
    """``plain`` with what the line ``text`` means: its engine's preset and options, its model. What the command line states
    besides (``engine.KEY=``, ``model=``, ``model.KEY=``) wins. What has no effect is said on stderr.

    Raises:
        ConfigError: the line cannot be read, names what is not modelled, or a model that is not known.
    """
    rest = dict(plain)
    found = translate(text)
    stated = {override.lstrip("+").partition("=")[0] for override in overrides}
    engine = dict(rest.get("engine") or {})
    if found.server != "vllm" and "engine" not in stated:
        engine |= _preset(found.server)
    mine = {key: engine.get(key) for key in engine if f"engine.{key}" in stated}
    if "speculative" in found.engine and "speculative" not in mine:
        parts = {key.split(".")[2] for key in stated if key.startswith("engine.speculative.")}
        here = engine.get("speculative") or {}
        mine["speculative"] = {**found.engine["speculative"], **{key: here[key] for key in parts if key in here}}
    notes = [f"without effect here: {', '.join(sorted(found.without_effect))}"] if found.without_effect else []
    rest["engine"] = {**engine, **found.engine, **mine}
    if not any(key == "model" or key.startswith("model.hf_config") for key in stated):
        model, said = model_of(found.model)
        own = {
            key.removeprefix("model."): rest["model"][key.removeprefix("model.")]
            for key in stated
            if key.startswith("model.")
        }
        rest["model"] = {**model, **own}
        notes += said
    for note in notes:
        _say(f"vllm_line: {note}")
    return rest


@cache
def _preset(name: str) -> dict[str, Any]:
    text = (resources.files("sim.configs") / "engine" / f"{name}.yaml").read_text(encoding="utf-8")
    return {key: value for key, value in yaml.safe_load(text).items() if key != "defaults"}


@cache
def _say(note: str) -> None:
    print(note, file=sys.stderr)
