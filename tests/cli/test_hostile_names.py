"""Names come from other people's files: on pages they are text, in Markdown too, and in tables no formula."""

from __future__ import annotations

import csv
import json
import os
import shlex
import stat
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from sim.report import csv_text

MARKUP = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&'</td>|[a](javascript:b)`"
FORMULA = '=HYPERLINK("http://evil.example";"a")'


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes, which no text may add to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: Counter[tuple[str, ...]] = Counter()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag, *(name for name, _ in attrs)] += 1


def files(folder: Path, name: str) -> None:
    """A trace and a GPU in which every name is ``name``."""
    with (folder / "trace.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["arrival_s", "input_tokens", "output_tokens", "route", "tenant", "feature"])
        writer.writerows([n / 2, 200, 40, *(f"{name}{n % 2}",) * 3] for n in range(60))
    gpu = yaml.safe_load((Path(__file__).parents[2] / "configs" / "gpu" / "l40s.yaml").read_text())
    gpu |= {"name": name, "vendor": name, "source": name, "price": gpu["price"] | {"source": name}}
    experiment = {
        "gpu": gpu, "model": {"name": name}, "workload": {"name": name, "source": name},
        "slo": {"routes": {f"{name}0": {"ttft_p95_s": 1.0}}}, "fleet": {"replicas": 2},
    }  # fmt: skip
    (folder / "mine" / "experiment").mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(experiment, allow_unicode=True)
    (folder / "mine" / "experiment" / "names.yaml").write_text(f"# @package _global_\n{text}", encoding="utf-8")


ARGV = ("--config-dir", "mine", "experiment=names", "workload.path=trace.csv")


@pytest.fixture
def pages(servecap, tmp_path: Path):
    """What a run and a sweep leave for a name: (folder of the run, folder of the sweep)."""

    def made(name: str, label: str) -> tuple[Path, Path]:
        files(tmp_path, name)
        ended = servecap(*ARGV, f"hydra.run.dir={label}_run")
        assert ended.code == 0, ended.err
        ended = servecap(
            "sweep",
            *ARGV,
            "engine.max_num_seqs=8,16",
            "hydra/launcher=basic",
            "search.solve=none",
            f"hydra.sweep.dir={label}_sweep",
        )
        assert ended.code in (0, 3), ended.err
        return tmp_path / f"{label}_run", tmp_path / f"{label}_sweep"

    return made


def test_markup_in_names_stays_text(pages) -> None:
    plain, hostile = pages("x" * len(MARKUP), "plain"), pages(MARKUP, "hostile")
    for here, there, page in ((plain[0], hostile[0], "report.html"), (plain[1], hostile[1], "frontier.html")):
        assert Tags((there / page).read_text()).found == Tags((here / page).read_text()).found, page
        assert MARKUP[:20] not in (there / page).read_text()
    answer = (hostile[1] / "answer.md").read_text()
    assert "<script" not in answer
    assert "<img" not in answer
    assert "[a](javascript" not in answer
    lines = {line.count("|") - line.count("\\|") for line in answer.splitlines() if line.startswith("|")}
    assert len(lines) == 1  # no cell was split


def test_formulas_in_names_stay_text(pages) -> None:
    _, sweep = pages(FORMULA, "formula")
    for path in (sweep / "sweep.csv", *sweep.glob("*/search.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                assert not [cell for cell in row if cell[:1] in "=+-@\t\r" and not cell.lstrip("+-")[:1].isdigit() and cell]


def test_numbers_and_words_of_tables_stay_as_they_are() -> None:
    text = csv_text([["=1+1", "+a=b", "-x", "@b", "\tc", -1.5, "a", None, "-3", "+4e5", 7]])
    assert next(csv.reader(text.splitlines())) == [
        "'=1+1",
        "'+a=b",
        "'-x",
        "'@b",
        "'\tc",
        "-1.5",
        "a",
        "",
        "-3",
        "+4e5",
        "7",
    ]


def test_a_run_folder_tells_nothing_of_the_machine(servecap, tmp_path: Path) -> None:
    files(tmp_path, "a")
    servecap("workload.path=trace.csv", "hydra.run.dir=run")
    servecap("-m", "workload.limit=20", "seed=1,2", "search.solve=none", "hydra/launcher=basic", "hydra.sweep.dir=sweep")
    packaged = str(Path(__file__).parents[2])
    told = [*tmp_path.glob("run/*.*"), *(path for path in tmp_path.glob("sweep/**/*.*") if path.suffix != ".parquet")]
    for path in told:
        if path.name not in ("multirun.yaml", "hydra.yaml") and path.is_file():  # Hydra's own notes
            content = path.read_bytes()
            assert str(tmp_path).encode() not in content, path
            assert packaged.encode() not in content, path
    inputs = json.loads((tmp_path / "run" / "manifest.json").read_text())["inputs"]
    assert list(inputs) == ["trace.csv"]
    assert list(json.loads((tmp_path / "sweep" / "0" / "manifest.json").read_text())["inputs"]) == [
        "packaged/chat_synthetic.parquet"
    ]


@pytest.mark.parametrize("stated", ["{}", "'{}'"])
def test_an_absolute_path_stays_out_of_page_and_manifest(servecap, tmp_path: Path, stated: str) -> None:
    files(tmp_path, "a")
    assert servecap(f"workload.path={stated.format(tmp_path / 'trace.csv')}", "hydra.run.dir=run").code == 0
    for name in ("manifest.json", "report.html"):
        assert str(tmp_path) not in (tmp_path / "run" / name).read_text(encoding="utf-8"), name
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())["decide"]
    assert "trace.csv" in told
    assert servecap(*shlex.split(told)[1:], "workload.limit=5").code in (0, 3)  # it can be run from this folder


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_outputs_keep_to_the_umask(servecap, tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        assert servecap("workload.limit=20", "hydra.run.dir=run").code == 0
    finally:
        os.umask(before)
    for path in (tmp_path / "run").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & mask == 0, path
        assert path.is_dir() or stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
