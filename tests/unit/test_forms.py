"""One source, two forms: what the compiler is given, and how the sources are asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sim
from sim.forms import SWITCH, Sources, compiled_modules, form

ROOT = Path(sim.__file__).parents[1]


def test_what_is_compiled_exists_and_is_named_once() -> None:
    modules = compiled_modules()
    assert modules == sorted(set(modules))
    assert {"sim.engine.scheduler", "sim.gateway.dispatch", "sim.record.recorder"} <= set(modules)
    for name in modules:
        assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), name


def test_an_editable_install_is_pure_and_holds_no_compiled_file() -> None:
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("this is an installed wheel")
    assert form() == "pure"
    assert [path for path in (ROOT / "sim").rglob("*") if path.suffix in (".so", ".pyd")] == []


def test_the_switch_takes_a_source_that_has_a_compiled_form_beside_it(tmp_path: Path) -> None:
    name = compiled_modules()[0]
    last = name.rpartition(".")[2]
    (tmp_path / f"{last}.so").write_bytes(b"no library")
    (tmp_path / f"{last}.py").write_text("")
    found = Sources.find_spec(name, [str(tmp_path)])
    assert found is not None
    assert found.origin == str(tmp_path / f"{last}.py")
    assert Sources.find_spec("sim.errors", [str(tmp_path)]) is None


@pytest.mark.parametrize(("value", "asked"), [("1", True), ("0", False), ("", False)])
def test_the_version_says_the_form(value: str, asked: bool) -> None:
    code = "import sys, sim.cli.main as m; from sim.forms import Sources; print(Sources in sys.meta_path); m.main(['--version'])"
    environment = {**os.environ, SWITCH: value}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    first, version = ran.stdout.splitlines()
    assert first == str(asked)
    assert version.startswith("servecap ")
    assert version.endswith(f"({'pure' if asked else form()})")
