"""The knobs of the page, told by the configuration's own schema: nothing about a key is said twice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from sim.cli.keys import matching
from sim.errors import ConfigError
from sim.presets.packaged import packaged_presets
from sim.spec.keys import Key, all_keys
from sim.spec.scenario import Scenario

SHELF = (
    ("What runs", ("model", "gpu", "engine.max_num_seqs", "engine.max_num_batched_tokens", "engine.tensor_parallel_size",
                   "engine.enable_prefix_caching", "engine.kv_cache_dtype")),
    ("Traffic", ("workload", "workload.path", "workload.rate_scale", "workload.tokens_per_day", "workload.duration_s")),
    ("Fleet", ("fleet.replicas", "fleet.market", "spot", "autoscaler", "gateway")),
    ("Promise", ("slo", "slo.ttft_p95_s", "slo.tpot_p95_s", "slo.e2e_p95_s")),
    ("Money", ("gpu.price.on_demand_usd_per_hour", "cost", "seed")),
)  # fmt: skip
"""What lies ready, by what it is about; any other key is found by its name or a word of its description."""
MOST_FOUND = 40


@dataclass(frozen=True)
class Knob:
    """One key as the page needs it. ``choices``: the values that are legal where they can be listed; a preset's group has
    its names."""

    key: str
    shape: str
    """``choice``, ``switch``, ``number`` or ``text``."""
    unit: str
    default: Any
    legal: str
    description: str
    source: str
    choices: tuple[str, ...]


@cache
def shelf() -> list[dict[str, Any]]:
    """The knobs that lie ready: ``[{title, knobs}]``."""
    told = {key.key: key for key in all_keys(Scenario)}
    found = []
    for title, keys in SHELF:
        knobs = [knob_of(key, told.get(key)) for key in keys if key in told or key in packaged_presets()]
        found.append({"title": title, "knobs": [vars(knob) for knob in knobs]})
    return found


@lru_cache(maxsize=1_000)
def found(pattern: str) -> list[dict[str, Any]]:
    """The knobs of the keys that fit ``pattern``, as ``servecap keys`` finds them; none where nothing does."""
    try:
        keys = matching(pattern)[:MOST_FOUND]
    except ConfigError:
        return []
    return [vars(knob_of(key.key, key)) for key in keys]


def knob_of(key: str, told: Key | None) -> Knob:
    """The knob of ``key``; of a group of presets where ``told`` is None or stands for the group."""
    presets = packaged_presets().get(key)
    if presets is not None:
        words = f"A preset of configs/{key}, or a value of your own beside its keys."
        return Knob(key, "choice", "", None, "", words, "", tuple(sorted(presets)))
    assert told is not None, f"{key} is neither a key nor a group"
    choices = _choices(told.legal)
    shape = "switch" if told.type.startswith("bool") else "choice" if choices else _shape(told.type)
    return Knob(key, shape, told.unit, told.default, told.legal, told.description, told.source, choices)


def _choices(legal: str) -> tuple[str, ...]:
    """``a | b | c`` as its members."""
    members = tuple(part.strip(" '\"`") for part in legal.split("|"))
    words = all(member.replace("_", "").replace("-", "").isalnum() for member in members)
    return members if words and len(members) > 1 else ()


def _shape(kind: str) -> str:
    return "number" if kind.startswith(("int", "float")) else "text"
