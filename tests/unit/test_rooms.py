"""The house keeps its order: a room imports only from rooms below it, and clocks and configuration stay at their doors."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sim

ROOT = Path(sim.__file__).parent
ROOMS = [
    {"columns", "errors", "forms", "units", "rng", "watch"}, {"plugins"}, {"spec"}, {"cost"}, {"measured"}, {"workload"}, {"perf"}, {"presets"}, {"record"},
    {"links"}, {"engine"}, {"tiers"}, {"fleet"}, {"gateway"}, {"analysis"},
    {"run"}, {"search"}, {"trust"}, {"decision"}, {"report"}, {"library"}, {"cli"}, {"mock"}, {"explore"},
]  # fmt: skip
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
FILES = sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import in a file; ``from sim import x`` counts as ``sim.x``."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            names = [f"sim.{alias.name}" for alias in node.names] if module == "sim" else [module]
            found += [(node.lineno, name) for name in names]
    return found


def room_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def test_every_room_has_its_place_in_the_order() -> None:
    rooms = {room_of(path) for path in FILES} - {"__init__", "__main__"}
    assert rooms == set(LEVEL)


@pytest.mark.parametrize("room", [room for rooms in ROOMS for room in sorted(rooms)])
def test_a_room_imports_only_from_rooms_before_it(room: str) -> None:
    breaches = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in FILES
        if room_of(path) == room
        for line, module in imports(path)
        if module.startswith("sim.") and LEVEL[module.split(".")[1]] > LEVEL[room]
    ]
    assert breaches == []


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("sim", *parts)).removesuffix(".__init__")


def test_no_import_runs_in_a_circle() -> None:
    """File by file, in every room; imports for the sake of types alone count too, so nobody knows who uses it."""
    modules = {module_of(path): path for path in FILES}
    graph = {name: files_imported(path, modules) - {name} for name, path in modules.items()}
    list(TopologicalSorter(graph).static_order())  # a CycleError names the circle


def files_imported(path: Path, modules: dict[str, Path]) -> set[str]:
    """Modules of the house that a file imports, ``from sim.room import file`` resolved to the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in modules else str(node.module) for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(modules)


def test_the_ground_floor_imports_no_room() -> None:
    for name in ROOMS[0]:
        assert [module for _, module in imports(ROOT / f"{name}.py") if module.startswith("sim")] == []


@pytest.mark.parametrize(
    ("packages", "rooms"),
    [
        pytest.param({"simpy"}, {"engine", "fleet", "gateway", "run"}, id="simpy_where_time_passes"),
        pytest.param({"hydra", "omegaconf", "hydra_plugins"}, {"cli"}, id="hydra_at_the_door"),
    ],
)
def test_a_package_stays_in_its_rooms(packages: set[str], rooms: set[str]) -> None:
    breaches = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in FILES
        if room_of(path) not in rooms
        for line, module in imports(path)
        if module.split(".")[0] in packages
    ]
    assert breaches == []


def test_plain_code_of_the_engine_has_no_clock() -> None:
    """Scheduler, block pool and routers are plain code: SimPy shows only in the files that wait."""
    for path in ("engine/scheduler.py", "engine/books.py", "engine/block_pool.py", "gateway/routers.py"):
        assert "simpy" not in {module.split(".")[0] for _, module in imports(ROOT / path)}


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
