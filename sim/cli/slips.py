"""Slips of the hand that everybody makes, each told with the next step: what was probably meant, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sim.cli.front.reference import plain_keys
from sim.errors import ConfigError
from sim.presets.packaged import packaged_presets
from sim.spec.legal_keys import did_you_mean

_TRACE = re.compile(r".*\.(csv|parquet|jsonl?|tsv|gz|zst)")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_TIMES = {"k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
_WITH_UNIT = re.compile(r"([-+]?[\d.]+)\s*([a-zA-Zµ%$/]+)")
_LOADS = ("workload.rate_scale", "workload.rate_per_s", "workload.tokens_per_day")


def no_override(word: str, verbs: Sequence[str]) -> str:
    """What to say of ``word``, which is neither a verb nor an override."""
    pairs = re.findall(r"(?:^|\s)[+~]*[\w./@]+=", word)
    if len(pairs) > 1:
        return f"{word!r}: several overrides in one pair of quotes; write them apart: {' '.join(word.split())}"
    if re.match(r"[\w./]+\s+=|[\w./]+=\s+\S", word):
        joined = re.sub(r"\s*=\s*", "=", word, count=1)
        return f"{word!r}: no spaces stand around the =; write {joined}"
    if word.endswith(",") and "=" in word:
        return f"{word}: a list of a sweep has no spaces, e.g. {word}B"
    if "=" in word:
        return f"{word}: is no override key=value that can be read; quote what holds signs: \"{_key(word)}='...'\""
    groups = [group for group, presets in packaged_presets().items() if word in presets]
    if groups:
        return f"{word}: a preset needs its group: {groups[0]}={word}, several {groups[0]}={word},OTHER without spaces"
    if _TRACE.fullmatch(word) or Path(word).is_file():
        return f"{word}: a trace is stated as --trace {word} (workload.path={word}); `servecap traces stats {word}` shows it"
    if Path(word).is_dir():
        return f"{word}: a folder; `servecap report {word}` and `servecap compare {word} OTHER` read results"
    return f"{word}: expected one of the verbs or key=value{did_you_mean(word, verbs)} `servecap --help` lists the verbs"


def check_unit(key: str, value: str) -> None:
    """Refuse a number with a unit behind it, and say the number that is meant.

    Raises:
        ConfigError: naming key, value and what to write.
    """
    row = plain_keys().get(key)
    found = _WITH_UNIT.fullmatch(value.strip().strip("'\""))
    if row is None or found is None or not row.type.startswith(("int", "float")):
        return
    number, unit = found[1], found[2]
    try:
        stated = float(number)
    except ValueError:
        return
    where = f"{key} is a number in {row.unit}" if row.unit not in ("count", "ratio", "share") else f"{key} is a {row.unit}"
    if row.unit == "s" and unit.lower() in _SECONDS:
        raise ConfigError(f"{where}, but got {value}; write {key}={stated * _SECONDS[unit.lower()]:.6g}")
    if unit == "%" and row.unit in ("share", "ratio"):
        raise ConfigError(f"{where}, but got {value}; write {key}={stated / 100:.6g}")
    if unit.lower() in _TIMES and "engine." not in key:  # vLLM's own options take its suffixes
        raise ConfigError(f"{where}, but got {value}; write {key}={stated * _TIMES[unit.lower()]:.10g}")
    if unit.lower() in ("x", "$", "usd", "gib", "gb", "tokens", "req", "requests", "rps", "gpus", "replicas"):
        raise ConfigError(f"{where}, but got {value}; write {key}={number}")


def check_loads(keys: Sequence[str]) -> None:
    """Refuse a load that is stated in two ways.

    Raises:
        ConfigError: naming both.
    """
    stated = [key for key in _LOADS if key in keys]
    if len(stated) > 1:
        raise ConfigError(f"{' and '.join(stated)} both state the load; leave one of them out")


def outside_its_group(name: str) -> str:
    """For a key that stands at the top level and belongs into a group: where it belongs; empty where it is none."""
    homes = [key for key in plain_keys() if key.rpartition(".")[2] == name]
    homes.sort(key=lambda key: key.count("."))
    return "" if not homes else f"{name}: no such key at the top level; did you mean {' or '.join(homes[:3])}?"


def several_values(argument: str) -> str:
    """For a list of values where one run takes one."""
    key, _, value = argument.partition("=")
    return (
        f"{argument}: several values are a sweep: `servecap sweep {argument}` (or -m) runs each, `servecap size` picks the "
        f"cheapest; one value that holds a comma is quoted: \"{key}='{value}'\""
    )


def no_preset(group: str, name: str) -> str:
    """For a trace file, or a Hugging Face name, where a preset is asked; empty where it is neither."""
    if group == "workload" and (_TRACE.fullmatch(name) or Path(name).is_file()):
        return f"workload: {name} is no preset; a trace is stated as --trace {name} (workload.path={name})"
    return _model_by_its_own_name(name) if group == "model" and "/" in name else ""


def _model_by_its_own_name(name: str) -> str:
    wanted = re.sub(r"[-.]", "_", name.rpartition("/")[2].lower())
    near = did_you_mean(wanted, sorted(packaged_presets()["model"]))
    return (
        f"model: {name} is no preset{near} Any other checkpoint is read from its config.json: model.hf_config=PATH "
        f"(or --vllm 'vllm serve {name}', which knows the presets by these names)"
    )


def _key(word: str) -> str:
    return word.partition("=")[0]
