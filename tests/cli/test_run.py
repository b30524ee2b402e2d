"""One run: its folder, and that the same question gets the same answer."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sim.cli.main import VERBS
from sim.record.result import REQUEST_COLUMNS, TIMESERIES_COLUMNS
from sim.spec import parse_scenario
from tests.cli.conftest import SMALL

FILES = {
    "config.yaml", "manifest.json", "summary.json", "requests.parquet", "timeseries.parquet", "events.jsonl", "cost.json",
    "report.html",
}  # fmt: skip


def test_a_run_leaves_its_folder(servecap, tmp_path: Path) -> None:
    ended = servecap(*SMALL, "fleet.replicas=3", "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    folder = tmp_path / "run"
    assert FILES.issubset({path.name for path in folder.iterdir()})
    assert "pass" in ended.out and str(folder) in ended.out
    summary = json.loads((folder / "summary.json").read_text())
    requests = pd.read_parquet(folder / "requests.parquet")
    assert list(requests.columns) == list(REQUEST_COLUMNS)
    assert list(pd.read_parquet(folder / "timeseries.parquet").columns) == list(TIMESERIES_COLUMNS)
    counts = summary["requests"]
    assert counts["offered"] == len(requests) == sum(counts[name] for name in counts if name != "offered")
    scenario = parse_scenario(yaml.safe_load((folder / "config.yaml").read_text()))
    assert scenario.fleet.replicas == 3 and scenario.workload.rate_scale == 2.0
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {"versions", "seed", "inputs", "wall_s", "cpu_s", "git_revision"} <= set(manifest)
    (recorded,) = manifest["inputs"].values()
    assert len(recorded["sha256"]) == 64 and recorded["bytes"] > 0


def test_the_same_question_gets_the_same_bytes(servecap, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert servecap(*SMALL, "output.report=false", f"hydra.run.dir={name}").code == 0
    for file in ("requests.parquet", "timeseries.parquet", "events.jsonl", "cost.json", "config.yaml"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_output_switches_leave_files_out(servecap, tmp_path: Path) -> None:
    switches = ("output.requests=false", "output.timeseries=false", "output.report=false", "output.steps=true")
    assert servecap("run", *SMALL, *switches, "hydra.run.dir=run").code == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert "steps.parquet" in names
    assert names.isdisjoint({"requests.parquet", "timeseries.parquet", "report.html"})


def test_hydra_habits_work(servecap, tmp_path: Path) -> None:
    shown = servecap("--cfg", "job", "engine.max_num_seqs=48")
    assert shown.code == 0
    assert yaml.safe_load(shown.out)["engine"]["max_num_seqs"] == 48
    assert servecap("--cfg", "job", "--resolve").code == 0
    helped = servecap("--help")
    assert helped.code == 0
    for group in ("gpu:", "model:", "workload:", "slo:", *VERBS):
        assert group in helped.out
    assert list(tmp_path.iterdir()) == []


def test_a_config_dir_of_the_user_is_searched_first(servecap, tmp_path: Path) -> None:
    (tmp_path / "mine" / "gpu").mkdir(parents=True)
    (tmp_path / "mine" / "gpu" / "mine.yaml").write_text("defaults: [l40s]\nprice: {on_demand_usd_per_hour: 9.5}\n")
    shown = servecap("--config-dir", "mine", "gpu=mine", "--cfg", "job")
    assert shown.code == 0, shown.err
    assert yaml.safe_load(shown.out)["gpu"]["price"]["on_demand_usd_per_hour"] == 9.5


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_exists(verb: str) -> None:
    import importlib

    module, _, function = VERBS[verb][0].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_capacity_finds_a_load_that_holds_and_reproduces(servecap, tmp_path: Path) -> None:
    ended = servecap("capacity", *SMALL, "search.load_tolerance=0.1", "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    assert "highest load within the SLO" in ended.out
    solved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    points = pd.read_csv(tmp_path / "run" / "search.csv")
    best = solved["workload"]["rate_scale"]
    held = points[points["verdict"] == "pass"]["rate_scale"].max()
    failed = points[points["verdict"] != "pass"]["rate_scale"].min()
    assert best == pytest.approx(held) and best < failed <= best * 1.1 * (1 + 1e-9)
    again = servecap(*SMALL, f"workload.rate_scale={best!r}", "hydra.run.dir=again")
    assert again.code == 0
    first, second = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("run", "again"))
    assert first["latency"] == second["latency"]
