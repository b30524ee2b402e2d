"""What reading a trace left out, sorted or assumed reaches everything that is shown; traces are at hand before jobs start."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from sim.workload import places
from tests.cli.conftest import FAST

HEADER = "arrival_s,input_tokens,output_tokens"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVECAP_CACHE", str(tmp_path / "cache"))
    places.kept_copy.cache_clear()


def write(path: Path, rows: list[str]) -> str:
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return str(path)


def unsorted(path: Path) -> str:
    times = np.random.default_rng(2).permutation(120) / 4
    return write(path, [f"{time},50,5" for time in times] + ["30,x,5"])


def test_a_run_says_what_it_left_out_wherever_it_speaks(servecap, tmp_path: Path) -> None:
    trace = unsorted(tmp_path / "t.csv")
    assert servecap(f"workload.path={trace}").code == 2
    ended = servecap(f"workload.path={trace}", "workload.lenient=true", "hydra.run.dir=out")
    assert ended.code == 0
    said = " ".join(ended.out.split())
    assert "left out 1 of 121 rows: 1 input_tokens not a whole number" in said and "sorted by time:" in said
    for name in ("summary.json", "manifest.json"):
        left_out = json.loads((tmp_path / "out" / name).read_text())["left_out"]
        assert left_out["rows_read"] == 121
        assert sum(left_out["dropped"].values()) == 1
        assert left_out["sorted"]["rows"] > 50
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["requests"]["offered"] == 120
    page = (tmp_path / "out" / "report.html").read_text()
    assert "left out 1 of 121 rows" in page and "sorted by time" in page


def test_a_lenient_run_that_loses_much_asks_for_a_number(servecap, tmp_path: Path) -> None:
    trace = write(tmp_path / "t.csv", ["0,50,5", "1,x,5", "2,50,5"])
    ended = servecap(f"workload.path={trace}", "workload.lenient=true")
    assert ended.code == 2 and "leave out 1 of 3 rows, 33.3%" in ended.message and "lenient_max_loss" in ended.message
    ended = servecap(f"workload.path={trace}", "workload.lenient=true", "workload.lenient_max_loss=0.4")
    assert ended.code == 0


def test_a_sweep_says_it_too(servecap, tmp_path: Path) -> None:
    trace = write(tmp_path / "t.csv", [f"{1_700_000_000 + n},50,5" for n in range(60)])
    ended = servecap("size", f"workload.path={trace}", "engine.max_num_seqs=64", *FAST, "hydra.sweep.dir=sweep")
    assert ended.code == 0
    assert "Traffic: arrival times are Unix seconds" in ended.out
    for name in ("answer.md", "frontier.html"):
        assert "arrival times are Unix seconds" in (tmp_path / "sweep" / name).read_text()
    left_out = json.loads((tmp_path / "sweep" / "answer.json").read_text())["left_out"]
    assert "arrival times are Unix seconds" in left_out["notes"][0]


def test_a_run_is_told_of_its_clock_and_may_spread_it(servecap, tmp_path: Path) -> None:
    trace = write(tmp_path / "t.csv", [f"{3 * (n // 6)},50,5" for n in range(120)])
    told = servecap(f"workload.path={trace}", "hydra.run.dir=told")
    assert "workload.dequantise_s=3 spreads them" in " ".join(told.out.split())
    spread = servecap(f"workload.path={trace}", "workload.dequantise_s=3", "hydra.run.dir=spread")
    assert spread.code == 0 and "clock" not in spread.out


@pytest.mark.parametrize("which", ["workload.path=none.csv", "workload=azure_conv_2023", "workload.path=a.csv,none.csv"])
def test_a_missing_trace_is_found_before_a_job_starts(servecap, tmp_path: Path, which: str) -> None:
    write(tmp_path / "a.csv", ["0,50,5"])
    ended = servecap("-m", which, "engine.max_num_seqs=64,128", *FAST, "hydra.sweep.dir=sweep")
    assert ended.code == 2
    assert "no such trace file" in ended.message or "needs its trace file" in ended.message
    assert not (tmp_path / "sweep" / "0").exists()


def test_standard_input_serves_every_job_and_is_named_in_the_configuration(
    servecap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "\n".join([HEADER, *(f"{n},50,5" for n in range(30))]).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    ended = servecap(
        "-m", "workload.path=-", "engine.max_num_seqs=64,128", *FAST, "hydra.sweep.dir=sweep", "search.solve=none"
    )
    assert ended.code in (0, 3), ended.err
    for job in "01":
        assert json.loads((tmp_path / "sweep" / job / "summary.json").read_text())["requests"]["offered"] == 30
        assert "inputs/input-" in (tmp_path / "sweep" / job / "config.yaml").read_text()


@pytest.mark.parametrize(
    "override",
    ["workload.columns={arrival_s: t}", "workload.format=azure", "workload.lenient=true", "workload.time_format=iso",
     "workload.packaged=../../../etc/passwd", "workload.packaged=/etc/passwd"],
)  # fmt: skip
def test_how_to_read_a_file_is_refused_without_a_file(servecap, override: str) -> None:
    ended = servecap(override)
    assert ended.code == 2 and override.partition("=")[0].removeprefix("workload.") in ended.message


@pytest.mark.parametrize("text", ["1_000", "٣", "nan"])
def test_numbers_are_plain_digits(servecap, tmp_path: Path, text: str) -> None:
    trace = write(tmp_path / "t.csv", ["0,50,5"])
    for option in ("--limit", "--start-s", "--lenient-max-loss", "--seed"):
        assert servecap("traces", "stats", trace, option, text).code == 2
