"""Traces that the command line names, before any job starts: found, or copied where they can be read only once.

A sweep whose trace is missing would otherwise start every job before it fails, and standard input has been read when the
second job wants it. Pipes, ``-`` and https addresses become the path of their copy (``sim.workload.places``), which is
also what the run's configuration then names.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator, Sequence

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString

from sim.errors import TraceError
from sim.workload.fetch import cached
from sim.workload.places import can_be_read_once, kept_copy, located


def with_traces_at_hand(arguments: Sequence[str]) -> list[str]:
    """``arguments`` (in Hydra's words) with the places of traces that can be read only once replaced.

    Raises:
        TraceError: a trace is not there.
    """
    found = list(arguments)
    keys = {argument.lstrip("+").partition("=")[0] for argument in arguments}
    for place, argument in enumerate(arguments):
        key, equals, value = argument.lstrip("+").partition("=")
        if key == "workload.path" and equals:
            if "://" in value and value[0] not in "'\"":
                argument = f"{argument.partition('=')[0]}='{value}'"  # Hydra takes no bare #
            override = _parsed(argument)
            for path in _values(override):
                if not can_be_read_once(path):
                    located(path)
                elif not override.is_sweep_override():
                    found[place] = f"{argument.partition('=')[0]}='{kept_copy(path)}'"
        elif key == "workload" and equals and not keys & {"workload.path", "workload.packaged", "workload.generator"}:
            for name in _values(_parsed(argument)):
                _refuse_not_fetched(name)
    return found


def _parsed(argument: str) -> Override:
    (override,) = OverridesParser.create().parse_overrides([argument])
    return override


def _values(override: Override) -> Iterator[str]:
    if override.is_sweep_override():
        yield from (value.strip("'\"") for value in override.sweep_string_iterator())
        return
    value = override.value()
    if isinstance(value, str | QuotedString):
        yield value.text if isinstance(value, QuotedString) else value


def _refuse_not_fetched(preset: str) -> None:
    """A packaged preset whose trace does not ship and was not fetched."""
    file = importlib.resources.files("sim.configs") / "workload" / f"{preset}.yaml"
    if not file.is_file():
        return
    stated = yaml.safe_load(file.read_text(encoding="utf-8"))
    name = stated.get("fetch")
    if name and not any(stated.get(source) for source in ("path", "packaged", "generator")) and cached(name) is None:
        raise TraceError(
            f"workload={preset} needs its trace file: workload.path=FILE, or `servecap traces fetch {name}` once"
        )
