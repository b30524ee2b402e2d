"""Which job folders belong to the sweep that lies in a folder: those that its last command asks for.

A sweep that is run into a folder of an earlier and larger one leaves that one's further jobs beside its own; they must
not win. Hydra writes the command's axes to ``multirun.yaml`` before the first job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from sim.cli.plain_yaml import read_plain_yaml
from sim.errors import ConfigError

_CAP = "engine.max_num_seqs"
_MAX_CELLS = 100_000


def membership(folder: Path) -> Callable[[Sequence[str]], bool]:
    """A test of a job's overrides; every job belongs to a folder without a readable ``multirun.yaml``."""
    try:
        hydra = read_plain_yaml(folder / "multirun.yaml")["hydra"]
        sweeper = hydra["sweeper"]
        params = [f"{key}={axis}" for key, axis in (sweeper.get("params") or {}).items()]
        parsed = OverridesParser.create().parse_overrides([*params, *hydra["overrides"]["task"]])
    except (ConfigError, AttributeError, KeyError, TypeError, HydraException, ValueError):
        return lambda overrides: True
    kind = str(sweeper.get("_target_", "")).rpartition(".")[2]
    if kind not in ("BasicSweeper", "GridSweeper", "SloSweeper", "OptunaSweeper"):
        return lambda overrides: True
    if kind == "OptunaSweeper":  # it draws values of its own
        parsed = [override for override in parsed if not override.is_sweep_override()]
    finds_caps = kind == "SloSweeper"  # it adds caps around the best
    axes = {override.get_key_element(): _cells(override) for override in parsed}  # a later one replaces an earlier
    asked = [cells for key, cells in axes.items() if cells and not (finds_caps and key == _CAP)]
    return lambda overrides: all(not cells.isdisjoint(overrides) for cells in asked)


def _cells(override: Override) -> set[str]:
    """An axis as the overrides of its jobs; empty where only the sweeper can tell (``glob``), or nobody."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return {f"{key}={override.get_value_element_as_str()}"}
    if not override.is_discrete_sweep() or "glob(" in (override.input_line or ""):
        return set()
    cells = {f"{key}={value}" for value in islice(override.sweep_string_iterator(), _MAX_CELLS + 1)}
    return cells if len(cells) <= _MAX_CELLS else set()
