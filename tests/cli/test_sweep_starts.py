"""What is composed before a sweep's first job."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from sim.cli.sweep_axes import telling_jobs
from tests.imports import imported_by

LOADER = SimpleNamespace(get_group_options=lambda group: ["l40s", "h100"] if group == "gpu" else [])
CONTEXT: Any = SimpleNamespace(config_loader=LOADER)


def test_a_sweep_composes_each_preset_and_each_other_key_once() -> None:
    grid = [list(job) for job in product(["gpu=l40s", "gpu=h100"], (f"engine.max_num_seqs={n}" for n in range(250)))]
    assert telling_jobs(grid, CONTEXT) == [["gpu=l40s", "engine.max_num_seqs=0"], ["gpu=h100", "engine.max_num_seqs=0"]]


@pytest.mark.parametrize("sweeper", ["basic", "slo"])
def test_a_word_that_is_wrong_in_one_cell_is_found_before_the_first_job(servecap, tmp_path, sweeper: str) -> None:
    ended = servecap(
        "-m", "gpu=l40s,h100,h1000", "workload.limit=5", f"hydra/sweeper={sweeper}", "hydra/launcher=basic",
        "hydra.sweep.dir=sweep",
    )  # fmt: skip
    assert ended.code == 2
    assert "no preset 'h1000'" in ended.err
    assert not list(tmp_path.glob("sweep/*/job.json"))


def test_plug_ins_weigh_nothing_where_nothing_is_swept() -> None:
    """Hydra loads them all at each command of an installed wheel, `calc` among them."""
    heavy, _ = imported_by(
        "from hydra_plugins.servecap import grid_sweeper, joblib_launcher, optuna_sweeper, slo_sweeper",
        {"scipy", "pandas", "pyarrow", "optuna", "joblib", "sim.engine", "sim.cli.job"},
    )
    assert heavy == set()


def test_calc_imports_no_more_than_its_formulas_need() -> None:
    """Neither numpy, which step times need, nor readers of checkpoints and of servers' lines, nor what jobs run in."""
    heavy, out = imported_by(
        "from sim.cli.main import main; main(['calc', '--json'])",
        {"numpy", "scipy", "pandas", "pyarrow", "simpy", "joblib", "optuna", "rich", "sim.perf.roofline", "sim.perf.hf_config",
         "sim.cli.lines", "sim.cli.job", "sim.engine", "sim.workload"},
    )  # fmt: skip
    assert heavy == set()
    assert '"num_gpu_blocks"' in out
