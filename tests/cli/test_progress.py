"""Progress inside jobs: what is told, when it is shown, and that Ctrl-C keeps what is done."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from sim.cli import progress
from sim.cli.compose import composed_scenario
from sim.run import simulate
from sim.search import ScenarioEvaluator, solve
from sim.watch import Watch, watch_of_this_job, watching
from tests.cli.conftest import FAST, SMALL


def test_a_run_tells_its_time_and_its_requests() -> None:
    watch = Watch()
    watch.part, watch.doing, watch.points = "option 2 of 3, api", "6 replicas", 4
    watch.run_begins(lambda: (30.0, 250), 60.0, 1000)
    line = watch.line()
    assert line.startswith(
        "option 2 of 3, api: point 5, 6 replicas: 750 of 1,000 requests, 30 of 60 s simulated, about 0 s left"
    )
    watch.run_ends()
    assert watch.line() == "option 2 of 3, api: point 5, 6 replicas"


def test_a_large_file_tells_how_far_it_is_read(tmp_path: Path) -> None:
    watch = Watch()
    watch.reads("week.csv", 2 * 10**9, lambda: 5 * 10**8)
    assert watch.line() == "reading week.csv, 500 of 2,000 MB"
    with (tmp_path / "gone").open("wb") as file:
        watch.reads("gone", 10**9, file.tell)
    assert watch.line() == ""


def test_the_lines_of_a_search_are_those_of_its_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = composed_scenario([*SMALL, "search.one_replica_load=false"])
    seen: list[str] = []
    with watching() as watch:
        monkeypatch.setattr(
            Watch, "run_begins", lambda self, look, span_s, requests: seen.append(f"{self.line()}|{look()[1]}")
        )
        answer = solve(scenario, "replicas", ScenarioEvaluator(scenario))
        assert watch_of_this_job() is watch
    assert len(seen) >= len(answer.points)
    assert "replicas at" in seen[-1]
    assert watch_of_this_job() is not watch


def test_it_changes_nothing_that_is_computed() -> None:
    scenario = composed_scenario([*SMALL])
    with watching():
        watched = simulate(scenario).requests
    assert watched.equals(simulate(scenario).requests)


def test_plain_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_S", 0.02)
    monkeypatch.setattr(progress, "_PATIENCE_S", 0.02)
    for quiet in (False, True):
        with progress.shown_progress(quiet=quiet) as watch:
            watch.part = "side 1 of 2"
            time.sleep(0.5)
        lines = capsys.readouterr().err.splitlines()
        assert set(lines) == (set() if quiet else {"servecap: side 1 of 2"})


def test_a_job_of_a_sweep_leaves_its_line_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PATIENCE_S", 0.02)
    with progress.left_in(tmp_path):
        watch_of_this_job().doing = "6 replicas"
        deadline = time.monotonic() + 20
        while not (tmp_path / progress.PROGRESS).is_file() or not (tmp_path / progress.PROGRESS).read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert (tmp_path / progress.PROGRESS).read_text() == "6 replicas"
    assert list(tmp_path.iterdir()) == []


def interrupt_after(monkeypatch: pytest.MonkeyPatch, points: int) -> None:
    """Ctrl-C while the simulation after ``points`` others runs."""
    from sim.search import evaluator

    done = []

    def run(*arguments, **named):
        if len(done) == points:
            raise KeyboardInterrupt
        done.append(1)
        return simulate(*arguments, **named)

    monkeypatch.setattr(evaluator, "simulate", run)


def test_an_interrupted_search_keeps_its_points(servecap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(monkeypatch, 2)
    ended = servecap("capacity", *SMALL, *FAST, "--out", "one")
    assert ended.code == 130
    assert "2 points so far" in ended.err
    assert len((tmp_path / "one" / "search.csv").read_text().splitlines()) == 3


def test_an_interrupted_decision_keeps_the_options_that_are_sized(servecap, tmp_path, monkeypatch) -> None:
    interrupt_after(monkeypatch, 1)
    line = [
        *SMALL,
        "--option",
        "two: fleet.replicas=2 search.solve=none",
        "--option",
        "three: fleet.replicas=3 search.solve=none",
    ]
    ended = servecap("decide", *line, "decide.apis=false", "--out", "one")
    assert ended.code == 130
    kept = json.loads((tmp_path / "one" / "decide.json").read_text())
    assert kept["interrupted"] is True
    assert [option["name"] for option in kept["options"]] == ["two"]


def test_an_interrupted_comparison_shows_the_sides_that_ran(servecap, monkeypatch: pytest.MonkeyPatch) -> None:
    from sim.cli import compare

    done = []

    def run(scenario, **named):
        done.append(1)
        if len(done) > 2:
            raise KeyboardInterrupt
        return simulate(scenario, **named)

    monkeypatch.setattr(compare, "simulate", run)
    ended = servecap("compare", "fleet.replicas=2", "fleet.replicas=3", "fleet.replicas=4", "--limit", "300", "--json")
    assert ended.code == 130
    assert list(json.loads(ended.out)["against"]) == ["fleet.replicas=3"]
    assert "2 of 3 sides" in ended.err
