"""Flags from the schema: ``--slo-ttft-p95 1`` is ``slo.ttft_p95_s=1``.

A flag is its key with dashes. The seconds' ``_s`` at the end may be left out, and so may the group of a key of the engine
(then the flag is vLLM's own), the workload, the SLO, the search, the fleet and the output. A group takes a preset's name
(``--gpu h100``). A few have a shorter name. The flag of a boolean key needs no value; ``--no-KEY`` is false, where
the key may be.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from pathlib import Path

from sim.cli.front.reference import KeyRow, plain_keys
from sim.errors import ConfigError
from sim.presets.packaged import packaged_presets

ALIASES = {
    "--trace": "workload.path", "--hf-config": "model.hf_config", "--tp": "engine.tensor_parallel_size",
    "--pp": "engine.pipeline_parallel_size", "-tp": "engine.tensor_parallel_size", "-pp": "engine.pipeline_parallel_size",
    "--dp": "engine.data_parallel_size", "-dp": "engine.data_parallel_size",
    "--vllm": "vllm_line", "--launcher": "hydra/launcher", "--sweeper": "hydra/sweeper",
}  # fmt: skip
"""Names that are not the key's."""
_SHORT = ("engine", "workload", "slo", "search", "fleet", "output")
"""Groups that may be left out; where two have a key of one name, the first."""
_NEVER_SHORT = ("name", "source", "kind", "path")
_PERCENTILE = re.compile(r"--(?:slo-)?(ttft|tpot|itl|e2e|queue)-p(\d+)(?:-s)?")
_PLAIN_TEXT = re.compile(r"[\w./:@%+-]+")


@cache
def flag_table() -> dict[str, str]:
    """Flag -> key (or group)."""
    found: dict[str, str] = {f"--{group}": group for group in packaged_presets()}
    found |= ALIASES
    full = {f"--{key.replace('.', '-').replace('_', '-')}": key for key in plain_keys()}
    leaves = {
        f"--{name.replace('_', '-')}": key
        for group in reversed(_SHORT)
        for key in plain_keys()
        if (name := key.removeprefix(f"{group}.")) != key and "." not in name and name not in _NEVER_SHORT
    }
    for table in (full, leaves):
        for flag, key in table.items():
            found.setdefault(flag, key)
    for table in (full, leaves):
        for flag, key in table.items():
            if flag.endswith("-s") and not flag.endswith("-per-s"):
                found.setdefault(flag.removesuffix("-s"), key)
    return found


def key_of(flag: str) -> tuple[str, bool] | None:
    """The key that ``flag`` sets, and whether it sets it to false; None: no key of ours."""
    table = flag_table()
    name = flag.replace("_", "-") if flag.startswith("--") else flag
    if name in table:
        return table[name], False
    if percentile := _PERCENTILE.fullmatch(name):
        return f"slo.{percentile[1]}_p{percentile[2]}_s", False
    positive = f"--{name.removeprefix('--no-')}"
    if name.startswith("--no-") and (row := plain_keys().get(table.get(positive, ""))) is not None and row.switches_off:
        return row.key, True
    return None


def override_of(key: str, value: str) -> str:
    """``key=value`` in Hydra's words: text that its grammar would read as something else stands in quotes."""
    row = plain_keys().get(key)
    text = key == "model.hf_config" or (row is not None and row.type in ("text", "choice"))
    if key == "vllm_line" or not text or value == "null" or value[:1] in ("'", '"') or _PLAIN_TEXT.fullmatch(value):
        return f"{key}={value}"  # a server's line is quoted with the overrides
    if not value:
        return f"{key}=''"
    pieces = value.split(",")
    if len(pieces) > 1 and not Path(value).exists() and all(map(_PLAIN_TEXT.fullmatch, pieces)):
        return f"{key}={value}"  # several values of a sweep
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


def unknown_flag(flag: str, own: frozenset[str]) -> ConfigError:
    """What to say of a flag that nobody knows."""
    known = [*flag_table(), *own]
    wanted = f"--{flag.lstrip('-').replace('_', '-')}"
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.7)
    if not flag.startswith("--") and wanted in known:
        return ConfigError(f"{flag}: options are written with two dashes: {wanted}")
    by_part = [one for one in known if wanted.strip("-") in one][:3] if len(wanted) > 5 and not near else []
    hint = f"; did you mean {' or '.join(near or by_part)}?" if near or by_part else ""
    where = f"`servecap keys {flag.strip('-')}` searches all keys, --help lists the usual"
    return ConfigError(f"{flag}: no such option{hint}{'' if hint else ';'} {where}")


def row_of(key: str) -> KeyRow | None:
    """What the reference says of ``key``."""
    return plain_keys().get(key)
