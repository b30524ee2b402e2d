"""The wheel carries code, configs and the default trace: installed, it runs from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_SOURCE = shutil.ignore_patterns(
    ".git",
    "build",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    ".venv",
    "tests",
    "multirun",
    "outputs",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCE, symlinks=True)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(folder / "source")]
    pure = os.environ | {"SERVECAP_PURE": "1"}  # what it holds does not depend on the form; the compiled one takes minutes
    built = subprocess.run(pip, capture_output=True, text=True, timeout=300, check=False, env=pure)
    if built.returncode and "No matching distribution" in built.stderr:
        pytest.skip("no package index to fetch setuptools from")
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("servecap-*.whl")
    return found


def test_the_wheel_holds_what_a_run_needs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"sim/configs/config.yaml", "sim/traces/chat_synthetic.parquet", "hydra_plugins/servecap/slo_sweeper.py"} <= names
    presets = {path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"sim/configs/{preset}" for preset in presets} <= names
    assert {
        "sim/configs/REFERENCE.md",
        "sim/guide/README.md",
        "sim/guide/concepts.md",
        "sim/cli/front/servecap.zsh",
    } <= names
    files = [path for path in (ROOT / "sim").rglob("*") if path.suffix in (".json", ".csv", ".css")]
    assert {path.relative_to(ROOT).as_posix() for path in files} <= names


def test_the_installed_wheel_runs_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import sim.cli.main as m; "
        "assert m.__file__.startswith(sys.path[0]), m.__file__; sys.exit(m.main())"
    )
    run = [sys.executable, "-c", code, str(site), "-m", "workload.limit=300", "workload.rate_scale=1"]
    settings = ["engine.max_num_seqs=32,64", "hydra/launcher=basic", "hydra/sweeper=slo", "hydra.sweep.dir=sweep"]
    ended = subprocess.run(
        [*run, *settings], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False, env=dict(os.environ)
    )
    assert ended.returncode == 0, ended.stderr
    assert "Cheapest within the SLO" in ended.stdout.splitlines()[-1]
    assert (tmp_path / "sweep" / "answer.json").is_file()
