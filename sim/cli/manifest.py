"""``manifest.json``: what a number can be traced back by."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import sim
from sim.record.result import Result

_PACKAGES = ("servecap", "simpy", "numpy", "scipy", "pandas", "pyarrow", "hydra-core", "pydantic")


def manifest_of(result: Result, digest: str, wall_s: float, cpu_s: float) -> dict[str, Any]:
    """Versions, seed, git revision when there is one, input files, and what the whole job took (seconds)."""
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "git_revision": _git_revision(),
        "seed": result.scenario.seed,
        "digest": digest,
        "inputs": dict(result.inputs),
        "left_out": dict(result.left_out),
        "wall_s": wall_s,
        "cpu_s": cpu_s,
    }


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
