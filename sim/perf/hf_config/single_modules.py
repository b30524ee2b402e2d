"""Modules that a quantisation gives a type of their own: GPTQModel's ``dynamic``, auto-round's ``extra_config``, Quark's
``layer_quant_config``, torchao's configurations by module.

Source: vLLM 0.33 ``model_executor/layers/quantization/{utils/gptq_utils,inc/config_parser,quark/quark,torchao}.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sim.perf.hf_config.facts import Facts
from sim.perf.hf_config.module_names import ModuleRules
from sim.perf.hf_config.stored_as import BF16, integers, quark
from sim.spec.layers import Weights

Rule = tuple[ModuleRules, Weights]
_SPECIAL = re.compile(r"[*+?^$()\[\]{}|\\]")
_USUAL = ("bits", "w_bit", "group_size", "data_type")


def single_modules(stated: Facts) -> list[Rule]:
    """The rules of ``stated``, in the order in which they are looked at."""
    found = list(_integers(stated, "extra_config", lambda name: f"re:.*{name}" if _SPECIAL.search(name) else name))
    found += _integers(stated, "dynamic", lambda name: None if name.startswith("-:") else f"re:{name.removeprefix('+:')}")
    for name, own in _objects(stated, "layer_quant_config"):
        found.append((ModuleRules([name], "layer_quant_config"), quark(own, f"layer_quant_config.{name}")))
    return found


def _integers(stated: Facts, key: str, pattern: Any) -> Iterator[Rule]:
    usual = {name: stated.stated[name] for name in _USUAL if name in stated.stated}
    for name, own in _objects(stated, key):
        rule = pattern(name)
        if rule is None:
            continue
        merged = Facts({**usual, **own.stated}, own.where, nested=True)
        yield ModuleRules([rule], key), BF16 if own.stated.get("bits", 0) is None else integers(merged)


def _objects(stated: Facts, key: str) -> Iterator[tuple[str, Facts]]:
    """The objects of ``stated[key]`` by name."""
    held = stated.inner(key)
    for name in held.stated if held is not None else ():
        own = held.inner(name) if held is not None else None
        if own is not None:
            yield name, own
