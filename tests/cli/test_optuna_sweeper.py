"""Optuna proposes, our jobs answer: trial n is job n, and going on overwrites nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

optuna = pytest.importorskip("optuna")

SWEEP = (
    "sweep", "workload.limit=30", "search.solve=none", "fleet.replicas=2", "output.report=false", "hydra/launcher=basic",
    "hydra/sweeper=optuna", "engine.max_num_seqs=range(16,129,16)", "engine.gpu_memory_utilization=interval(0.5,0.9)",
)  # fmt: skip


def rows(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "sweep.csv")
    return table[["job", "overrides", "status", "cost.usd_per_1m_output_tokens"]]


def test_an_interrupted_sweep_goes_on_as_if_it_had_not_been(servecap, tmp_path: Path) -> None:
    assert servecap(*SWEEP, "hydra.sweeper.n_trials=5", "hydra.sweep.dir=whole").code == 0
    assert servecap(*SWEEP, "hydra.sweeper.n_trials=3", "hydra.sweep.dir=cut").code == 0
    finished = (tmp_path / "cut" / "1" / "summary.json").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "cut" / "2")
    assert servecap(*SWEEP, "hydra.sweeper.n_trials=5", "hydra.sweep.dir=cut").code == 0
    pd.testing.assert_frame_equal(rows(tmp_path / "cut"), rows(tmp_path / "whole"))
    assert (tmp_path / "cut" / "1" / "summary.json").stat().st_mtime_ns == finished
    caps = rows(tmp_path / "whole")["overrides"].str.extract(r"max_num_seqs=(\d+)")[0].astype(int)
    assert caps.isin(range(16, 129, 16)).all()
    assert caps.nunique() > 1


def test_a_stored_study_and_the_folder_hold_the_same_jobs(servecap, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    argv = (*SWEEP, f"hydra.sweeper.storage={storage}", "hydra.sweeper.study_name=ours", "hydra.sweep.dir=sweep")
    assert servecap(*argv, "hydra.sweeper.n_trials=2").code == 0
    # Seeded: one draw in a few leaves too little memory for the model, and such a job has no cost to compare.
    study = optuna.load_study(study_name="ours", storage=storage, sampler=optuna.samplers.RandomSampler(seed=1))
    left = study.ask(study.trials[0].distributions)  # as a killed sweep leaves it
    assert servecap(*argv, "hydra.sweeper.n_trials=4").code == 0
    trials = optuna.load_study(study_name="ours", storage=storage).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    table = rows(tmp_path / "sweep")
    assert list(table["job"]) == [0, 1, 2, 3]
    assert f"engine.max_num_seqs={left.params['engine.max_num_seqs']} " in table["overrides"][2] + " "
    assert list(table["cost.usd_per_1m_output_tokens"]) == [trial.value for trial in trials]


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (["hydra.sweeper.n_trials=0"], ["n_trials", "0"]),
        (["hydra.sweeper.sampler=best"], ["sampler", "tpe", "best"]),
        (["hydra.sweeper.seed=-1"], ["seed", "-1"]),
        (["hydra.sweeper.storage=nowhere://x"], ["storage", "nowhere"]),
        (["engine.gpu_memory_utilization=tag(log,interval(0,1))"], ["engine.gpu_memory_utilization", "log"]),
    ],
)
def test_what_makes_no_sense(servecap, axes: list[str], words: list[str]) -> None:
    ended = servecap(*SWEEP, *axes)
    assert ended.code == 2
    for word in words:
        assert word in ended.message


def test_without_an_axis(servecap) -> None:
    ended = servecap("sweep", "hydra/sweeper=optuna", "hydra/launcher=basic", "workload.limit=5")
    assert (ended.code, "no axis" in ended.message) == (2, True)
