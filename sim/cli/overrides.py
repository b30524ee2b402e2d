"""What users write on the command line, as Hydra reads it.

Three things that Hydra refuses although each has one meaning: a key of an open mapping (``slo.routes.chat.ttft_p95_s=1``
is ``++slo.routes...`` to it), ``GROUP=null`` (its error names no key), and a whole value of another kind
(``sim.cli.kinds``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields

from sim.cli.front.words import as_overrides
from sim.cli.kinds import with_kinds_replaced
from sim.cli.plain_words import check_numbers
from sim.cli.slips import check_loads, check_unit, no_preset
from sim.errors import ConfigError
from sim.presets.packaged import packaged_presets
from sim.spec import Slo

_OPEN = re.compile(
    r"model\.\w"
    r"|(fleet\.pools|slo\.routes|slo\.percentiles|gateway\.queue\.weights|gateway\.apis|gateway\.routes|decide\.options|slo\.tenants|gpu\.step_time_scale)[.=]"
    r"|(workload\.columns|gateway\.network_one_way_s)[.=]"
    r"|workload\.(fetch|generator|packaged|packaged_rate_scale|session_rate_per_s|pool_rate_per_s|time_format|decimal)="
    r"|workload\.(dequantise_s|lenient_max_loss|block_tokens|rate_per_s|tokens_per_day|tokenizer|characters_per_token)="
    r"|(cost\.commitment|cost\.purchase|gateway\.hybrid|gateway\.cache|gateway\.hedging|fleet\.background)\."
    r"|slo\.rejected_is_miss="
    r"|slo\.(ttft|tpot|itl|e2e|queue)_p\d+_s="
)
"""Mappings whose keys are the user's, sources of a workload, and percentiles: what a preset need not spell out."""
_STATED = {f"slo.{field.name}" for field in fields(Slo) if field.name.endswith("_s")}
_MAPPED = re.compile(r"[{,]\s*['\"]?(\w+)['\"]?\s*:")
_NO_PRESET = re.compile(r"null|[-+.\d]*")


def as_hydra_reads(arguments: Sequence[str]) -> list[str]:
    """``arguments`` (overrides, and flags that are left alone) in Hydra's own words.

    Raises:
        ConfigError: an override without a key, a group that is given no preset, or a column that is mapped twice.
    """
    found = [_checked(argument) for argument in as_overrides(arguments)]
    check_loads([argument.lstrip("+").partition("=")[0] for argument in found if argument is not None])
    return with_kinds_replaced([argument for argument in found if argument is not None])


def _checked(argument: str) -> str | None:
    """One override in Hydra's words; None = it says what holds anyway."""
    key, equals, value = argument.partition("=")
    if equals and not key:
        raise ConfigError(f"{argument}: expected key=value; no spaces stand around the =")
    if key == "vllm_line" and value[:1] not in ("'", '"') and value != "null":
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"vllm_line='{escaped}'"
    check_numbers(value, key)
    check_unit(key.lstrip("+"), value)
    if key.lstrip("+") == "workload.columns":
        names = _MAPPED.findall(value)
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ConfigError(f"workload.columns maps {', '.join(twice)} more than once ({value}); legal is every name once")
    group = key.lstrip("+").partition("@")[0]
    if equals and group in packaged_presets() and value.lstrip()[:1] in ("[", "{"):
        raise ConfigError(f"{group}: expected the name of one preset, but got {value!r}; single keys are {group}.KEY=...")
    if equals and key in packaged_presets():
        if key == "experiment" and value == "null":
            return None
        if key == "api" and value == "null":
            return "~api"
        if slip := no_preset(key, value):
            raise ConfigError(slip)
        if _NO_PRESET.fullmatch(value):
            raise ConfigError(f"{key}: expected the name of a preset, but got {value!r}; servecap --help lists the presets")
    return f"++{argument}" if _OPEN.match(argument) and key not in _STATED else argument
