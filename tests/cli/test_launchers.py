"""What runs the jobs of a sweep may be killed, or fail by itself: one job is lost at most, and nothing goes on unseen."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from sim.cli.submitted_jobs import end_submitted

SWEEP = (
    "sweep", "workload.limit=1500", "search.solve=none", "fleet.replicas=8", "output.report=false", "hydra/launcher=joblib",
    "hydra.sweep.dir=sweep", "seed=1,2,3,4",
)  # fmt: skip

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def started(folder: Path, *argv: str) -> subprocess.Popen[str]:
    """As a terminal starts it: what a shell puts into the background would be deaf to Ctrl-C, and so are its children."""
    return subprocess.Popen(
        [sys.executable, "-m", "sim", *argv], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  no threads
    )  # fmt: skip


def workers_of(parent: int) -> list[int]:
    """The processes that run jobs for ``parent``."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            ppid = int(stat.read_text().rpartition(")")[2].split()[1])
            command = stat.with_name("cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if ppid == parent and b"loky" in command and b"tracker" not in command:
            found.append(int(stat.parent.name))
    return found


def a_job_runs(folder: Path) -> bool:
    return any(not (job.parent / "job.json").exists() for job in folder.glob("sweep/[0-9]*/.hydra"))


def soon(condition, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)


def test_a_killed_worker_loses_its_job_only(servecap, tmp_path: Path) -> None:
    process = started(tmp_path, *SWEEP, "hydra.launcher.n_jobs=1")
    soon(lambda: a_job_runs(tmp_path))
    (worker,) = workers_of(process.pid)
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert re.search(r"job \d.*its process ended before it \(SIGKILL", out)
    assert "The same command with hydra.sweep.dir=" in out
    table = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert sorted(table["status"]) == ["crashed", "done", "done", "done"]
    assert servecap(*SWEEP[:-1], "seed=1,2,3,4").code == 0
    assert list(pd.read_csv(tmp_path / "sweep" / "sweep.csv")["status"]) == ["done"] * 4


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_parent_leaves_no_orphans(tmp_path: Path, how: signal.Signals) -> None:
    process = started(tmp_path, *SWEEP, "hydra.launcher.n_jobs=2")
    soon(lambda: a_job_runs(tmp_path))
    workers = workers_of(process.pid)
    assert workers
    process.send_signal(how)
    process.communicate(timeout=60)
    soon(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), timeout_s=20)


def test_ctrl_c_ends_the_workers_and_names_the_resume(tmp_path: Path) -> None:
    process = started(tmp_path, *SWEEP, "hydra.launcher.n_jobs=2")
    soon(lambda: any(tmp_path.glob("sweep/*/job.json")))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "The same command with hydra.sweep.dir=" in out
    assert not workers_of(process.pid)


@pytest.mark.parametrize("present", [True, False])
def test_an_interrupted_slurm_array_is_cancelled_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: bool
) -> None:
    for name in ("812_0", "812_1", "911_0", "logs"):
        (tmp_path / ".submitit" / name).mkdir(parents=True)
    os.utime(tmp_path / ".submitit" / "911_0", (0, 0))  # of an earlier command
    if present:
        (tmp_path / "scancel").write_text('#!/bin/sh\necho "$@" > "$(dirname "$0")/cancelled"\n')
        (tmp_path / "scancel").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin" if present else str(tmp_path))
    note = end_submitted(tmp_path, "SlurmLauncher", since_s=1.0)
    assert "812" in note
    assert "911" not in note
    if present:
        assert (tmp_path / "cancelled").read_text().split() == ["812"]
    else:
        assert "scancel 812" in note


@pytest.mark.parametrize(("n_jobs", "word"), [("0", "0"), ("many", "many")])
def test_a_number_of_processes_that_is_none(servecap, n_jobs: str, word: str) -> None:
    ended = servecap("sweep", "seed=1,2", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={n_jobs}", "workload.limit=5")
    assert (ended.code, word in ended.message) == (2, True)


@pytest.mark.parametrize(("launcher", "extra"), [("ray", "ray"), ("submitit_slurm", "slurm")])
def test_a_launcher_that_is_not_installed_says_what_to_install(servecap, launcher: str, extra: str) -> None:
    from hydra.core.config_store import ConfigStore

    if f"{launcher}.yaml" in ConfigStore.instance().list("hydra/launcher"):
        pytest.skip(f"{launcher} is installed")
    ended = servecap("sweep", "seed=1,2", f"hydra/launcher={launcher}", "workload.limit=5")
    assert (ended.code, f"servecap[{extra}]" in ended.message) == (2, True)
