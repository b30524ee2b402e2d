"""Folders: each command has its own, and what is killed never looks finished or mixes with what was there before."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from sim.cli.folder_claim import CLAIM, claim, made_folder

RUN = ("workload.limit=40", "fleet.replicas=1", "output.report=false", "output.timeseries=false")
SWEEP = (*RUN, "-m", "hydra/launcher=basic", "hydra.sweep.dir=sweep", "search.solve=none")

KILLS_ITSELF = """
import os, sys
import sim.report.run_folder as run_folder
written = run_folder.write_json
def write_json(path, data):
    if path.name == "summary.json" and not os.environ.get("AFTER"): os.kill(os.getpid(), 9)
    written(path, data)
    if path.name == "summary.json": os.kill(os.getpid(), 9)
run_folder.write_json = write_json
from sim.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def killed(folder: Path, *argv: str, after: bool) -> None:
    """Run ``argv`` until it kills itself between the two last files of a job."""
    environment = {**os.environ, **({"AFTER": "1"} if after else {})}
    ended = subprocess.run(
        [sys.executable, "-c", KILLS_ITSELF, *argv], cwd=folder, env=environment, capture_output=True, check=False
    )
    assert ended.returncode == -9, ended.stderr


def test_a_folder_is_made_by_one_caller_only(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: made_folder(tmp_path / "a" / "now"), range(24)))
    assert len(set(made)) == 24
    assert {path.name for path in made} == {"now", *(f"now-{n}" for n in range(2, 25))}


@pytest.mark.parametrize("sweep", [False, True])
def test_two_commands_of_one_second_have_two_folders(servecap, tmp_path: Path, sweep: bool) -> None:
    kind = "multirun" if sweep else "outputs"
    for seconds in range(60):
        taken = datetime.now() + timedelta(seconds=seconds)
        folder = tmp_path / kind / f"{taken:%Y-%m-%d}" / f"{taken:%H-%M-%S}"
        folder.mkdir(parents=True)
    argv = [*RUN, *(["-m", "hydra/launcher=basic", "search.solve=none", "seed=1,2"] if sweep else [])]
    ended = servecap(*argv)
    assert ended.code in (0, 3), ended.err
    filled = {path.parent for path in (tmp_path / kind).rglob("summary.json")}
    assert {(path.parent if sweep else path).name[-2:] for path in filled} == {"-2"}
    assert len(filled) == (2 if sweep else 1)


Claim = dict[str, object]


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        pytest.param(lambda mine: mine | {"pid": os.getppid(), "started": None}, True, id="lives"),
        pytest.param(lambda mine: mine | {"pid": os.getppid(), "started": "a while ago"}, False, id="number_given_again"),
        pytest.param(lambda mine: mine | {"pid": 2**22 + 1}, False, id="dead"),
        pytest.param(lambda mine: mine | {"host": "elsewhere"}, True, id="another_host"),
        pytest.param(lambda mine: {}, False, id="no_claim"),
    ],
)
@pytest.mark.parametrize("argv", [[*RUN, "hydra.run.dir=sweep"], [*SWEEP, "seed=1,2"]], ids=["run", "sweep"])
def test_a_folder_in_use_is_refused_and_a_dead_claim_is_void(
    servecap, tmp_path: Path, argv: list[str], change: Callable[[Claim], Claim], refused: bool
) -> None:
    claim(tmp_path / "sweep")
    path = tmp_path / "sweep" / CLAIM
    mine = json.loads(path.read_text())
    assert mine["host"] == platform.node()
    path.write_text(json.dumps(change(mine)))
    ended = servecap(*argv)
    if refused:
        assert (ended.code, CLAIM in ended.message) == (2, True)
        assert [found.name for found in path.parent.iterdir()] == [CLAIM]  # nothing was written
    else:
        assert ended.code in (0, 3), ended.err
        assert not path.exists()


@pytest.mark.parametrize("after", [False, True], ids=["before_the_summary", "after_the_summary"])
def test_a_killed_rerun_leaves_nothing_of_the_earlier_run(servecap, tmp_path: Path, after: bool) -> None:
    assert servecap(*RUN, "hydra.run.dir=run", "seed=1", "output.timeseries=true").code == 0
    killed(tmp_path, *RUN, "hydra.run.dir=run", "seed=2", after=after)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert "timeseries.parquet" not in left
    assert ("summary.json" in left) == after
    assert "seed: 2" in (tmp_path / "run" / "config.yaml").read_text()
    assert servecap(*RUN, "hydra.run.dir=run", "seed=3").code == 0
    assert "seed: 3" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.parametrize("after", [False, True], ids=["before_the_summary", "after_the_summary"])
def test_a_killed_sweep_never_answers_with_an_earlier_one(servecap, tmp_path: Path, after: bool) -> None:
    servecap(*SWEEP, "seed=1,2", "workload.limit=20")
    killed(tmp_path, *SWEEP, "seed=1,2", after=after)
    assert not (tmp_path / "sweep" / "0" / "job.json").exists()
    resumed = servecap(*SWEEP, "seed=1,2")
    assert resumed.code in (0, 3)
    fresh = servecap(*SWEEP[:-2], "hydra.sweep.dir=fresh", "search.solve=none", "seed=1,2")
    assert fresh.code == resumed.code
    wall = ["simulation.wall_s", "simulation.cpu_s", "simulation.requests_per_cpu_s"]
    tables = [pd.read_csv(tmp_path / name / "sweep.csv").drop(columns=wall) for name in ("sweep", "fresh")]
    pd.testing.assert_frame_equal(*tables)


def test_bad_input_leaves_an_earlier_run_as_it_was(servecap, tmp_path: Path) -> None:
    assert servecap(*RUN, "hydra.run.dir=run").code == 0
    before = (tmp_path / "run" / "summary.json").read_bytes()
    assert servecap(*RUN, "hydra.run.dir=run", "workload.path=missing.csv").code == 2
    assert (tmp_path / "run" / "summary.json").read_bytes() == before
