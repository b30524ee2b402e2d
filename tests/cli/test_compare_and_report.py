"""``compare`` and ``report``: questions to finished runs."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import FAST, SMALL

ONE = " ".join([*SMALL, "fleet.replicas=1"])
TWO = " ".join([*SMALL, "fleet.replicas=2"])


def differences(path: Path) -> dict[str, dict[str, object]]:
    (found,) = json.loads(path.read_text())["against"].values()
    return {one["metric"]: one for one in found}


def test_more_replicas_are_faster_and_dearer(servecap, tmp_path: Path) -> None:
    ended = servecap("compare", ONE, TWO, "--json", "d.json")
    assert ended.code == 0, ended.err
    found = differences(tmp_path / "d.json")
    assert found["ttft_p95_s"]["words"] == "lower" and found["ttft_p95_s"]["paired"]
    assert found["cost.usd_per_hour"]["b"] == pytest.approx(2 * found["cost.usd_per_hour"]["a"])


def test_a_run_does_not_differ_from_itself(servecap, tmp_path: Path) -> None:
    assert servecap(*SMALL, "fleet.replicas=1", "hydra.run.dir=run").code == 0
    assert servecap("compare", "run", ONE, "--json", "d.json").code == 0
    for one in differences(tmp_path / "d.json").values():
        assert one["a"] == one["b"] and one["words"] in ("no significant difference", "no difference")


@pytest.mark.parametrize("sides", [["run"], ["nowhere", "gpu=h100"], ["gpu=h100", "engine.nonsense=1"]])
def test_what_cannot_be_compared_is_bad_input(servecap, sides: list[str]) -> None:
    ended = servecap("compare", *sides)
    assert ended.code == 2 and ended.message


def test_the_page_of_a_comparison(servecap, tmp_path: Path) -> None:
    ended = servecap("compare", ONE, TWO, "--html", "d.html")
    assert ended.code == 0, ended.err
    page = (tmp_path / "d.html").read_text()
    assert "fleet.replicas=2 against fleet.replicas=1" in page, "what all sides share is no part of their names"
    assert "<td class=\"text\">fleet.replicas</td>" in page, "what is set differently"
    assert "Significantly lower: " in page and "TTFT p95" in page


def test_seeds_are_spent_where_something_is_random(servecap, tmp_path: Path) -> None:
    usd = "cost.usd_per_1m_output_tokens"
    noisy = [f"{side} engine.step_noise_cv=0.3" for side in (ONE, TWO)]
    assert servecap("compare", *noisy, "--json", "random.json").code == 0
    assert servecap("compare", ONE, TWO, "--json", "replay.json").code == 0
    random, replay = (differences(tmp_path / f"{name}.json")[usd] for name in ("random", "replay"))
    assert random["low"] < random["b"] - random["a"] < random["high"]
    assert replay["low"] is None


def test_a_folder_cannot_be_repeated(servecap) -> None:
    assert servecap(*SMALL, "fleet.replicas=1", "hydra.run.dir=run").code == 0
    ended = servecap("compare", "run", ONE, "--seeds", "3")
    assert ended.code == 2
    assert "--seeds 3" in ended.message


@pytest.mark.parametrize("asked", [("fleet.replicas=2",), ("experiment=hybrid",)], ids=["plain", "api"])
def test_report_writes_the_page_again(servecap, tmp_path: Path, asked: tuple[str, ...]) -> None:
    assert servecap("run", *SMALL, *asked, "hydra.run.dir=run").code == 0
    page = tmp_path / "run" / "report.html"
    before = page.read_text()
    page.unlink()
    assert servecap("report", "run").code == 0
    assert page.read_text() == before


def test_a_run_as_metrics_on_standard_output(servecap, tmp_path: Path) -> None:
    assert servecap(*SMALL, "fleet.replicas=2", "hydra.run.dir=run").code == 0
    ended = servecap("report", "run", "--prometheus", "-", "--start", "100", "--grafana", "board.json")
    assert ended.code == 0
    assert ended.out.startswith("# ") and ended.out.endswith("# EOF\n") and "vllm:" in ended.out, "and nothing else there"
    assert "Written to" in ended.err and json.loads((tmp_path / "board.json").read_text())["panels"]


def test_report_writes_a_sweep_again(servecap, tmp_path: Path) -> None:
    assert servecap("-m", "engine.max_num_seqs=32,64", *SMALL, *FAST, "hydra.sweep.dir=sweep").code == 0
    files = [tmp_path / "sweep" / name for name in ("sweep.csv", "answer.json", "frontier.html")]
    before = [path.read_text() for path in files]
    for path in files:
        path.unlink()
    assert servecap("report", "sweep").code == 0
    assert [path.read_text() for path in files] == before


def test_a_sweep_makes_the_page_of_its_answer_and_of_jobs_that_ask(servecap, tmp_path: Path) -> None:
    def pages(name: str) -> list[bool]:
        return [(tmp_path / name / job / "report.html").exists() for job in "01"]

    sized = ("-m", *SMALL, *FAST, "engine.max_num_seqs=8,128", "slo.ttft_p95_s=1.5")
    servecap(*sized, "hydra.sweep.dir=sweep")
    servecap(*sized, "output.report=true", "hydra.sweep.dir=asked")
    assert (pages("sweep"), pages("asked")) == ([False, True], [True, True])
    before = (tmp_path / "sweep" / "1" / "report.html").read_text()
    assert "Cost against load" in before
    assert servecap("report", str(tmp_path / "sweep" / "1")).code == 0
    assert (tmp_path / "sweep" / "1" / "report.html").read_text() == before


def test_a_folder_of_before_there_were_tiers_is_read_as_host_memory(servecap, tmp_path: Path) -> None:
    small = (*SMALL, "fleet.replicas=1", "engine.kv_offloading_size_gib=2", "output.report=true", "hydra.run.dir=run")
    assert servecap(*small).code == 0
    page, tiers = tmp_path / "run" / "report.html", tmp_path / "run" / "tiers.parquet"
    before = page.read_text()
    later = ["tier", "from_others_tokens", "lost_bytes"]
    pd.read_parquet(tiers).drop(columns=later).to_parquet(tiers)
    assert servecap("report", "run").code == 0
    assert page.read_text() == before


def test_report_of_another_folder_is_bad_input(servecap, tmp_path: Path) -> None:
    ended = servecap("report", str(tmp_path))
    assert ended.code == 2 and "run folder" in ended.message
