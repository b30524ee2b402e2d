"""A damaged run folder is the user's to mend: exit code 2 and the file's name, never a traceback."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from sim.cli.main import main


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "run"
    assert main(["workload.limit=30", "fleet.replicas=1", f"hydra.run.dir={folder}"]) == 0
    return folder


@pytest.mark.parametrize("content", [b"", b"\x00\xff{{{", b"[]", b"{}"], ids=["empty", "garbage", "list", "object"])
@pytest.mark.parametrize(
    ("verb", "name"),
    [
        ("report", "config.yaml"),
        ("report", "summary.json"),
        ("report", "cost.json"),
        ("report", "requests.parquet"),
        ("report", "timeseries.parquet"),
        ("report", "replicas.parquet"),
        ("compare", "summary.json"),
        ("compare", "requests.parquet"),
    ],
)
def test_a_damaged_file_is_named(servecap, tmp_path: Path, run_folder: Path, verb: str, name: str, content: bytes) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(run_folder, damaged, copy_function=os.link)
    (damaged / name).unlink()
    (damaged / name).write_bytes(content)
    ended = servecap(verb, "damaged", *(["damaged"] if verb == "compare" else []))
    assert ended.code == 2
    assert name in ended.message or "Field required" in ended.message  # an empty mapping lacks every key
    assert not ended.out


def test_a_damaged_event_names_its_line(servecap, tmp_path: Path, run_folder: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(run_folder, damaged)
    (damaged / "events.jsonl").write_text('{"time_s": 0}\nnot json\n')
    ended = servecap("report", "damaged")
    assert ended.code == 2
    assert "events.jsonl, line 2" in ended.message


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["compare", "fleet.replicas='1", "gpu=h100"], ["fleet.replicas='1", "quotation"]),
        (["calc", "--context-tokens", "0"], ["--context-tokens", "at least 1", "0"]),
    ],
)
def test_other_arguments_that_make_no_sense(servecap, argv: list[str], words: list[str]) -> None:
    ended = servecap(*argv)
    assert ended.code == 2
    for word in words:
        assert word in ended.message
