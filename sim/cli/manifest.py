"""``manifest.json``: what a number can be traced back by."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import sim
from sim.cli.scenario import recorded_inputs
from sim.record.result import Result
from sim.workload.source import fingerprint

_PACKAGES = ("servecap", "simpy", "numpy", "scipy", "pandas", "pyarrow", "hydra-core", "pydantic")


def manifest_of(result: Result, digest: str, wall_s: float, cpu_s: float) -> dict[str, Any]:
    """Versions, seed, git revision when there is one, input files, and what the whole job took (seconds)."""
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "git_revision": _git_revision(),
        "seed": result.scenario.seed,
        "digest": digest,
        "inputs": inputs_of(result),
        "left_out": dict(result.left_out),
        "wall_s": wall_s,
        "cpu_s": cpu_s,
    }


def inputs_of(result: Result) -> dict[str, Any]:
    """Name -> SHA-256 and size of every file that the run read. Names tell nothing of the machine: as the user gave them,
    below the folder of the command, or bare."""
    known = {Path(path): mark for path, mark in result.inputs.items()}
    read = known | {path: fingerprint(path) for path in recorded_inputs(result.scenario) if path not in known}
    found: dict[str, Any] = {}
    for path, mark in read.items():
        name, number = bare(path), 1
        while found.get(name, mark) != mark:
            number += 1
            name = f"{bare(path)} ({number})"
        found[name] = mark
    return found


def bare(path: Path) -> str:
    """What ``path`` is called where nothing shall be told of the machine; see ``inputs_of``."""
    if not path.is_absolute():
        return str(path)
    if path.parent == Path(str(resources.files("sim.traces"))):
        return f"packaged/{path.name}"
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git_revision() -> str | None:
    """The revision of the checkout that the code runs from; None for an installed wheel."""
    root = Path(sim.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
