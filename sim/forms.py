"""One source, two forms: the hot rooms run as plain Python, or compiled from the same files by mypyc.

A wheel built where a C compiler is found holds both (``setup.py``); the interpreter takes the compiled one. An editable
install and a ``py3-none-any`` wheel hold the sources alone. ``SERVECAP_PURE=1`` in the environment takes the sources in
any case. The same seed gives the same bytes in both forms (``tests/golden/run_bytes.py``).

What keeps a file in this list: plain classes, no dynamic attributes, floats that are floats (``0.0``), no ``sum`` over
floats (newer interpreters compensate it, compiled code does not).
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

_WHOLE = ("engine", "gateway")
_OPEN = ("__init__", "listener", "kv_source")
"""Files that stay Python: anybody may derive from a listener, or from a source of KV."""
_PARTS = (
    "fleet.least_loaded", "fleet.loads", "fleet.roll", "fleet.server", "fleet.shown", "links.fair", "links.transfers",
    "perf.cuda_graphs", "perf.front_end", "perf.host", "perf.rank_speculation", "perf.rank_step", "perf.speculation",
    "perf.step_time", "perf.tabulated", "record.recorder", "rng", "run.passing", "tiers.below", "tiers.content_tree",
    "tiers.host_link", "tiers.kept", "tiers.recency", "tiers.tier",
)  # fmt: skip
"""Of other rooms, what engine and gateway touch at every step."""


@cache
def compiled_modules() -> list[str]:
    """Modules that ``setup.py`` compiles."""
    here = Path(__file__).parent
    whole = [f"{room}.{file.stem}" for room in _WHOLE for file in (here / room).glob("*.py") if file.stem not in _OPEN]
    return sorted(f"sim.{name}" for name in (*whole, *_PARTS))


SWITCH = "SERVECAP_PURE"


def form() -> str:
    """``compiled`` or ``pure``: what an import of the hot rooms takes here."""
    spec = importlib.util.find_spec("sim.engine.clock")
    return "pure" if spec is None or (spec.origin or "").endswith(".py") else "compiled"


def pure_is_asked() -> bool:
    """Whether the environment asks for the sources."""
    return os.environ.get(SWITCH, "0") not in ("", "0")


class Sources(importlib.machinery.PathFinder):
    """Finds the sources of the hot rooms where their compiled form stands beside them."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The source file of a hot module; None for every other."""
        if fullname not in compiled_modules():
            return None
        files = [Path(folder) / f"{fullname.rpartition('.')[2]}.py" for folder in path or ()]
        return next((importlib.util.spec_from_file_location(fullname, file) for file in files if file.is_file()), None)


def take_the_sources() -> None:
    """From now on, imports of hot rooms take their sources."""
    sys.meta_path.insert(0, Sources)
