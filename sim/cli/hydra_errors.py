"""Hydra's and OmegaConf's complaints as one message: which key, what was found, what is legal."""

from __future__ import annotations

import re

from hydra.errors import OverrideParseException

from sim.cli.front.verbs import verb_names
from sim.cli.slips import no_override, outside_its_group, several_values
from sim.spec import Scenario
from sim.spec.legal_keys import did_you_mean, unknown_key

_FULL_KEY = re.compile(r"full_key: (\S+)")
_AMBIGUOUS = re.compile(r"Ambiguous value for argument '(.*?)'\n1\. To use it", re.DOTALL)
_UNKNOWN_PRESET = re.compile(r"Could not find '([\w/]+)/([^'/]*)'\s+Available options")

_EXTRAS = {"hydra/launcher=ray": "ray", "hydra/launcher=submitit_slurm": "slurm", "hydra/launcher=submitit_local": "slurm"}


def message_of(error: Exception) -> str:
    """One message for ``error``, without a traceback; names the nearest legal keys where a key is unknown."""
    if isinstance(error, OverrideParseException):
        return no_override(str(error.override), verb_names())
    ambiguous = _AMBIGUOUS.match(str(error))
    if ambiguous:
        return several_values(ambiguous[1])
    cause = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = "\n".join(lines)
    if cause is not None and str(cause) and str(cause) not in text:
        text += "\n" + "\n".join(line.strip() for line in str(cause).splitlines() if line.strip())
    unknown = _UNKNOWN_PRESET.search(text)
    if unknown:
        group, preset = unknown.groups()
        legal = text.partition(f"Available options in '{group}':")[2].partition("Config search path")[0].split()
        extra = _EXTRAS.get(f"{group}={preset}")
        if extra:
            return f"{group}={preset} is not installed: pip install 'servecap[{extra}]'"
        return f"{group}: no preset {preset!r}{did_you_mean(preset, legal)} Legal: {', '.join(legal)}"
    full_key = _FULL_KEY.search(text)
    if full_key and "Missing mandatory value" in text:
        return f"{full_key.group(1)}: ??? is no value; set it"
    if full_key and "not in struct" in text:
        path = full_key.group(1).split(".")
        return (outside_its_group(path[0]) if len(path) == 1 else "") or unknown_key(Scenario, path)
    return text


def raised_by_hydra(error: Exception) -> bool:
    """Whether ``error`` comes out of Hydra or OmegaConf themselves, which a value of a wrong kind can make fail anywhere."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] in ("hydra", "omegaconf", "antlr4")
