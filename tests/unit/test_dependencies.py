"""Every package that the code imports is declared, and what CI installs is pinned by hashes and names no registry."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

import sim

ROOT = Path(sim.__file__).parents[1]
PROJECT = (
    tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if (ROOT / "pyproject.toml").is_file()
    else {}
)
CALLED = {
    "yaml": "pyyaml",
    "hydra": "hydra-core",
    "genai_prices": "genai-prices",
    "aiconfigurator_core": "aiconfigurator-core",
}
"""Import name -> distribution, where they differ."""
BROUGHT = {"hydra_plugins": "hydra-core", "pydantic_core": "pydantic", "markupsafe": "jinja2"}
"""Import name -> the declared distribution that always brings it, as part of its own interface."""
OWN = {"sim", "configs", "traces", "tests"}

pytestmark = pytest.mark.skipif(not PROJECT, reason="no checkout")


def distributions(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s<>=!~;\[]", one, maxsplit=1)[0].lower().replace("_", "-") for one in requirements}


def imported(folder: Path) -> dict[str, str]:
    """Top-level package -> a file that imports it."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in names:
                found.setdefault(name.partition(".")[0], str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize(
    ("folder", "extras"), [("sim", ["ray", "slurm", "optuna", "prices", "aic", "web", "formats"]), ("tests", ["dev"])]
)
def test_every_imported_package_is_declared(folder: str, extras: list[str]) -> None:
    optional = PROJECT["optional-dependencies"]
    declared = distributions([*PROJECT["dependencies"], *(one for extra in extras for one in optional.get(extra, []))])
    if folder == "tests":
        declared |= distributions(PROJECT["dependencies"])
    own = OWN | {path.stem for place in ("tests", "experiments") for path in (ROOT / place).rglob("*.py")}
    missing = {
        name: path
        for name, path in imported(ROOT / folder).items()
        if name not in sys.stdlib_module_names
        and name not in own
        and BROUGHT.get(name, CALLED.get(name, name.lower().replace("_", "-"))) not in declared
    }
    assert missing == {}


def test_every_dependency_has_a_lower_bound() -> None:
    stated = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    assert [one for one in stated if not re.search(r">=|==", one) and not one.startswith("servecap[")] == []


def test_the_lock_pins_everything_and_names_no_registry() -> None:
    lock = (ROOT / ".ci" / "locked.txt").read_text(encoding="utf-8")
    assert "://" not in lock
    assert "index" not in lock
    pinned = re.findall(r"^([a-z0-9][\w.-]*)==\S+.*?\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", lock, re.MULTILINE)
    assert {name for name, _ in pinned} == set(re.findall(r"^([a-z0-9][\w.-]*)==", lock, re.MULTILINE))
    needed = distributions([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]])
    assert needed - {"servecap"} <= {name.lower().replace("_", "-") for name, _ in pinned}
