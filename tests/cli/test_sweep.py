"""A sweep: what it writes, that a failing cell hides no other, and that it resumes where it was interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sim.cli.job
import sim.cli.sweep
from sim.cli.job import how_to_solve
from sim.cli.scenario import digest_of
from sim.search import solve
from sim.spec import parse_scenario
from tests.cli.conftest import FAST, SMALL
from tests.conftest import L40S, LLAMA3_8B

SWEEP = (*SMALL, *FAST, "hydra.sweep.dir=sweep")


def answer_in(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "answer.json").read_text())
    return loaded


def answer(tmp_path: Path) -> dict[str, Any]:
    return answer_in(tmp_path / "sweep")


def test_a_sweep_sizes_the_fleet_for_each_cap(servecap, tmp_path: Path) -> None:
    ended = servecap("-m", "engine.max_num_seqs=8,128", *SWEEP, "slo.ttft_p95_s=1.5")
    assert ended.code == 0, ended.err
    folder = tmp_path / "sweep"
    found = answer(tmp_path)
    rows = pd.read_csv(folder / "sweep.csv")
    assert found["feasible"] and list(rows["job"]) == [0, 1] and list(rows["max_num_seqs"]) == [8, 128]
    assert rows["replicas"][0] > rows["replicas"][1]
    best = rows.loc[rows["cost.window.usd_per_1m_output_tokens"].idxmin()]
    assert found["best"]["job"] == best["job"] and found["best"]["replicas"] == best["replicas"]
    assert ended.out.rstrip().splitlines()[-1].startswith("Cheapest within the SLO")
    assert (folder / "frontier.html").stat().st_size < 1_500_000
    assert all("Price of l40s: $" in (folder / name).read_text() for name in ("frontier.html", "answer.md"))
    for job in (0, 1):
        points = pd.read_csv(folder / str(job) / "search.csv")
        winner = rows["replicas"][job]
        assert points[points["replicas"] == winner]["verdict"].tolist() == ["pass"]
        if winner > 1:
            assert "pass" not in points[points["replicas"] == winner - 1]["verdict"].tolist()
    big = {"requests.parquet", "timeseries.parquet", "report.html"}
    assert big <= {path.name for path in (folder / str(found["best"]["job"])).iterdir()}
    assert big.isdisjoint({path.name for path in (folder / str(1 - found["best"]["job"])).iterdir()})
    assert found["evaluated"] == sum(len(pd.read_csv(folder / str(job) / "search.csv")) for job in (0, 1))


def test_the_answer_reproduces(servecap, tmp_path: Path) -> None:
    assert servecap("-m", "engine.max_num_seqs=64", *SWEEP).code == 0
    best = answer(tmp_path)["best"]
    assert servecap(*best["overrides"], "hydra.run.dir=again").code == 0
    summary = json.loads((tmp_path / "again" / "summary.json").read_text())
    for metric in ("ttft", "tpot", "e2e"):
        assert summary["latency"][f"{metric}_s"]["p95"] == best[f"{metric}_p95_s"]
    assert summary["cost"]["window"]["usd_per_1m_output_tokens"] == best["usd_per_1m_output_tokens"]


def test_a_cell_that_does_not_fit_is_a_row_with_its_reason(servecap, tmp_path: Path) -> None:
    ended = servecap("-m", "model=llama3_70b,llama3_8b", *SWEEP)
    assert ended.code == 0, ended.err
    rows = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert list(rows["status"]) == ["cannot_run", "done"]
    assert "GiB" in rows["reason"][0] and "GiB" in ended.out
    assert answer(tmp_path)["best"]["job"] == 1


def test_no_cell_that_can_run_is_bad_input(servecap, tmp_path: Path) -> None:
    ended = servecap("-m", "model=llama3_70b,llama2_70b", *SWEEP)
    assert ended.code == 2
    assert answer(tmp_path) == {
        "feasible": False, "best": None, "confidence": None, "evaluated": 0, "cheaper_rejected": [],
        "against_api": [], "pareto": [], "left_out": {},
    }  # fmt: skip


def test_nothing_meets_the_slo(servecap, tmp_path: Path) -> None:
    ended = servecap("-m", "engine.max_num_seqs=16,64", *SWEEP, "slo.tpot_p95_s=0.002")
    assert ended.code == 3
    found = answer(tmp_path)
    assert found["feasible"] is False and found["best"]["tpot_p95_s"] > 0.002
    assert "nearest miss" in ended.out.splitlines()[-1]


def test_a_crashing_job_hides_no_other(servecap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(scenario, how, evaluate):
        if scenario.engine.max_num_seqs == 16:
            raise RuntimeError("a defect")
        return solve(scenario, how, evaluate)

    monkeypatch.setattr(sim.cli.job, "solve", broken)
    ended = servecap("-m", "engine.max_num_seqs=16,64", *SWEEP)
    assert ended.code == 1
    assert "a defect" in ended.err and "a defect" in ended.out
    assert answer(tmp_path)["best"]["job"] == 1


def test_an_interrupted_sweep_keeps_what_is_finished_and_resumes(
    servecap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []

    def interrupted(scenario, how, evaluate):
        asked.append(scenario.engine.max_num_seqs)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return solve(scenario, how, evaluate)

    monkeypatch.setattr(sim.cli.job, "solve", interrupted)
    ended = servecap("-m", "engine.max_num_seqs=32,64,128", *SWEEP)
    assert ended.code == 130 and "1 finished jobs are kept" in ended.out
    assert answer(tmp_path)["best"]["job"] == 0
    assert len(pd.read_csv(tmp_path / "sweep" / "sweep.csv")) == 1
    again = servecap("-m", "engine.max_num_seqs=32,64,128", *SWEEP)
    assert again.code == 0
    assert asked == [32, 64, 64, 128]
    changed = servecap("-m", "engine.max_num_seqs=32,64,128", *SWEEP, "seed=1")
    assert changed.code == 0 and asked == [32, 64, 64, 128, 32, 64, 128]


def test_a_changed_input_file_is_a_changed_job(servecap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "mine.csv"
    asked: list[str] = []

    def counted(scenario, how, evaluate):
        asked.append(trace.read_text())
        return solve(scenario, how, evaluate)

    monkeypatch.setattr(sim.cli.job, "solve", counted)
    rows = "".join(f"{0.5 * i},100,20\n" for i in range(60))
    for text in (rows, rows, rows + "30.5,100,20\n"):
        trace.write_text("arrival_s,input_tokens,output_tokens\n" + text)
        assert servecap("-m", "workload.path=mine.csv", *FAST, "hydra.sweep.dir=sweep").code == 0
    assert len(asked) == 2


@pytest.mark.parametrize("later", [["engine.max_num_seqs=16"], ["engine.max_num_seqs=32", "workload.limit=90"]])
def test_jobs_of_an_earlier_sweep_in_the_folder_have_no_say(servecap, tmp_path: Path, later: list[str]) -> None:
    common = ("-m", *FAST, "workload.limit=100", "hydra.sweep.dir=sweep")
    servecap(*common, "engine.max_num_seqs=32,64")
    ended = servecap(*common[:-2], *later, common[-1])
    rows = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert [later[0] in overrides.split() for overrides in rows["overrides"]] == [True]
    answer = json.loads((tmp_path / "sweep" / "answer.json").read_text())
    assert answer["best"]["job"] == 0
    assert (tmp_path / "sweep" / "1" / "job.json").exists()
    assert servecap("report", "sweep").code == ended.code


def test_a_sweep_of_one_cell_names_no_axis(servecap) -> None:
    ended = servecap("-m", "hydra/launcher=basic", "search.max_replicas=1", "workload.limit=60", "hydra.sweep.dir=sweep")
    assert ended.code == 3
    assert "on 1 x l40s: " in ended.out.splitlines()[-1]


def test_losers_keep_only_the_files_that_were_asked_for(servecap, tmp_path: Path) -> None:
    servecap("-m", *FAST, "workload.limit=60", "++fleet.replicas=2,4", "output.steps=true", "output.report=false",
             "gateway.users={kind: closed, users: 4}", "hydra.sweep.dir=sweep")  # fmt: skip
    outcomes = [json.loads((tmp_path / "sweep" / job / "job.json").read_text()) for job in "01"]
    assert [outcome["solve"] for outcome in outcomes] == ["none", "none"]
    best = json.loads((tmp_path / "sweep" / "answer.json").read_text())["best"]["job"]
    loser = tmp_path / "sweep" / str(1 - best)
    assert (loser / "steps.parquet").exists()
    assert not (loser / "requests.parquet").exists()
    assert not (loser / "report.html").exists()


@pytest.mark.parametrize("key", ["workload.path", "engine.step_time_file", "spot.hazard.paths.a"])
def test_every_file_that_a_run_reads_is_part_of_the_digest(tmp_path: Path, key: str) -> None:
    path, trace = tmp_path / "input", tmp_path / "trace.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,1,1\n")
    kind = {"hazard": {"kind": "trace", "paths": {"a": str(path)}}}
    rest = {"engine": {"step_time_file": str(path)}} if key.startswith("engine") else {"spot": kind}
    scenario = parse_scenario({"model": LLAMA3_8B, "gpu": L40S, "workload": {"path": str(trace)}, **rest})
    digests = set()
    for text in ("0", "1", "1"):
        path.write_text(text)
        if key == "workload.path":
            trace.write_text(f"arrival_s,input_tokens,output_tokens\n{text},1,1\n")
        digests.add(digest_of(scenario))
    assert len(digests) == 2


def test_an_answer_that_cannot_be_written_is_told_by_the_exit_code(servecap, tmp_path: Path) -> None:
    (tmp_path / "sweep" / "answer.json").mkdir(parents=True)
    ended = servecap("-m", "engine.max_num_seqs=64", *SWEEP)
    assert ended.code == 2 and "answer.json" in ended.message
    (tmp_path / "sweep" / "answer.json").rmdir()
    assert servecap("report", "sweep").code == 0 and answer(tmp_path)["feasible"]


def test_a_defect_while_writing_the_answer_is_told_by_the_exit_code(
    servecap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(sim.cli.sweep, "decide", broken)
    ended = servecap("-m", "engine.max_num_seqs=64", *SWEEP)
    assert ended.code == 1 and "a defect" in ended.err
    assert (tmp_path / "sweep" / "0" / "job.json").exists()


def test_a_sweep_over_replicas_searches_nothing(servecap, tmp_path: Path) -> None:
    assert servecap("-m", "fleet.replicas=1,3", *SWEEP).code == 0
    rows = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    assert list(rows["replicas"]) == [1, 3] and set(rows["solve"]) == {"none"}
    assert not (tmp_path / "sweep" / "0" / "search.csv").exists()


def test_an_experiment_can_be_a_sweep_by_itself(servecap, tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "knee.yaml").write_text(
        "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {engine.max_num_seqs: '32,64'}}}\n"
    )
    assert servecap("--config-dir", "mine", "experiment=knee", *SWEEP).code == 0
    best = answer(tmp_path)["best"]
    assert "experiment=knee" in best["overrides"]
    assert servecap("--config-dir", "mine", *best["overrides"], "hydra.run.dir=again").code == 0
    assert (tmp_path / "again" / "summary.json").exists()


def test_size_refines_the_caps_around_the_best(servecap, tmp_path: Path) -> None:
    ended = servecap("size", "engine.max_num_seqs=16,64", *SWEEP)
    assert ended.code == 0, ended.err
    rows = pd.read_csv(tmp_path / "sweep" / "sweep.csv")
    best = {16: [32, 48], 64: [32, 48]}
    assert list(rows["max_num_seqs"]) == [16, 64, *best[64]]
    assert set(rows["solve"]) == {"replicas"}


def test_the_adaptive_sweeper_finds_what_the_grid_finds_with_fewer_steps(servecap, tmp_path: Path) -> None:
    axes = ("engine.max_num_seqs=16,64,128,256", "gpu=l40s,a100_80", *SMALL, *FAST)
    assert servecap("-m", *axes, "hydra.sweep.dir=sweep").code == 0
    grid = answer(tmp_path)
    ended = servecap("-m", *axes, "hydra/sweeper=slo", "hydra.sweep.dir=walk")
    assert ended.code == 0, ended.err
    walk = json.loads((tmp_path / "walk" / "answer.json").read_text())
    assert walk["best"]["usd_per_1m_output_tokens"] <= grid["best"]["usd_per_1m_output_tokens"] * 1.005
    assert walk["evaluated"] < grid["evaluated"]
    assert not any("max_usd_per_hour" in override for override in walk["best"]["overrides"])


def test_the_answer_says_how_sure_it_is(servecap, tmp_path: Path) -> None:
    short = servecap("-m", "engine.max_num_seqs=64", *SWEEP)
    assert short.code == 0 and "too few for a claim" in short.out
    confidence = answer(tmp_path)["confidence"]
    assert confidence["meets_slo"] is None and confidence["needs_s"] > 40
    long = ["workload.duration_s=600", "hydra.sweep.dir=long"]
    assert servecap("-m", "engine.max_num_seqs=64", *SWEEP, *long).code == 0
    found = json.loads((tmp_path / "long" / "answer.json").read_text())
    confidence = found["confidence"]
    assert confidence["level"] == 0.95
    low, high = confidence["intervals"]["ttft_p95_s"]
    assert low <= found["best"]["ttft_p95_s"] <= high
    assert confidence["meets_slo"] is (high <= 2.0 and confidence["intervals"]["tpot_p95_s"][1] <= 0.1)


def test_a_budget_bounds_the_fleet(servecap, tmp_path: Path) -> None:
    rich = servecap("-m", "engine.max_num_seqs=16", *SWEEP)
    assert rich.code == 0 and answer(tmp_path)["best"]["replicas"] > 2
    poor = servecap("-m", "engine.max_num_seqs=16", *SWEEP, "search.max_usd_per_hour=2.8")
    assert poor.code == 3
    assert answer(tmp_path)["best"]["replicas"] == 2


@pytest.mark.parametrize(
    ("launcher", "module", "settings"),
    [
        pytest.param("joblib", "hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"], id="joblib"),
        pytest.param("ray", "hydra_ray_launcher", ["+hydra.launcher.ray.init.num_cpus=2"], id="ray"),
        pytest.param("submitit_local", "hydra_submitit_launcher", ["hydra.launcher.timeout_min=5"], id="submitit"),
    ],
)
def test_launchers_give_the_same_answer_and_resume(
    servecap, tmp_path: Path, launcher: str, module: str, settings: list[str]
) -> None:
    pytest.importorskip(f"hydra_plugins.{module}", reason=f"the extra with {module} is not installed")
    axes = ("engine.max_num_seqs=32,64", *SMALL, "search.one_replica_load=false", "search.max_replicas=8")
    assert servecap("-m", *axes, "hydra/launcher=basic", "hydra.sweep.dir=one").code == 0
    assert servecap("-m", *axes, f"hydra/launcher={launcher}", *settings, "hydra.sweep.dir=two").code == 0
    one, two = (json.loads((tmp_path / name / "answer.json").read_text()) for name in ("one", "two"))
    assert one == two
    finished = [tmp_path / "two" / job / "job.json" for job in ("0", "1")]
    kept = finished[0].with_name("summary.json")
    before = kept.stat().st_mtime_ns
    finished[1].unlink()  # as if it had been interrupted; the cell that is added does not fit
    more = ("engine.max_num_seqs=32,64", "model=llama3_8b,llama3_70b", *axes[1:], "hydra.sweep.dir=two")
    ended = servecap("-m", *more, f"hydra/launcher={launcher}", *settings)
    assert ended.code == 0, ended.err
    rows = pd.read_csv(tmp_path / "two" / "sweep.csv")
    assert list(rows["status"]) == ["done", "cannot_run", "done", "cannot_run"] and "GiB" in ended.out
    assert kept.stat().st_mtime_ns == before
    assert answer_in(tmp_path / "two")["best"]["usd_per_1m_output_tokens"] == one["best"]["usd_per_1m_output_tokens"]


@pytest.mark.filterwarnings(
    "ignore:.*declarative_base:", "ignore:Deprecated API features detected:"
)  # Optuna 2's SQLAlchemy
def test_optuna_minimises_the_same_objective(servecap, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="hydra-optuna-sweeper is not installed")
    settings = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1")
    ended = servecap("-m", "engine.max_num_seqs=choice(16,32,64)", *settings, *SWEEP)
    assert ended.code == 0, ended.err
    assert answer(tmp_path)["feasible"]


@pytest.mark.parametrize(
    ("asked", "multirun", "axes", "pools", "means"),
    [
        ("auto", False, (), {}, "none"),
        ("auto", True, ("engine.max_num_seqs",), {}, "replicas"),
        ("auto", True, ("fleet.replicas",), {}, "none"),
        ("auto", True, (), {"a": {"replicas": 1}}, "none"),
        ("load", True, ("fleet.replicas",), {}, "load"),
        ("replicas", False, (), {}, "replicas"),
    ],
)
def test_what_auto_means(asked: str, multirun: bool, axes: tuple[str, ...], pools: dict[str, Any], means: str) -> None:
    scenario = parse_scenario(
        {"model": LLAMA3_8B, "gpu": L40S, "workload": {"path": "x"}, "search": {"solve": asked}, "fleet": {"pools": pools}}
    )
    assert how_to_solve(scenario, multirun=multirun, axes=axes) == means
