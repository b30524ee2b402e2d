"""Sweeps that are killed anywhere, anyhow: nothing is half-written, and the resumed answer is the one without a kill.

Seeded. ``SERVECAP_KILLS=60`` draws sixty kills over the launchers instead of a handful.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

LAUNCHERS = ("basic", "joblib", "submitit_local")
KILLS = int(os.environ.get("SERVECAP_KILLS", "3")) // len(LAUNCHERS)
SWEEP = (
    "sweep", "workload.limit=300", "fleet.replicas=8", "search.solve=none", "output.report=false", "seed=1,2,3",
    "hydra.sweep.dir=sweep",
)  # fmt: skip
TIMED = ("simulation.wall_s", "simulation.cpu_s", "simulation.requests_per_cpu_s")

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def sweep_of(launcher: str) -> tuple[str, ...]:
    at_a_time = ("hydra.launcher.n_jobs=2",) if launcher == "joblib" else ()
    return *SWEEP, f"hydra/launcher={launcher}", *at_a_time


def started(folder: Path, launcher: str) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "sim", *sweep_of(launcher)], cwd=folder, stdout=log, stderr=log, start_new_session=True
        )


def children_of(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
        except (OSError, IndexError):
            continue
    return [*found, *(deeper for child in found for deeper in children_of(child))]


def killed(folder: Path, launcher: str, after_s: float, random_: random.Random) -> int | None:
    """Start the sweep and kill something of it ``after_s``; its exit code, or None when it was over before."""
    process = started(folder, launcher)
    try:
        process.wait(timeout=after_s)
        return None
    except subprocess.TimeoutExpired:
        pass
    how = random_.choice(("command", "group", "child", "interrupt", "terminate"))
    children = children_of(process.pid)
    if how == "group":
        os.killpg(process.pid, signal.SIGKILL)
    elif how == "interrupt":
        os.killpg(process.pid, signal.SIGINT)
    elif how == "child" and children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(random_.choice(children), signal.SIGKILL)
    else:
        process.send_signal(signal.SIGTERM if how == "terminate" else signal.SIGKILL)
    return process.wait(timeout=300)


def check_whole(folder: Path) -> None:
    """Every file that bears its name is whole; a job that says it is done has its results."""
    for path in folder.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    for path in folder.rglob("*.parquet"):
        pd.read_parquet(path)
    for path in folder.glob("*/job.json"):
        if json.loads(path.read_text())["status"] == "done":
            assert (path.parent / "summary.json").exists()


def answer_of(folder: Path) -> tuple[pd.DataFrame, str]:
    table = pd.read_csv(folder / "sweep.csv").drop(columns=list(TIMED))
    return table, (folder / "answer.json").read_text().replace(str(folder), "")


def finished(folder: Path, launcher: str) -> None:
    """Resume until nothing is missing."""
    for _ in range(3):
        if started(folder, launcher).wait(timeout=300) == 0:
            return
    pytest.fail((folder / "log").read_text()[-3000:])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, str]:
    folder = tmp_path_factory.mktemp("whole")
    assert started(folder, "basic").wait(timeout=300) == 0, (folder / "log").read_text()
    return answer_of(folder / "sweep")


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_kills(launcher: str, whole: tuple[pd.DataFrame, str], tmp_path: Path) -> None:
    if launcher == "submitit_local" and find_spec("submitit") is None:
        pytest.skip("submitit is not installed")
    random_ = random.Random(f"kills of {launcher}")
    began_s = time.monotonic()
    finished(tmp_path, launcher)
    lasts_s = time.monotonic() - began_s
    shutil.rmtree(tmp_path / "sweep")
    kills = 0
    while kills < KILLS:
        if killed(tmp_path, launcher, random_.uniform(0.1, 1.0) * lasts_s, random_) is None:
            shutil.rmtree(tmp_path / "sweep")
            continue
        kills += 1
        check_whole(tmp_path / "sweep")
        if random_.random() < 0.5 or kills == KILLS:
            finished(tmp_path, launcher)
            check_whole(tmp_path / "sweep")
            table, answer = answer_of(tmp_path / "sweep")
            pd.testing.assert_frame_equal(table, whole[0])
            assert answer == whole[1]
            shutil.rmtree(tmp_path / "sweep")
    text = (tmp_path / "log").read_text()
    assert "defect of servecap" not in text
